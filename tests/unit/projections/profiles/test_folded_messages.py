"""Messages folded by node before nodes are loaded have the effect of the same messages one by one."""

from copy import deepcopy

import pytest

from projections.profiles.identity_node import Node, Outbox
from projections.profiles.updates import FoldedMessages, Group, MappedMessages, apply_folded, apply_mapped
from tests.canonical_nodes import canonical

ROOT, ANN, BOB, EVE = "00:id:0", "01:id:ann", "01:id:bob", "01:id:eve"
COLUMNS = ("latest:city", "union:tags", "count:messages", "sum:spent")
MAX_IDENTITIES = 2
MAPPED = MappedMessages(
    [
        Group(
            "shop",
            COLUMNS,
            0,
            ["b"],
            [
                [ANN, 9, 0, 1, 0, "Graz", "x", 1, 2**63],
                [ANN, 8, 0, 2, 0, "Wien", "y", 1, 2**63],
                [ANN, 9, 0, 3, 0, None, "x", 1, None],
                [BOB, 7, 0, 4, 0, None, None, 1, None],
            ],
        )
    ],
    [(EVE, ANN, 9, "b", 1)],
)
FOLDED = FoldedMessages(
    registers={
        ANN: {"latest:city": [9, "b", 1, "Graz"], "union:tags": {'"x"': [9, "b", 1], '"y"': [8, "b", 2]}},
        BOB: {},
    },
    tallies=[
        (ANN, "count:messages", 3, None, [9, "b", 3]),
        (ANN, "sum:spent", 2, 2**64, [9, "b", 1]),
        (BOB, "count:messages", 1, None, [7, "b", 4]),
    ],
    links=MAPPED.links,
)
CITY = {"latest:city": [9, "a", 9, "Linz"], "union:tags": {'"y"': [1, "a", 1]}}
COUNTS = {"count:messages": {ANN: [0, 5, "", 6, "a", 1]}, "sum:spent": {ANN: [0, 1, "-7", 99, "a", 1]}}
OTHERS = {"count:messages": {f"00:id:{n}": [0, 1, "", 1, "a", n] for n in range(1, MAX_IDENTITIES + 1)}}


@pytest.mark.parametrize(
    "ann",
    [
        Node(ANN),
        Node(ANN, "", CITY | COUNTS),
        Node(ANN, "", COUNTS, forgotten=6),
        Node(ANN, "", OTHERS, {f"{BOB}\0{ANN}": [1, "a", 1], f"{EVE}\0{ANN}": [1, "a", 2]}),
        Node(ANN, ROOT),
        Node(ANN, ROOT, COUNTS, {f"{ANN}\0{ROOT}": [1, "a", 1]}),
    ],
    ids=["new", "known", "forgotten", "over the limit", "moved", "moved and counted"],
)
def test_folded_messages_equal_the_messages_one_by_one(ann: Node) -> None:
    one_by_one, at_once = ({ANN: deepcopy(ann), BOB: Node(BOB, ROOT), EVE: Node(EVE)} for _ in range(2))
    sent_one_by_one, sent_at_once = Outbox(MAX_IDENTITIES), Outbox(MAX_IDENTITIES)
    apply_mapped(MAPPED, one_by_one, sent_one_by_one)
    apply_folded(deepcopy(FOLDED), at_once, sent_at_once)
    assert [canonical(node) for node in at_once.values()] == [canonical(node) for node in one_by_one.values()]
    assert vars(sent_at_once) == vars(sent_one_by_one)


def test_folded_messages_are_sent_on_by_a_moved_node_which_keeps_its_counts() -> None:
    nodes, outbox = {ANN: Node(ANN, ROOT), BOB: Node(BOB), EVE: Node(EVE)}, Outbox(MAX_IDENTITIES)
    apply_folded(deepcopy(FOLDED), nodes, outbox)
    counts = {
        "count:messages": {ANN: [0, 3, "", 9, "b", 3]},
        "sum:spent": {ANN: [0, 2, str(2**64), 9, "b", 1]},
    }
    assert nodes[ANN].registers == counts
    assert outbox.joins[ROOT, (ANN, 0)] == (FOLDED.registers[ANN] | counts, {})
    assert nodes[EVE].parent == ANN
    assert nodes[BOB].registers == {"count:messages": {BOB: [0, 1, "", 7, "b", 4]}}


def test_the_keys_of_folded_messages_are_those_of_rows_and_links() -> None:
    assert [*FOLDED.target_keys()] == [ANN, BOB, EVE]
    assert {*FOLDED.target_keys()} == {*MAPPED.target_keys()}
