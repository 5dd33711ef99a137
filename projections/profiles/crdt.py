"""What is known of a profile, as cells that merge by a join: order, repetition and splits of messages never matter.

A cell is named `{merge}:{attribute}`. Its value is plain JSON, so that a store can keep it:

    latest, first, min, max   [timestamp, batch, index, value]
    union                     {JSON of a value: [timestamp, batch, index]}, the first message that had it
    count, sum                {identity key: [epoch, messages, total, timestamp, batch, index]}, see `count`

(timestamp, batch, index) is a message's stamp: microseconds since 1970 UTC, then its id. Cells are changed in place,
for speed: whoever decoded them owns them.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

Cells = dict[str, Any]
Stamp = list[Any]  # [timestamp, batch, index]
Counter = tuple[str, int]  # an identity key, and its epoch
Fold = Callable[[Cells, str, Counter, Any, int, str, int], None]

MAX_VALUES: Final = 1_000  # of a union; those that come first in the order of their text are kept
MILLIONTHS: Final = 1_000_000  # a sum counts in them, so that it is exact whatever the order
COUNTED: Final = ("count:", "sum:")
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def latest(cells: Cells, name: str, _counter: Counter, value: Any, at: int, batch: str, index: int) -> None:
    """Keep the value of the message with the highest stamp."""
    known = cells.get(name)
    if known is None or known[0] < at or (known[0] == at and _later(known, value, batch, index)):
        cells[name] = [at, batch, index, value]


def _later(known: list[Any], value: Any, batch: str, index: int) -> bool:
    """Whether a cell of the same time gives way. Two values under one message id have an order too."""
    mine, other = (known[1], known[2]), (batch, index)
    return mine < other or (mine == other and order(known[3]) < order(value))


def first(cells: Cells, name: str, _counter: Counter, value: Any, at: int, batch: str, index: int) -> None:
    """Keep the value of the message with the lowest stamp."""
    known = cells.get(name)
    if known is not None:
        if known[0] < at:
            return
        if known[0] == at and (known[1], known[2], order(known[3])) <= (batch, index, order(value)):
            return
    cells[name] = [at, batch, index, value]


def lowest(cells: Cells, name: str, _counter: Counter, value: Any, at: int, batch: str, index: int) -> None:
    """Keep the lowest value, and the first message that had it."""
    known = cells.get(name)
    if known is None or (order(value), at, batch, index) < (order(known[3]), *known[:3]):
        cells[name] = [at, batch, index, value]


def highest(cells: Cells, name: str, _counter: Counter, value: Any, at: int, batch: str, index: int) -> None:
    """Keep the highest value, and the first message that had it."""
    known = cells.get(name)
    if known is not None:
        mine, other = order(known[3]), order(value)
        if other < mine or (other == mine and (at, batch, index) >= tuple(known[:3])):
            return
    cells[name] = [at, batch, index, value]


def unite(cells: Cells, name: str, _counter: Counter, value: Any, at: int, batch: str, index: int) -> None:
    """Keep every value once, with the first message that had it."""
    united = cells.get(name)
    if united is None:
        united = cells[name] = {}
    text = text_of(value)
    known = united.get(text)
    if known is None or at <= known[0]:
        _take_value(united, text, [at, batch, index])


def count(cells: Cells, name: str, counter: Counter, _value: Any, at: int, batch: str, index: int) -> None:
    """Count a message of an identity. Only that identity's node may, once for each message.

    What an identity has counted only grows, so of two records of it the one with more messages is the newer; the
    value of the attribute is the sum over all identities. The epoch is the moment up to which the identity was
    forgotten: counting begins anew behind it.
    """
    key, epoch = counter
    counted = cells.get(name)
    if counted is None:
        counted = cells[name] = {}
    known = counted.get(key)
    if known is None or known[0] < epoch:
        counted[key] = [epoch, 1, "", at, batch, index]
    elif known[3] < at:
        counted[key] = [epoch, known[1] + 1, known[2], at, batch, index]
    else:
        counted[key] = [epoch, known[1] + 1, known[2], *max([at, batch, index], known[3:])]


def add(cells: Cells, name: str, counter: Counter, value: int, at: int, batch: str, index: int) -> None:
    """Count a message and add its value. The total is decimal text: a number in JSON has 64 bits."""
    key, epoch = counter
    counted = cells.get(name)
    if counted is None:
        counted = cells[name] = {}
    known = counted.get(key)
    if known is None or known[0] < epoch:
        counted[key] = [epoch, 1, str(value), at, batch, index]
        return
    total = str(int(known[2]) + value)
    if known[3] < at:
        counted[key] = [epoch, known[1] + 1, total, at, batch, index]
    else:
        counted[key] = [epoch, known[1] + 1, total, *max([at, batch, index], known[3:])]


def tally(cells: Cells, name: str, counter: Counter, messages: int, total: int | None, newest: Stamp) -> None:
    """Count many messages of an identity at once, as `count` (without a total) and `add` do one by one."""
    key, epoch = counter
    counted = cells.setdefault(name, {})
    known = counted.get(key)
    if known is None or known[0] < epoch:
        known = [epoch, 0, "0", *newest]
    text = "" if total is None else str(int(known[2]) + total)
    counted[key] = [epoch, known[1] + messages, text, *max(newest, known[3:])]


FOLDS: Final[Mapping[str, Fold]] = {
    "latest": latest,
    "first": first,
    "min": lowest,
    "max": highest,
    "union": unite,
    "count": count,
    "sum": add,
}
NOBODY: Final[Counter] = ("", 0)


def join(cells: Cells, other: Cells) -> None:
    """Take over into `cells` all that `other` knows more: commutative, associative, idempotent."""
    for name, cell in other.items():
        merge, _, _ = name.partition(":")
        if name.startswith(COUNTED):
            _join_counted(cells.setdefault(name, {}), cell)
        elif merge == "union":
            united = cells.setdefault(name, {})
            for text, stamp in cell.items():
                _take_value(united, text, stamp)
        else:
            at, batch, index, value = cell
            FOLDS[merge](cells, name, NOBODY, value, at, batch, index)


def _take_value(united: dict[str, Stamp], text: str, stamp: Stamp) -> None:
    known = united.get(text)
    if known is None or stamp < known:
        united[text] = stamp
        if len(united) > MAX_VALUES:
            del united[max(united)]


def _join_counted(counted: dict[str, list[Any]], other: Mapping[str, list[Any]]) -> None:
    for key, record in other.items():
        known = counted.get(key)
        if known is None or known[:2] < record[:2]:
            counted[key] = record


def trim(cells: Cells, most_identities: int) -> bool:
    """Keep the counts of those identities that come first, and tell whether there were more."""
    trimmed = [keep_first(cell, most_identities) for name, cell in cells.items() if name.startswith(COUNTED)]
    return any(trimmed)


def keep_first(known: dict[str, Any], most: int) -> bool:
    """Keep what comes first in the order of keys, and tell whether there was more.

    What is left is the same however often, and wherever on the way, it is done.
    """
    too_many = len(known) - most
    if too_many == 1:
        del known[max(known)]
    elif too_many > 1:
        for key in sorted(known)[most:]:
            del known[key]
    return too_many > 0


def own(cells: Cells, key: str) -> Cells:
    """Return what the identity `key` itself has counted: all that its node keeps when the profile moves."""
    counted = ((name, cell.get(key)) for name, cell in cells.items() if name.startswith(COUNTED))
    return {name: {key: record} for name, record in counted if record is not None}


def after(cells: Cells, moment: int) -> Cells:
    """Return what is left of cells when all that messages said up to `moment` is forgotten."""
    left: Cells = {}
    for name, cell in cells.items():
        if name.startswith(COUNTED):
            kept: Any = {key: record for key, record in cell.items() if record[0] >= moment}
        elif name.startswith("union:"):
            kept = {text: stamp for text, stamp in cell.items() if stamp[0] > moment}
        else:
            kept = cell if cell[0] > moment else None
        if kept:
            left[name] = kept
    return left


def order(value: Any) -> tuple[int, Any]:
    """Return what values of any kind are compared by: numbers, then texts, then all else by its JSON."""
    kind = type(value)  # exactly: a boolean is no number
    if kind is int or kind is float:
        return 0, value
    return (1, value) if kind is str else (2, text_of(value))


def text_of(value: Any) -> str:
    """Return the one JSON text of a value."""
    return _ENCODER.encode(value)


def value_of(name: str, cell: Any) -> tuple[Any, Stamp]:
    """Return what a cell says to people: the attribute's value, and the stamp of the message behind it."""
    merge, _, _ = name.partition(":")
    if merge == "union":
        return [json.loads(text) for text in sorted(cell)], max(cell.values())
    if merge == "count":
        return sum(record[1] for record in cell.values()), max(record[3:] for record in cell.values())
    if merge == "sum":
        return _units(sum(int(record[2]) for record in cell.values())), max(record[3:] for record in cell.values())
    return cell[3], cell[:3]


def _units(millionths: int) -> int | float:
    whole, rest = divmod(millionths, MILLIONTHS)
    return millionths / MILLIONTHS if rest else whole
