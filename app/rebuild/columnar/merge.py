"""Which of many messages decide a register: the rules of `projections.profiles.crdt`, said of whole columns.

A row is a message. Rows are looked at in the order of persons, and of stamps for each of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from app.rebuild.columnar.json_columns import Numbers
from projections.profiles.crdt import Stamp, canonical_json, sort_key
from projections.profiles.updates import FoldedMessages

Told = Sequence[tuple[str, FoldedMessages]]  # by person: the key, and where to say what it is told

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
    """Rows, and the person of each, in order."""

    rows: Numbers
    people: Numbers

    @classmethod
    def by(cls, rows: Numbers, people: Numbers, stamps: Stamps) -> "Ordered":
        """Return rows in order; `people` has one for every row that there is."""
        found = rows[np.lexsort((stamps.index[rows], stamps.batch[rows], stamps.at[rows], people[rows]))]
        return cls(found, people[found])

    def only(self, which: Any) -> "Ordered":
        """Return some of them, as a mask or places say."""
        return Ordered(self.rows[which], self.people[which])

    def firsts(self) -> "Ordered":
        """Return the first of each person."""
        return self.only(np.flatnonzero(np.diff(self.people, prepend=-1)))

    def lasts(self) -> "Ordered":
        """Return the last of each person."""
        return self.only(np.flatnonzero(np.diff(self.people, append=-1)))


@dataclass(frozen=True, slots=True)
class Values:
    """Converted values, None for those that say nothing, and by row which it is; the last one is None."""

    values: Sequence[Any]
    codes: Numbers

    def given(self, rows: Numbers) -> npt.NDArray[np.bool_]:
        """Return which rows have one."""
        return np.array([each is not None for each in self.values])[self.codes[rows]]


def fold_column(register: str, values: Values, every: Ordered, stamps: Stamps, told: Told) -> None:
    """Say of one attribute what the messages say."""
    merge, _, _ = register.partition(":")
    found = every.only(values.given(every.rows))
    if not found.rows.size:
        return
    if merge in {"count", "sum"}:
        _tally(register, values, found, stamps, told)
    elif merge == "union":
        _unite(register, values, found, stamps, told)
    else:
        _decide(register, values, _deciding(merge, values, found), stamps, told)


def _deciding(merge: str, values: Values, found: Ordered) -> Ordered:
    if merge == "latest":
        return found.lasts()
    if merge in {"min", "max"}:
        given = [(place, sort_key(each)) for place, each in enumerate(values.values) if each is not None]
        ranks = {each: rank for rank, each in enumerate(sorted({each for _, each in given}, reverse=merge == "max"))}
        by_code = np.zeros(len(values.values), np.int64)
        by_code[[place for place, _ in given]] = [ranks[each] for _, each in given]
        found = found.only(np.lexsort((by_code[values.codes[found.rows]], found.people)))  # stable: then by stamp
    return found.firsts()


def _decide(register: str, values: Values, found: Ordered, stamps: Stamps, told: Told) -> None:
    codes = values.codes[found.rows].tolist()
    for person, code, stamp in zip(found.people.tolist(), codes, stamps.of(found.rows), strict=True):
        key, folded = told[person]
        stamp.append(values.values[code])
        folded.registers[key][register] = stamp


def _unite(register: str, values: Values, found: Ordered, stamps: Stamps, told: Told) -> None:
    texts: dict[str, int] = {}
    numbers = [0 if each is None else texts.setdefault(canonical_json(each), len(texts)) for each in values.values]
    text = np.array(numbers, np.int64)[values.codes[found.rows]]
    _, places = np.unique(found.people * len(texts) + text, return_index=True)  # the first of each, so by stamp
    found, names = found.only(places), list(texts)
    for person, number, stamp in zip(found.people.tolist(), text[places].tolist(), stamps.of(found.rows), strict=True):
        key, folded = told[person]
        folded.registers[key].setdefault(register, {})[names[number]] = stamp


def _tally(register: str, values: Values, found: Ordered, stamps: Stamps, told: Told) -> None:
    begins = np.flatnonzero(np.diff(found.people, prepend=-1))
    messages = np.diff(begins, append=found.rows.size).tolist()
    totals: Sequence[int | None] = [None] * len(messages)
    if register.startswith("sum:"):
        totals = _sums(values, found.rows, begins)
    last = found.lasts()
    for person, many, total, stamp in zip(last.people.tolist(), messages, totals, stamps.of(last.rows), strict=True):
        key, folded = told[person]
        folded.tallies.append((key, register, many, total, stamp))


def _sums(values: Values, rows: Numbers, begins: Numbers) -> Sequence[int]:
    numbers: list[int] = [each or 0 for each in values.values]
    largest = max(map(abs, numbers))
    exact = np.int64 if largest * rows.size < SAFE_SUM else object
    sums: list[int] = np.add.reduceat(np.array(numbers, exact)[values.codes[rows]], begins).tolist()
    return sums
