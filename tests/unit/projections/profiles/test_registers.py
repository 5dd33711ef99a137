"""What single registers make of odd values, and that none of them grows without end."""

from typing import Any

import pytest

from projections.profiles.crdt import (
    MAX_VALUES,
    NO_COUNTER,
    Registers,
    add,
    after,
    count,
    highest,
    join_registers,
    latest,
    lowest,
    own_counts,
    trim_counts,
    unite,
    value_of,
)
from projections.profiles.identity_node import Node, Outbox, link
from projections.profiles.updates import decode_node, encode_node

ME = ("00:email:a", 0)


def test_two_values_under_one_message_id_have_an_order() -> None:
    for values in (("a", "b"), ("b", "a")):
        registers: Registers = {}
        for value in values:
            latest(registers, "latest:x", NO_COUNTER, value, 5, "batch", 1)
        assert registers == {"latest:x": [5, "batch", 1, "b"]}


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([2, 1.5, 3], 1.5, 3),
        (["b", "a"], "a", "b"),
        ([1, "a"], 1, "a"),  # as when an attribute changed its type
        ([True, 0], 0, True),
        ([{"a": 1}, [1]], [1], {"a": 1}),
        ([2**63 - 1, 9.3e18], 2**63 - 1, 9.3e18),
    ],
)
def test_lowest_and_highest_of_any_values(values: list[Any], low: Any, high: Any) -> None:
    for order in (values, values[::-1]):
        registers: Registers = {}
        for index, value in enumerate(order):
            lowest(registers, "min:x", NO_COUNTER, value, 1, "b", index)
            highest(registers, "max:x", NO_COUNTER, value, 1, "b", index)
        assert (value_of("min:x", registers["min:x"])[0], value_of("max:x", registers["max:x"])[0]) == (low, high)


def test_a_union_keeps_the_smallest_values() -> None:
    registers: Registers = {}
    for number in reversed(range(MAX_VALUES + 50)):
        unite(registers, "union:x", NO_COUNTER, f"{number:06d}", 1, "b", number)
    values, _ = value_of("union:x", registers["union:x"])
    assert values == [f"{number:06d}" for number in range(MAX_VALUES)]


def test_a_sum_is_exact_beyond_64_bits_and_survives_its_store() -> None:
    registers: Registers = {}
    for index in range(30):
        add(registers, "sum:x", ME, 9 * 10**18, 1, "b", index)
    node = decode_node("00:email:a", encode_node(Node("00:email:a", "", registers)))
    assert value_of("sum:x", node.registers["sum:x"])[0] == 27 * 10**13
    add(node.registers, "sum:x", ME, 500_000, 1, "b", 30)
    assert value_of("sum:x", node.registers["sum:x"])[0] == 27 * 10**13 + 0.5


def test_counts_restart_after_a_forgetting() -> None:
    registers: Registers = {}
    for index in range(3):
        count(registers, "count:x", ME, 1, 1, "b", index)
    restarted: Registers = {}
    count(restarted, "count:x", ("00:email:a", 7), 1, 8, "b", 3)
    join_registers(restarted, registers)  # comes late
    assert value_of("count:x", restarted["count:x"]) == (1, [8, "b", 3])
    assert own_counts(restarted, "00:email:b") == {}
    count(registers, "count:x", ("00:email:a", 7), 1, 8, "b", 3)
    assert registers == restarted


def test_a_moved_node_remembers_a_bounded_number_of_links_and_none_from_before_a_forgetting() -> None:
    outbox = Outbox(10)
    node = Node("09:cookie:c", forgotten=5)
    link(node, "00:email:a", [5, "b", 0], outbox)
    assert not outbox
    for number in reversed(range(1_100)):
        link(node, f"00:email:{number:04d}", [9, "b", number], outbox)
    assert len(node.edges) == 1_000
    assert node.parent == "00:email:0000"
    outbox.link("00:email:a", "00:email:a", ("09:cookie:c", 0))
    assert all(larger > smaller for larger, smaller, _ in outbox.links)


def test_registers_keep_what_came_after_a_forgetting() -> None:
    registers: Registers = {}
    for index, at in enumerate((3, 9)):
        unite(registers, "union:tags", NO_COUNTER, at, at, "b", index)
        latest(registers, "latest:city", NO_COUNTER, at, at, "b", index)
    count(registers, "count:x", ME, 1, 3, "b", 2)
    assert after(registers, 5) == {"union:tags": {"9": [9, "b", 1]}, "latest:city": [9, "b", 1, 9]}
    assert after(registers, 9) == {}


def test_counts_of_too_many_identities_stay_bounded() -> None:
    registers: Registers = {}
    for number in reversed(range(10)):
        counted: Registers = {}
        count(counted, "count:x", (f"00:email:{number}", 0), 1, 1, "b", number)
        join_registers(registers, counted)
    assert trim_counts(registers, 4)
    assert not trim_counts(registers, 4)
    assert value_of("count:x", registers["count:x"])[0] == 4
    assert max(registers["count:x"]) == "00:email:3"
