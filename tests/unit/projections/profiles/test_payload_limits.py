"""Large states are sent in parts that add up to them; rows are dropped by size."""

from collections.abc import Mapping

import orjson
import pytest

from projections.profiles.forgotten_persons import ForgottenPersons
from projections.profiles.identity_node import Node, Outbox
from projections.profiles.payload_limits import drop_excess, encoded_batches
from projections.profiles.update_codec import decode_messages, encode_mapped, encode_messages
from projections.profiles.updates import Group, MappedMessages, NodeMessages, apply_messages
from tests.canonical_nodes import canonical


def test_the_parts_of_a_large_state_add_up_to_it() -> None:
    registers = {f"latest:a{n}": [n, "b", 0, "x" * 1_000] for n in range(50)}
    edges = {f"01:k:{n:05d}\0" + "00:k:0": [n, "b", 0] for n in range(2_500)}
    messages = NodeMessages(
        joins=[("00:k:0", ("01:k:1", 0), registers, edges), ("00:k:0", ("01:k:2", 0), {}, {})],
        links=[("00:k:5", "00:k:0", ("00:k:5", 0))],
    )
    parts = [*encoded_batches(messages, 20_000)]
    assert len(parts) > 4
    assert all(len(part) < 80_000 for part in parts), "a thousand edges are the largest piece"
    whole, cut = ({item: Node(item) for item in ("00:k:0", "00:k:5")} for _ in range(2))
    apply_messages(messages, whole, Outbox(9_999), ForgottenPersons(lambda _: None))
    for part in reversed(parts):
        apply_messages(decode_messages(part), cut, Outbox(9_999), ForgottenPersons(lambda _: None))
    assert [canonical(item) for item in whole.values()] == [canonical(item) for item in cut.values()]
    assert [*encoded_batches(messages, 10**6)] == [orjson.dumps([messages.joins, messages.links, [], []])]


LARGE: Mapping[str, NodeMessages] = {
    "a count of many identities": NodeMessages(
        joins=[("00:k:0", ("", 0), {"count:n": {f"1:k:{n:0500}": [0, 1, "", 1, "", n] for n in range(9_999)}}, {})]
    ),
    "a union of many values": NodeMessages(
        joins=[("00:k:0", ("01:k:1", 0), {"union:u": {f"{n:01000}": [1, "b", n] for n in range(1_000)}}, {})]
    ),
    "many links": NodeMessages(links=[(f"01:k:{n:0500}", "00:k:0", (f"01:k:{n:0500}", 0)) for n in range(5_000)]),
    "many shortcuts": NodeMessages(shortcuts=[(f"01:k:{n:0500}", "00:k:0", 0) for n in range(5_000)]),
}


@pytest.mark.parametrize("what", LARGE)
def test_messages_of_nodes_fit_into_records_without_loss_or_repeat(what: str) -> None:
    messages, found = LARGE[what], NodeMessages()
    for batch in encoded_batches(messages, 1_000_000):
        assert len(batch) < 2_000_000
        part = decode_messages(batch)
        for target, sender, registers, edges in part.joins:
            assert not edges
            (register,) = registers
            _, _, known, _ = found.joins[0] if found.joins else (target, sender, {register: {}}, {})
            assert not known[register].keys() & registers[register].keys()
            # JSON has lists where nodes have tuples, and mypy doesn't know how long they are.
            found.joins = [(target, tuple(sender), {register: {**known[register], **registers[register]}}, {})]  # type: ignore[arg-type]  # lists, as JSON has them
        found.links += part.links
        found.shortcuts += part.shortcuts
    assert encode_messages(found) == encode_messages(messages)


def test_rows_and_links_that_do_not_fit_are_dropped() -> None:
    rows = [["00:k:a", 1, 0, 0, 0, "x" * 500], ["00:k:b", 1, 0, 1, 0, "x" * 5_000], ["00:k:c", 1, 0, 2, 0, "y"]]
    links = [("01:k:l", "00:k:a", 1, "b", 0), ("01:k:m" + "m" * 900, "00:k:a", 1, "b", 1)]
    mapped = MappedMessages([Group("s", ("latest:x",), 0, ["b"], rows)], links)
    assert drop_excess(mapped, 1_000) == 2
    assert [row[0] for row in mapped.groups[0].rows] == ["00:k:a", "00:k:c"]
    assert [link[0] for link in mapped.links] == ["01:k:l"]
    assert len(encode_mapped(mapped)) < 1_200
