"""The state of a profile as registers that merge by a join, so order, repetition and splits of messages never matter.

A register is named `{merge}:{attribute}`. Its value is plain JSON, ready to be stored:

    latest, first, min, max   [timestamp, batch, index, value]
    union                     {JSON of a value: [timestamp, batch, index]}, the first message with that value
    count, sum                {identity key: [epoch, messages, total, timestamp, batch, index]}, see `count`

(timestamp, batch, index) is a message's stamp: microseconds since 1970 UTC, then its id. Registers are changed in
place, for speed: the code that decoded them owns them.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.json_values import canonical_json

Registers = dict[str, Any]
Stamp = list[Any]  # [timestamp, batch, index]
CounterKey = tuple[str, int]  # an identity key, and its epoch
MergeFunction = Callable[[Registers, str, CounterKey, Any, int, str, int], None]

MAX_VALUES: Final = 1_000  # of a union; the smallest in the order of their JSON are kept
MILLIONTHS: Final = 1_000_000  # the unit of a sum, so that it is exact in any order
COUNTED: Final = ("count:", "sum:")


def latest(registers: Registers, name: str, _key: CounterKey, value: Any, at: int, batch: str, index: int) -> None:
    """Keep the value of the message with the highest stamp."""
    current = registers.get(name)
    if current is None or current[0] < at or (current[0] == at and _is_later(current, value, batch, index)):
        registers[name] = [at, batch, index, value]


def _is_later(current: list[Any], value: Any, batch: str, index: int) -> bool:
    """Return whether a value of the same time replaces the current one. Values of one message id are ordered, too."""
    existing, other = (current[1], current[2]), (batch, index)
    return existing < other or (existing == other and sort_key(current[3]) < sort_key(value))


def first(registers: Registers, name: str, _key: CounterKey, value: Any, at: int, batch: str, index: int) -> None:
    """Keep the value of the message with the lowest stamp."""
    current = registers.get(name)
    if current is not None:
        if current[0] < at:
            return
        if current[0] == at and (current[1], current[2], sort_key(current[3])) <= (batch, index, sort_key(value)):
            return
    registers[name] = [at, batch, index, value]


def lowest(registers: Registers, name: str, _key: CounterKey, value: Any, at: int, batch: str, index: int) -> None:
    """Keep the lowest value, and the first message with it."""
    current = registers.get(name)
    if current is None or (sort_key(value), at, batch, index) < (sort_key(current[3]), *current[:3]):
        registers[name] = [at, batch, index, value]


def highest(registers: Registers, name: str, _key: CounterKey, value: Any, at: int, batch: str, index: int) -> None:
    """Keep the highest value, and the first message with it."""
    current = registers.get(name)
    if current is not None:
        existing, other = sort_key(current[3]), sort_key(value)
        if other < existing or (other == existing and (at, batch, index) >= tuple(current[:3])):
            return
    registers[name] = [at, batch, index, value]


def unite(registers: Registers, name: str, _key: CounterKey, value: Any, at: int, batch: str, index: int) -> None:
    """Keep every value once, with the first message that had it."""
    union = registers.get(name)
    if union is None:
        union = registers[name] = {}
    text = canonical_json(value)
    current = union.get(text)
    if current is None or at <= current[0]:
        _add_to_union(union, text, [at, batch, index])


def count(registers: Registers, name: str, key: CounterKey, _value: Any, at: int, batch: str, index: int) -> None:
    """Count a message of an identity. Only the node of that identity may do so, once for each message.

    The count of an identity only grows, so of two records of it the one with more messages is newer; the value of the
    attribute is the sum over all identities. The epoch is the instant up to which the identity was forgotten: after it
    the count starts at 0 again.
    """
    identity, epoch = key
    counts = registers.get(name)
    if counts is None:
        counts = registers[name] = {}
    current = counts.get(identity)
    if current is None or current[0] < epoch:
        counts[identity] = [epoch, 1, "", at, batch, index]
    elif current[3] < at:
        counts[identity] = [epoch, current[1] + 1, current[2], at, batch, index]
    else:
        counts[identity] = [epoch, current[1] + 1, current[2], *max([at, batch, index], current[3:])]


def add(registers: Registers, name: str, key: CounterKey, value: int, at: int, batch: str, index: int) -> None:
    """Count a message and add its value. The total is decimal text, as a JSON number has only 64 bits."""
    identity, epoch = key
    counts = registers.get(name)
    if counts is None:
        counts = registers[name] = {}
    current = counts.get(identity)
    if current is None or current[0] < epoch:
        counts[identity] = [epoch, 1, str(value), at, batch, index]
        return
    total = str(int(current[2]) + value)
    if current[3] < at:
        counts[identity] = [epoch, current[1] + 1, total, at, batch, index]
    else:
        counts[identity] = [epoch, current[1] + 1, total, *max([at, batch, index], current[3:])]


def tally(registers: Registers, name: str, key: CounterKey, messages: int, total: int | None, newest: Stamp) -> None:
    """Count many messages of an identity at once, as `count` (without a total) and `add` do one by one."""
    identity, epoch = key
    counts = registers.setdefault(name, {})
    current = counts.get(identity)
    if current is None or current[0] < epoch:
        current = [epoch, 0, "0", *newest]
    text = "" if total is None else str(int(current[2]) + total)
    counts[identity] = [epoch, current[1] + messages, text, *max(newest, current[3:])]


MERGE_FUNCTIONS: Final[Mapping[str, MergeFunction]] = {
    "latest": latest,
    "first": first,
    "min": lowest,
    "max": highest,
    "union": unite,
    "count": count,
    "sum": add,
}
NO_COUNTER: Final[CounterKey] = ("", 0)


def join_registers(registers: Registers, other: Registers) -> None:
    """Merge `other` into `registers`: commutative, associative, idempotent."""
    for name, register in other.items():
        merge, _, _ = name.partition(":")
        if name.startswith(COUNTED):
            _join_counts(registers.setdefault(name, {}), register)
        elif merge == "union":
            union = registers.setdefault(name, {})
            for text, stamp in register.items():
                _add_to_union(union, text, stamp)
        else:
            at, batch, index, value = register
            MERGE_FUNCTIONS[merge](registers, name, NO_COUNTER, value, at, batch, index)


def _add_to_union(union: dict[str, Stamp], text: str, stamp: Stamp) -> None:
    current = union.get(text)
    if current is None or stamp < current:
        union[text] = stamp
        if len(union) > MAX_VALUES:
            del union[max(union)]


def _join_counts(counts: dict[str, list[Any]], other: Mapping[str, list[Any]]) -> None:
    for identity, record in other.items():
        current = counts.get(identity)
        if current is None or current[:2] < record[:2]:
            counts[identity] = record


def trim_counts(registers: Registers, max_identities: int) -> bool:
    """Keep the counts of the smallest identity keys, and tell whether any were dropped."""
    dropped = [
        keep_smallest(register, max_identities) for name, register in registers.items() if name.startswith(COUNTED)
    ]
    return any(dropped)


def keep_smallest(entries: dict[str, Any], limit: int) -> bool:
    """Keep the entries with the smallest keys, and tell whether any were dropped.

    The result does not depend on how often, or at which step, this is done.
    """
    excess = len(entries) - limit
    if excess == 1:
        del entries[max(entries)]
    elif excess > 1:
        for key in sorted(entries)[limit:]:
            del entries[key]
    return excess > 0


def own_counts(registers: Registers, identity: str) -> Registers:
    """Return the counts of `identity` itself: all that its node keeps when the profile moves to another node."""
    counts = ((name, register.get(identity)) for name, register in registers.items() if name.startswith(COUNTED))
    return {name: {identity: record} for name, record in counts if record is not None}


def after(registers: Registers, at: int) -> Registers:
    """Return the registers without all that comes from messages up to an instant."""
    remaining: Registers = {}
    for name, register in registers.items():
        if name.startswith(COUNTED):
            kept: Any = {identity: record for identity, record in register.items() if record[0] >= at}
        elif name.startswith("union:"):
            kept = {text: stamp for text, stamp in register.items() if stamp[0] > at}
        else:
            kept = register if register[0] > at else None
        if kept:
            remaining[name] = kept
    return remaining


def sort_key(value: Any) -> tuple[int, Any]:
    """Return the key that orders values of any type: numbers, then texts, then the rest by JSON."""
    kind = type(value)  # exactly: a boolean is not a number here
    if kind is int or kind is float:
        return 0, value
    return (1, value) if kind is str else (2, canonical_json(value))


def value_of(name: str, register: Any) -> tuple[Any, Stamp]:
    """Return the attribute's value, and the stamp of the message that decided it."""
    merge, _, _ = name.partition(":")
    if merge == "union":
        return [json.loads(text) for text in sorted(register)], max(register.values())
    if merge == "count":
        return sum(record[1] for record in register.values()), max(record[3:] for record in register.values())
    if merge == "sum":
        total = sum(int(record[2]) for record in register.values())
        return _units(total), max(record[3:] for record in register.values())
    return register[3], register[:3]


def _units(millionths: int) -> int | float:
    whole, rest = divmod(millionths, MILLIONTHS)
    return millionths / MILLIONTHS if rest else whole
