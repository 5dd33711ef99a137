"""The messages that decide a register: the merge functions of `projections.profiles.crdt` over whole columns.

A row is a message. Rows are sorted by person, and by stamp for each person.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from app.rebuild.columnar.json_columns import Numbers
from projections.profiles.crdt import Stamp, sort_key
from projections.profiles.updates import FoldedMessages
from schemas.json_values import canonical_json

Targets = Sequence[tuple[str, FoldedMessages]]  # by person: the key, and the messages to fold into

SAFE_SUM: Final = 2**62


@dataclass(frozen=True, slots=True)
class Stamps:
    """The stamp of every row; batches are numbered in the order of their names."""

    at: Numbers
    batch: Numbers
    index: Numbers
    batches: Sequence[str]

    def of(self, rows: Numbers) -> Iterator[Stamp]:
        """Yield the stamps of rows."""
        for at, batch, index in zip(
            self.at[rows].tolist(), self.batch[rows].tolist(), self.index[rows].tolist(), strict=True
        ):
            yield [at, self.batches[batch], index]


@dataclass(frozen=True, slots=True)
class Ordered:
    """Rows and the person of each, in order."""

    rows: Numbers
    people: Numbers

    @classmethod
    def by(cls, rows: Numbers, people: Numbers, stamps: Stamps) -> "Ordered":
        """Return rows in order; `people` has the person of every row."""
        ordered = rows[np.lexsort((stamps.index[rows], stamps.batch[rows], stamps.at[rows], people[rows]))]
        return cls(ordered, people[ordered])

    def only(self, selection: Any) -> "Ordered":
        """Return some of the rows, selected by a mask or by indices."""
        return Ordered(self.rows[selection], self.people[selection])

    def firsts(self) -> "Ordered":
        """Return the first row of each person."""
        return self.only(np.flatnonzero(np.diff(self.people, prepend=-1)))

    def lasts(self) -> "Ordered":
        """Return the last row of each person."""
        return self.only(np.flatnonzero(np.diff(self.people, append=-1)))


@dataclass(frozen=True, slots=True)
class Values:
    """Distinct converted values, the last one None, and the index of the value of each row; None means no value."""

    values: Sequence[Any]
    codes: Numbers

    def given(self, rows: Numbers) -> npt.NDArray[np.bool_]:
        """Return which rows have a value."""
        return np.array([value is not None for value in self.values])[self.codes[rows]]


def fold_column(register: str, values: Values, ordered: Ordered, stamps: Stamps, targets: Targets) -> None:
    """Fold one attribute of all messages into the registers of their people."""
    merge, _, _ = register.partition(":")
    rows = ordered.only(values.given(ordered.rows))
    if not rows.rows.size:
        return
    if merge in {"count", "sum"}:
        _tally(register, values, rows, stamps, targets)
    elif merge == "union":
        _unite(register, values, rows, stamps, targets)
    else:
        _decide(register, values, _deciding(merge, values, rows), stamps, targets)


def _deciding(merge: str, values: Values, rows: Ordered) -> Ordered:
    if merge == "latest":
        return rows.lasts()
    if merge in {"min", "max"}:
        given = [(index, sort_key(value)) for index, value in enumerate(values.values) if value is not None]
        ranks = {key: rank for rank, key in enumerate(sorted({key for _, key in given}, reverse=merge == "max"))}
        by_code = np.zeros(len(values.values), np.int64)
        by_code[[index for index, _ in given]] = [ranks[key] for _, key in given]
        rows = rows.only(np.lexsort((by_code[values.codes[rows.rows]], rows.people)))  # stable: then by stamp
    return rows.firsts()


def _decide(register: str, values: Values, rows: Ordered, stamps: Stamps, targets: Targets) -> None:
    codes = values.codes[rows.rows].tolist()
    for person, code, stamp in zip(rows.people.tolist(), codes, stamps.of(rows.rows), strict=True):
        key, folded = targets[person]
        stamp.append(values.values[code])
        folded.registers[key][register] = stamp


def _unite(register: str, values: Values, rows: Ordered, stamps: Stamps, targets: Targets) -> None:
    texts: dict[str, int] = {}
    numbers = [0 if value is None else texts.setdefault(canonical_json(value), len(texts)) for value in values.values]
    text = np.array(numbers, np.int64)[values.codes[rows.rows]]
    _, firsts = np.unique(rows.people * len(texts) + text, return_index=True)  # of each value, by stamp
    rows, names = rows.only(firsts), list(texts)
    for person, number, stamp in zip(rows.people.tolist(), text[firsts].tolist(), stamps.of(rows.rows), strict=True):
        key, folded = targets[person]
        folded.registers[key].setdefault(register, {})[names[number]] = stamp


def _tally(register: str, values: Values, rows: Ordered, stamps: Stamps, targets: Targets) -> None:
    starts = np.flatnonzero(np.diff(rows.people, prepend=-1))
    messages = np.diff(starts, append=rows.rows.size).tolist()
    totals: Sequence[int | None] = [None] * len(messages)
    if register.startswith("sum:"):
        totals = _sums(values, rows.rows, starts)
    last = rows.lasts()
    for person, count, total, stamp in zip(last.people.tolist(), messages, totals, stamps.of(last.rows), strict=True):
        key, folded = targets[person]
        folded.tallies.append((key, register, count, total, stamp))


def _sums(values: Values, rows: Numbers, starts: Numbers) -> Sequence[int]:
    numbers: list[int] = [value or 0 for value in values.values]
    largest = max(map(abs, numbers))
    dtype = np.int64 if largest * rows.size < SAFE_SUM else object
    sums: list[int] = np.add.reduceat(np.array(numbers, dtype)[values.codes[rows]], starts).tolist()
    return sums
