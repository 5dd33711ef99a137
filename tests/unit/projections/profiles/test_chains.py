"""Many identities of one profile, named in chains and stars: found together in few steps, and bounded."""

import random

import pytest

from projections.profiles.forgotten_persons import ForgottenPersons
from projections.profiles.identity_node import Node, Outbox, shorten
from projections.profiles.updates import Group, MappedMessages, apply_mapped, apply_messages, by_partition

MOST = 50


def key(number: int) -> str:
    return f"00:id:{number:06d}"


def settled(links: list[tuple[int, int]], count: int) -> tuple[dict[str, Node], int, set[str]]:
    """Count one message per identity, link some, and deliver until nothing is left: nodes, rounds, over_limit."""
    rows = [[key(n), n, 0, n, 0, 1] for n in range(count)]
    mapped = MappedMessages(
        [Group("s", ("count:seen",), 0, ["b"], rows)], [(key(a), key(b), 1, "b", a) for a, b in links]
    )
    nodes = {item: Node(item) for item in mapped.target_keys()}
    outbox, rounds, over_limit = Outbox(MOST), 0, set()
    apply_mapped(mapped, nodes, outbox)
    while outbox:
        messages, rounds = by_partition(outbox, 1)[0], rounds + 1
        outbox = Outbox(MOST)
        apply_messages(
            messages, {item: nodes[item] for item in messages.target_keys()}, outbox, ForgottenPersons(lambda _: None)
        )
        over_limit |= outbox.over_limit
    return nodes, rounds, over_limit


@pytest.mark.parametrize("mixed", [False, True])
def test_a_chain_of_pointers_is_followed_in_few_rounds(mixed: bool) -> None:  # noqa: FBT001  # the two cases
    links = [(n + 1, n) for n in range(2_000)]
    if mixed:
        random.Random(5).shuffle(links)
    nodes, rounds, over_limit = settled(links, 2_001)
    assert rounds < 30, "a state that takes one step at a time takes 2,000"
    (root,) = (node for node in nodes.values() if not node.parent)
    assert (root.key, len(root.edges), over_limit) == (key(0), MOST, {key(0)})
    assert sorted(root.registers["count:seen"]) == [key(n) for n in range(MOST)], "the first of them are kept"


def test_messages_of_1970_and_before_count() -> None:
    mapped = MappedMessages(
        [Group("s", ("count:seen",), 0, ["b"], [[key(0), 0, 0, 0, 0, 1], [key(0), -5, 0, 1, 0, 1]])],
        [(key(1), key(0), -5, "b", 1)],
    )
    nodes, outbox = {item: Node(item) for item in mapped.target_keys()}, Outbox(MOST)
    apply_mapped(mapped, nodes, outbox)
    assert nodes[key(0)].registers["count:seen"][key(0)][1] == 2
    assert nodes[key(1)].parent == key(0)


def test_a_profile_within_the_limit_is_not_reported() -> None:
    nodes, _, over_limit = settled([(n + 1, 0) for n in range(MOST - 1)], MOST)
    assert (len(nodes[key(0)].edges), len(nodes[key(0)].registers["count:seen"]), over_limit) == (MOST - 1, MOST, set())


def test_a_profile_over_the_limit_is_reported() -> None:
    nodes, _, over_limit = settled([(n + 1, 0) for n in range(MOST)], MOST + 1)
    assert (len(nodes[key(0)].edges), over_limit) == (MOST, {key(0)})


def test_a_shortcut_from_before_a_forgetting_is_ignored() -> None:
    node = Node(key(9), parent=key(5), forgotten=7)
    shorten(node, key(3), 0)
    assert node.parent == key(5)
    shorten(node, key(6), 7)
    assert node.parent == key(5), "it isn't shorter"
    shorten(node, key(3), 7)
    assert node.parent == key(3)
    root = Node(key(9), forgotten=7)
    shorten(root, key(3), 7)
    assert not root.parent
