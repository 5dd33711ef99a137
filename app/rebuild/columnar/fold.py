"""Folds many raw messages at once, column by column, into the registers of each person.

The result equals the rows that a lane would write, except that of every register only the deciding message is left.
Values are converted by the same functions as in a lane, once for each distinct value.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import orjson

from app.lanes.chunk import MAX_UPDATE_BYTES
from app.profiles.partition import LANE_NUMBER, REFERENCE
from app.rebuild.columnar.json_columns import Column, Numbers, read_columns
from app.rebuild.columnar.merge import Ordered, Stamps, Told, Values, fold_column
from projections.definitions.compiled_rules import NEVER, CompiledRules, forgotten_to
from projections.definitions.rebuild_spec import Scope
from projections.definitions.rules import Forgotten
from projections.mapping.converters import MAX_EXACT_FLOAT
from projections.mapping.mapper import ColumnarMapping, Mapper
from projections.mapping.raw_messages import UNREADABLE, Raw, RawRecord, open_raw
from projections.profiles.crdt import COUNTED
from projections.profiles.partitioning import partition_of_key
from projections.profiles.updates import FoldedMessages, any_counted, mark_counted
from schemas.topics import FUTURE_BOUND_MS

REFERENCES: Final = np.dtype(
    [("lane", ">u1"), ("partition", ">u2"), ("offset", ">u8"), ("index", ">u8"), ("rules_at", ">u8")]
)  # what REFERENCE packs
MAX_COMBINATIONS: Final = 2**62  # of keys of different kinds in the same messages
ROW: Final = 100  # bytes of a row or link beside its values: the numbers, and all that is around them
HEADER: Final = 4_096  # bytes of what is told beside rows, links and the names of columns
MIN_MESSAGES_PER_PROFILE: Final = 4  # messages of a person, on average: with fewer, they are faster one by one

Counted = Sequence[Sequence[tuple[str, int, int]]]  # by record


@dataclass(frozen=True, slots=True)
class FoldedRecords:
    """How many messages there were in some raw records, and what they say, by partition of identities."""

    messages: int
    told: Mapping[int, FoldedMessages]


def fold_records(
    records: Sequence[RawRecord], book: CompiledRules, forgotten: Forgotten, partitions: int
) -> FoldedRecords | None:
    """Return what consecutive raw records of one partition say.

    None: they have to be taken one by one, as something in them can't be folded this way, or is slower so.
    """
    messages, streams = 0, defaultdict[str, list[tuple[Raw, int]]](list)
    for record in records:
        try:
            raw = open_raw(record)
        except UNREADABLE:
            continue
        messages += raw.count
        if raw.count and not book.scope.leaves_out(raw.job_id, raw.arrived) and book.mapper(raw.stream):
            streams[raw.stream].append((raw, record.offset))
    told: dict[int, FoldedMessages] = defaultdict(FoldedMessages)
    for stream, raws in streams.items():
        mapper = book.mapper(stream)
        if mapper is None or mapper.columnar is None:
            return None
        if not _Messages(raws, records[0], mapper, mapper.columnar).fold(book.scope, forgotten, told, partitions):
            return None
    return FoldedRecords(messages, told)


@dataclass(frozen=True, slots=True)
class _Named:
    """Whom messages name: keys that come together, the best first, and by message which of them it is, -1 for none."""

    keys: Sequence[Sequence[str]]
    numbers: Numbers

    def forgotten(self, forgotten: Forgotten) -> Numbers:
        """Return by message the moment up to which its person is forgotten, before all moments for most."""
        moments = [forgotten_to(forgotten, keys) if forgotten else NEVER for keys in self.keys]
        return np.array([*moments, NEVER], np.int64)[self.numbers]


class _Messages:
    """The messages of one stream, a row each."""

    def __init__(
        self, raws: Sequence[tuple[Raw, int]], source: RawRecord, mapper: Mapper, plain: ColumnarMapping
    ) -> None:
        self._raws = [raw for raw, _ in raws]
        self._source = source
        self._mapper = mapper
        self._plain = plain
        self._record = np.repeat(np.arange(len(raws)), [raw.count for raw in self._raws])
        self._offset = np.array([offset for _, offset in raws], np.int64)[self._record]
        batches = sorted({raw.batch for raw in self._raws})
        ranks = {batch: rank for rank, batch in enumerate(batches)}
        self._stamps = Stamps(
            at=np.concatenate([_times(raw) for raw in self._raws]),
            batch=np.array([ranks[raw.batch] for raw in self._raws], np.int64)[self._record],
            index=np.concatenate([np.arange(raw.first, raw.first + raw.count) for raw in self._raws]),
            batches=batches,
        )

    def fold(self, scope: Scope, forgotten: Forgotten, into: Mapping[int, FoldedMessages], partitions: int) -> bool:
        """Fold all of it; False when that can't be done, or isn't worth it, and then `into` is of no use."""
        counted = self._counted()
        columns = read_columns(b"".join(_ended(raw) for raw in self._raws), self._record.size, self._plain.names)
        if counted is None or not columns or not _is_sure(columns, self._plain):
            return False
        named = _identify(columns, self._plain)
        if named is None:
            return False
        people = {key: number for number, key in enumerate(dict.fromkeys(keys[0] for keys in named.keys))}
        if len(people) * MIN_MESSAGES_PER_PROFILE > self._record.size:
            return False
        self._date(columns)
        person = np.array([*(people[keys[0]] for keys in named.keys), -1], np.int64)[named.numbers]
        rows = np.flatnonzero((person >= 0) & self._in_scope(scope) & (self._stamps.at > named.forgotten(forgotten)))
        homes = [partition_of_key(key, partitions) for key in people]
        told = [(key, into[home]) for key, home in zip(people, homes, strict=True)]
        registers = self._registers(columns)
        if not self._fit(registers, named):
            return False
        self._tell(registers, Ordered.by(rows, person, self._stamps), told)
        if any(len(keys) > 1 for keys in named.keys):
            self._link(named, Ordered.by(rows, named.numbers, self._stamps), into, partitions)
        self._refer(rows, person, told)
        self._count_once(counted, rows, np.array(homes, np.int64)[person[rows]], into, partitions)
        return True

    def _counted(self) -> Counted | None:
        """Return which messages must count only once; None when one of them comes twice here."""
        found: list[list[tuple[str, int, int]]] = [[] for _ in self._raws]
        if not any(name.startswith(COUNTED) for name in self._mapper.columns):
            return found
        seen: dict[str, list[list[int]]] = {}
        for raw, mine in zip(self._raws, found, strict=True):
            if raw.may_repeat:
                mine.append((raw.batch, raw.first, raw.count))
            if any_counted(mine, seen):
                return None
            mark_counted(mine, seen)
        return found

    def _date(self, columns: Mapping[str, Column]) -> None:
        """Take the time of messages from where the mapping looks for it."""
        if self._plain.when is None:
            return
        name, convert = self._plain.when
        column = columns[name]
        found = Values([*(convert(each) for each in column.values), None], column.codes)
        rows = np.flatnonzero(found.given(np.arange(self._record.size)))
        self._stamps.at[rows] = np.array([each or 0 for each in found.values], np.int64)[column.codes[rows]]

    def _in_scope(self, scope: Scope) -> npt.NDArray[np.bool_]:
        """Return which rows count, by their time."""
        latest = np.array([raw.arrived + FUTURE_BOUND_MS * 1_000 for raw in self._raws], np.int64)[self._record]
        at = self._stamps.at
        found: npt.NDArray[np.bool_] = at <= latest
        if scope.since is not None:
            found &= at >= scope.since
        if scope.until is not None:
            found &= (at < scope.until) | (at >= scope.began)
        return found

    def _registers(self, columns: Mapping[str, Column]) -> Sequence[tuple[str, Values]]:
        """Return what every message says of each attribute."""
        plain, names = self._plain, self._mapper.columns
        always = np.zeros(self._record.size, np.int64)
        return [
            *(
                (names[place], Values([*(convert(each) for each in columns[name].values), None], columns[name].codes))
                for place, name, convert in plain.fields
            ),
            *(
                (name, Values([constant, None], always))
                for name, constant in zip(names, plain.constants, strict=True)
                if constant is not None
            ),
        ]

    def _fit(self, registers: Sequence[tuple[str, Values]], named: _Named) -> bool:
        """Tell whether no record says more than lanes can tell, of which they would leave some out."""
        batch = max(len(each.encode()) for each in self._stamps.batches)
        keys = [sum(map(_width, each)) + len(each[1:]) * (_width(each[0]) + batch + ROW) for each in named.keys]
        size = ROW + np.array([*keys, 0], np.int64)[named.numbers]
        for _, values in registers:
            size += np.array([_width(each) for each in values.values], np.int64)[values.codes]
        most = MAX_UPDATE_BYTES - _width(self._mapper.columns) - HEADER
        return bool(np.bincount(self._record, size).max() <= most)

    def _tell(self, registers: Sequence[tuple[str, Values]], every: Ordered, told: Told) -> None:
        for person in every.firsts().people.tolist():
            key, folded = told[person]
            folded.registers[key] = {}
        for name, values in registers:
            fold_column(name, values, every, self._stamps, told)

    def _link(self, named: _Named, every: Ordered, into: Mapping[int, FoldedMessages], partitions: int) -> None:
        first = every.firsts()
        for number, (at, batch, index) in zip(first.people.tolist(), self._stamps.of(first.rows), strict=True):
            best, *others = named.keys[number]
            for each in others:
                into[partition_of_key(each, partitions)].links.append((each, best, at, batch, index))

    def _refer(self, rows: Numbers, person: Numbers, told: Told) -> None:
        """Note where the raw messages of each person are, in their order."""
        found = rows[np.argsort(person[rows], kind="stable")]
        pages = np.zeros(found.size, REFERENCES)
        pages["lane"], pages["partition"] = LANE_NUMBER[self._source.topic], self._source.partition
        pages["offset"], pages["index"] = self._offset[found], self._stamps.index[found]
        written, people = pages.tobytes(), person[found]
        begins = np.flatnonzero(np.diff(people, prepend=-1))
        ends = [*begins[1:].tolist(), found.size]
        for number, begin, end in zip(people[begins].tolist(), begins.tolist(), ends, strict=False):
            key, folded = told[number]
            folded.references[key] = written[begin * REFERENCE.size : end * REFERENCE.size]

    def _count_once(
        self, counted: Counted, rows: Numbers, home: Numbers, into: Mapping[int, FoldedMessages], partitions: int
    ) -> None:
        for each in np.unique(self._record[rows] * partitions + home).tolist():
            record, partition = divmod(each, partitions)
            into[partition].counted.extend(counted[record])


def _width(value: Any) -> int:
    """Return how many bytes a value takes in what is told."""
    return len(orjson.dumps(value)) + 1


def _ended(raw: Raw) -> bytes:
    return raw.payload if raw.payload.endswith(b"\n") else raw.payload + b"\n"


def _times(raw: Raw) -> Numbers:
    if raw.timestamps:
        return np.array(raw.timestamps, np.int64)
    return np.full(raw.count, raw.arrived, np.int64)


def _is_sure(columns: Mapping[str, Column], plain: ColumnarMapping) -> bool:
    """Tell whether it is all the same which of the whole numbers among floats were integers."""
    for name, column in columns.items():
        for number in column.values:
            if type(number) is float and number.is_integer():
                if abs(number) >= MAX_EXACT_FLOAT:
                    return False
                for convert in plain.converters(name):
                    one, other = convert(number), convert(int(number))
                    if one != other or type(one) is not type(other):
                        return False
    return True


def _identify(columns: Mapping[str, Column], plain: ColumnarMapping) -> _Named | None:
    """Return whom messages name; None when so many kinds of keys come together that they can't be numbered."""
    kinds = [_Kind.of(columns[name], identify) for name, identify in plain.identities]
    if not kinds or prod(len(each.keys) for each in kinds) > MAX_COMBINATIONS:
        return None
    together = np.zeros_like(kinds[0].codes)
    for each in kinds:
        together = together * len(each.keys) + each.codes
    distinct, places = np.unique(together, return_inverse=True)
    found = [_keys(each, kinds) for each in distinct.tolist()]
    numbers = np.where([bool(each) for each in found], np.cumsum([bool(each) for each in found]) - 1, -1)
    return _Named([each for each in found if each], numbers[places])


@dataclass(frozen=True, slots=True)
class _Kind:
    """Keys of one kind, the last one None, and by message which of them it names."""

    keys: Sequence[str | None]
    codes: Numbers

    @classmethod
    def of(cls, column: Column, identify: Callable[[Any], str | None]) -> Self:
        found = [*(identify(each) for each in column.values), None]
        keys = list(dict.fromkeys(found))
        numbers = {key: number for number, key in enumerate(keys)}
        return cls(keys, np.array([numbers[each] for each in found], np.int64)[column.codes])


def _keys(together: int, kinds: Sequence[_Kind]) -> Sequence[str]:
    """Return the keys that come together, the best first."""
    found: set[str] = set()
    for each in reversed(kinds):
        together, code = divmod(together, len(each.keys))
        key = each.keys[code]
        if key is not None:
            found.add(key)
    return sorted(found)
