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
from app.rebuild.columnar.json_columns import JsonColumn, Numbers, read_columns
from app.rebuild.columnar.merge import Ordered, Stamps, Targets, Values, fold_column
from projections.definitions.compiled_rules import NEVER, CompiledRules, forgotten_until
from projections.definitions.rebuild_spec import Scope
from projections.definitions.rules import Forgotten
from projections.mapping.mapper import ColumnarMapping, Mapper
from projections.mapping.numbers import MAX_EXACT_FLOAT
from projections.mapping.raw_messages import UNREADABLE, Raw, RawRecord, open_raw
from projections.profiles.crdt import COUNTED
from projections.profiles.partitioning import partition_of_key
from projections.profiles.updates import FoldedMessages, any_counted, mark_counted
from schemas.topics import FUTURE_BOUND_MS

REFERENCES: Final = np.dtype(
    [("lane", ">u1"), ("partition", ">u2"), ("offset", ">u8"), ("index", ">u8"), ("rules_offset", ">u8")]
)  # the layout of REFERENCE
MAX_COMBINATIONS: Final = 2**62  # of keys of different kinds in the same messages
ROW_OVERHEAD_BYTES: Final = 100  # of a row or link besides its values: numbers and punctuation
UPDATE_OVERHEAD_BYTES: Final = 4_096  # of an update besides rows, links and column names
MIN_MESSAGES_PER_PROFILE: Final = 4  # on average: with fewer, folding is slower than applying them one by one

CountedRanges = Sequence[Sequence[tuple[str, int, int]]]  # by record


@dataclass(frozen=True, slots=True)
class FoldedRecords:
    """The number of messages in some raw records, and the folded messages by partition of identities."""

    messages: int
    by_partition: Mapping[int, FoldedMessages]


def fold_records(
    records: Sequence[RawRecord], rules: CompiledRules, forgotten: Forgotten, partitions: int
) -> FoldedRecords | None:
    """Fold consecutive raw records of one partition.

    Return None if they have to be applied one by one: something in them can't be folded, or folding would be slower.
    """
    messages, streams = 0, defaultdict[str, list[tuple[Raw, int]]](list)
    for record in records:
        try:
            raw = open_raw(record)
        except UNREADABLE:
            continue
        messages += raw.count
        if raw.count and not rules.scope.excludes(raw.job_id, raw.arrived) and rules.mapper(raw.stream):
            streams[raw.stream].append((raw, record.offset))
    folded: dict[int, FoldedMessages] = defaultdict(FoldedMessages)
    for stream, raws in streams.items():
        mapper = rules.mapper(stream)
        if mapper is None or mapper.columnar is None:
            return None
        if not _Messages(raws, records[0], mapper, mapper.columnar).fold(rules.scope, forgotten, folded, partitions):
            return None
    return FoldedRecords(messages, folded)


@dataclass(frozen=True, slots=True)
class _Named:
    """The distinct key sets of messages, best key first, and the index of the set of each message, -1 for none."""

    keys: Sequence[Sequence[str]]
    numbers: Numbers

    def forgotten(self, forgotten: Forgotten) -> Numbers:
        """Return the instant up to which the person of each message is forgotten; NEVER for most."""
        instants = [forgotten_until(forgotten, keys) if forgotten else NEVER for keys in self.keys]
        return np.array([*instants, NEVER], np.int64)[self.numbers]


class _Messages:
    """The messages of one stream, one row each."""

    def __init__(
        self, raws: Sequence[tuple[Raw, int]], source: RawRecord, mapper: Mapper, columnar: ColumnarMapping
    ) -> None:
        self._raws = [raw for raw, _ in raws]
        self._source = source
        self._mapper = mapper
        self._columnar = columnar
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
        """Fold all messages; False when that is impossible or slower, and then `into` must be dropped."""
        counted = self._counted()
        columns = read_columns(b"".join(map(_lines, self._raws)), self._record.size, self._columnar.names)
        if counted is None or not columns or not _is_exact(columns, self._columnar):
            return False
        named = _identify(columns, self._columnar)
        if named is None:
            return False
        people = {key: number for number, key in enumerate(dict.fromkeys(keys[0] for keys in named.keys))}
        if len(people) * MIN_MESSAGES_PER_PROFILE > self._record.size:
            return False
        self._set_times(columns)
        person = np.array([*(people[keys[0]] for keys in named.keys), -1], np.int64)[named.numbers]
        rows = np.flatnonzero((person >= 0) & self._in_scope(scope) & (self._stamps.at > named.forgotten(forgotten)))
        homes = [partition_of_key(key, partitions) for key in people]
        targets = [(key, into[home]) for key, home in zip(people, homes, strict=True)]
        registers = self._registers(columns)
        if not self._fit(registers, named):
            return False
        self._fold_registers(registers, Ordered.by(rows, person, self._stamps), targets)
        if any(len(keys) > 1 for keys in named.keys):
            self._link(named, Ordered.by(rows, named.numbers, self._stamps), into, partitions)
        self._add_references(rows, person, targets)
        self._add_counted(counted, rows, np.array(homes, np.int64)[person[rows]], into, partitions)
        return True

    def _counted(self) -> CountedRanges | None:
        """Return the messages that must count once, by record; None when one of them is repeated here."""
        counted: list[list[tuple[str, int, int]]] = [[] for _ in self._raws]
        if not any(name.startswith(COUNTED) for name in self._mapper.columns):
            return counted
        seen: dict[str, list[list[int]]] = {}
        for raw, messages in zip(self._raws, counted, strict=True):
            if raw.may_repeat:
                messages.append((raw.batch, raw.first, raw.count))
            if any_counted(messages, seen):
                return None
            mark_counted(messages, seen)
        return counted

    def _set_times(self, columns: Mapping[str, JsonColumn]) -> None:
        """Set the time of messages from the field that the mapping names."""
        if self._columnar.when is None:
            return
        name, convert = self._columnar.when
        column = columns[name]
        times = Values([*map(convert, column.values), None], column.codes)
        rows = np.flatnonzero(times.given(np.arange(self._record.size)))
        self._stamps.at[rows] = np.array([time or 0 for time in times.values], np.int64)[column.codes[rows]]

    def _in_scope(self, scope: Scope) -> npt.NDArray[np.bool_]:
        """Return which rows are in scope, by their time."""
        latest = np.array([raw.arrived + FUTURE_BOUND_MS * 1_000 for raw in self._raws], np.int64)[self._record]
        at = self._stamps.at
        mask: npt.NDArray[np.bool_] = at <= latest
        if scope.since is not None:
            mask &= at >= scope.since
        if scope.until is not None:
            mask &= (at < scope.until) | (at >= scope.until_set_at)
        return mask

    def _registers(self, columns: Mapping[str, JsonColumn]) -> Sequence[tuple[str, Values]]:
        """Return the values of each register."""
        columnar, names = self._columnar, self._mapper.columns
        always = np.zeros(self._record.size, np.int64)
        return [
            *(
                (names[index], Values([*map(convert, columns[name].values), None], columns[name].codes))
                for index, name, convert in columnar.fields
            ),
            *(
                (name, Values([constant, None], always))
                for name, constant in zip(names, columnar.constants, strict=True)
                if constant is not None
            ),
        ]

    def _fit(self, registers: Sequence[tuple[str, Values]], named: _Named) -> bool:
        """Return whether the update of every record fits, so that a lane would drop nothing of it."""
        batch = max(len(name.encode()) for name in self._stamps.batches)
        widths = [
            sum(map(_width, keys)) + len(keys[1:]) * (_width(keys[0]) + batch + ROW_OVERHEAD_BYTES)
            for keys in named.keys
        ]
        size = ROW_OVERHEAD_BYTES + np.array([*widths, 0], np.int64)[named.numbers]
        for _, values in registers:
            size += np.array([_width(value) for value in values.values], np.int64)[values.codes]
        max_size = MAX_UPDATE_BYTES - _width(self._mapper.columns) - UPDATE_OVERHEAD_BYTES
        return bool(np.bincount(self._record, size).max() <= max_size)

    def _fold_registers(self, registers: Sequence[tuple[str, Values]], ordered: Ordered, targets: Targets) -> None:
        for person in ordered.firsts().people.tolist():
            key, folded = targets[person]
            folded.registers[key] = {}
        for name, values in registers:
            fold_column(name, values, ordered, self._stamps, targets)

    def _link(self, named: _Named, ordered: Ordered, into: Mapping[int, FoldedMessages], partitions: int) -> None:
        first = ordered.firsts()
        for number, (at, batch, index) in zip(first.people.tolist(), self._stamps.of(first.rows), strict=True):
            best, *others = named.keys[number]
            for other in others:
                into[partition_of_key(other, partitions)].links.append((other, best, at, batch, index))

    def _add_references(self, rows: Numbers, person: Numbers, targets: Targets) -> None:
        """Add the positions of the raw messages of each person, in their order."""
        rows = rows[np.argsort(person[rows], kind="stable")]
        references = np.zeros(rows.size, REFERENCES)
        references["lane"], references["partition"] = LANE_NUMBER[self._source.topic], self._source.partition
        references["offset"], references["index"] = self._offset[rows], self._stamps.index[rows]
        content, people = references.tobytes(), person[rows]
        begins = np.flatnonzero(np.diff(people, prepend=-1))
        ends = [*begins[1:].tolist(), rows.size]
        for number, begin, end in zip(people[begins].tolist(), begins.tolist(), ends, strict=False):
            key, folded = targets[number]
            folded.references[key] = content[begin * REFERENCE.size : end * REFERENCE.size]

    def _add_counted(
        self, counted: CountedRanges, rows: Numbers, home: Numbers, into: Mapping[int, FoldedMessages], partitions: int
    ) -> None:
        for number in np.unique(self._record[rows] * partitions + home).tolist():
            record, partition = divmod(number, partitions)
            into[partition].counted.extend(counted[record])


def _width(value: Any) -> int:
    """Return the size of a value in an update, in bytes."""
    return len(orjson.dumps(value)) + 1


def _lines(raw: Raw) -> bytes:
    return raw.payload if raw.payload.endswith(b"\n") else raw.payload + b"\n"


def _times(raw: Raw) -> Numbers:
    if raw.timestamps:
        return np.array(raw.timestamps, np.int64)
    return np.full(raw.count, raw.arrived, np.int64)


def _is_exact(columns: Mapping[str, JsonColumn], columnar: ColumnarMapping) -> bool:
    """Return whether converters treat whole floats and integers the same: columns don't record which a message had."""
    for name, column in columns.items():
        for number in column.values:
            if type(number) is float and number.is_integer():
                if abs(number) >= MAX_EXACT_FLOAT:
                    return False
                for convert in columnar.converters(name):
                    one, other = convert(number), convert(int(number))
                    if one != other or type(one) is not type(other):
                        return False
    return True


def _identify(columns: Mapping[str, JsonColumn], columnar: ColumnarMapping) -> _Named | None:
    """Return the key sets of messages; None when there are too many combinations of kinds to number them."""
    kinds = [_Kind.of(columns[name], identify) for name, identify in columnar.identities]
    if not kinds or prod(len(kind.keys) for kind in kinds) > MAX_COMBINATIONS:
        return None
    combinations = np.zeros_like(kinds[0].codes)
    for kind in kinds:
        combinations = combinations * len(kind.keys) + kind.codes
    distinct, indices = np.unique(combinations, return_inverse=True)
    key_sets = [_keys(combination, kinds) for combination in distinct.tolist()]
    is_named = [bool(keys) for keys in key_sets]
    numbers = np.where(is_named, np.cumsum(is_named) - 1, -1)
    return _Named([keys for keys in key_sets if keys], numbers[indices])


@dataclass(frozen=True, slots=True)
class _Kind:
    """The distinct keys of one kind, one of them None, and the index of the key of each message."""

    keys: Sequence[str | None]
    codes: Numbers

    @classmethod
    def of(cls, column: JsonColumn, identify: Callable[[Any], str | None]) -> Self:
        identified = [*map(identify, column.values), None]
        keys = list(dict.fromkeys(identified))
        numbers = {key: number for number, key in enumerate(keys)}
        return cls(keys, np.array([numbers[key] for key in identified], np.int64)[column.codes])


def _keys(combination: int, kinds: Sequence[_Kind]) -> Sequence[str]:
    """Return the keys of a combination, best first."""
    keys: set[str] = set()
    for kind in reversed(kinds):
        combination, code = divmod(combination, len(kind.keys))
        key = kind.keys[code]
        if key is not None:
            keys.add(key)
    return sorted(keys)
