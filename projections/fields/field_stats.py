"""Statistics of the fields of a stream: frequency, types and patterns, without values.

Statistics can be merged in any order. Memory is bounded: beyond 500 fields the outermost are kept, and of these the
shortest names, because generated names tend to be long. Fields of nested objects count, down to three levels; lists are
not inspected.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import inf
from types import MappingProxyType
from typing import Any, Final

import orjson

from projections.fields.distinct_sketch import DistinctSketch, hash_text
from projections.fields.field_names import FieldPath
from projections.fields.text_patterns import BLANK, EPOCHS, OTHER, PATTERNS, number_facts, text_facts
from projections.mapping.numbers import as_integer, bounded_number

FORMAT: Final = 2  # of `to_json`; statistics of another format are ignored
MAX_FIELDS: Final = 500
MAX_TRACKED_FIELDS: Final = 600  # fields in memory before the lowest ranked are evicted
MAX_NAME_CHARACTERS: Final = 200  # of the dotted path
MAX_DEPTH: Final = 3
TYPES: Final = MappingProxyType(
    {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array", type(None): "null"}
)

FieldKey = str | tuple[str, ...]  # the name of a top-level field, or the path of a nested one


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFacts:
    """The statistics of one field. `types` and `patterns` list only values that occurred.

    `patterns` counts patterns of texts, one per text, without `other`; `epoch_*` and `placeholder` are additional
    patterns of texts and numbers. `distinct` is the estimated number of distinct texts and numbers.
    """

    path: FieldPath
    seen: int  # number of occurrences
    types: Mapping[str, int]  # JSON types
    patterns: Mapping[str, int]
    last_seen_at: int  # microseconds since 1970 UTC, an event time
    min_length: int | None  # of the texts, in characters
    max_length: int | None
    min_value: float | None  # of the numbers
    max_value: float | None
    distinct: int

    @property
    def name(self) -> str:
        """The dotted path."""
        return ".".join(self.path)

    @property
    def present(self) -> int:
        """The number of values other than null and blank text."""
        return self.seen - self.types.get("null", 0) - self.patterns.get(BLANK, 0)


@dataclass(frozen=True, slots=True)
class FieldSummary:
    """The statistics of each field, sorted by path, of `sampled` messages; and the estimated number of other fields."""

    sampled: int
    fields: Sequence[FieldFacts]
    excluded_fields: int


class _Field:
    """The counts of one field."""

    __slots__ = ("distinct", "last_seen_at", "max_length", "max_value", "min_length", "min_value", "patterns", "types")

    def __init__(self) -> None:
        self.types = dict.fromkeys(TYPES, 0)
        self.patterns = dict.fromkeys((*PATTERNS, *EPOCHS), 0)
        self.last_seen_at = -inf
        self.min_length: float = inf
        self.max_length: float = -inf
        self.min_value: float = inf
        self.max_value: float = -inf
        self.distinct = DistinctSketch()

    def add(self, value: Any, at: int) -> None:
        """Add a value."""
        kind = type(value)
        self.types[kind] += 1
        if at > self.last_seen_at:  # noqa: PLR1730  # here and below: a call is slower, and this is a hot path
            self.last_seen_at = at
        if kind is str:
            facts = text_facts(value)
            self.patterns[facts.pattern] += 1
            size = len(value)
            if size < self.min_length:  # noqa: PLR1730  # as above
                self.min_length = size
            if size > self.max_length:  # noqa: PLR1730  # as above
                self.max_length = size
        elif kind is int or kind is float:
            facts = number_facts(value)
            if not self.min_value <= value <= self.max_value:
                self._widen(value)
        else:
            return
        if facts.extra:
            self.patterns[facts.extra] += 1
        if facts.value_hash < self.distinct.limit:
            self.distinct.add(facts.value_hash)

    def _widen(self, value: float) -> None:
        """Extend the range of numbers, unless the number is out of bounds."""
        if bounded_number(value) is not None:
            integer = as_integer(value)
            number = value if integer is None else integer  # 7 and 7.0 give the same result in any order
            self.min_value = min(self.min_value, number)
            self.max_value = max(self.max_value, number)

    def merge(self, other: "_Field") -> None:
        """Add the values of another field."""
        for kind, count in other.types.items():
            self.types[kind] += count
        for pattern, count in other.patterns.items():
            self.patterns[pattern] += count
        self.last_seen_at = max(self.last_seen_at, other.last_seen_at)
        self.min_length = min(self.min_length, other.min_length)
        self.max_length = max(self.max_length, other.max_length)
        self.min_value = min(self.min_value, other.min_value)
        self.max_value = max(self.max_value, other.max_value)
        self.distinct.merge(other.distinct)

    def facts(self, path: FieldPath) -> FieldFacts:
        return FieldFacts(
            path=path,
            seen=sum(self.types.values()),
            types={name: count for kind, name in TYPES.items() if (count := self.types[kind])},
            patterns={pattern: count for pattern, count in self.patterns.items() if count and pattern != OTHER},
            last_seen_at=int(self.last_seen_at),
            min_length=None if self.max_length < 0 else int(self.min_length),
            max_length=None if self.max_length < 0 else int(self.max_length),
            min_value=None if self.min_value == inf else self.min_value,
            max_value=None if self.max_value == -inf else self.max_value,
            distinct=self.distinct.estimate(),
        )

    def to_json(self, path: FieldPath) -> list[Any]:
        bounds = (self.min_length, self.max_length, self.min_value, self.max_value)
        return [
            path,
            list(self.types.values()),
            {pattern: count for pattern, count in self.patterns.items() if count},
            self.last_seen_at,
            [None if bound in {inf, -inf} else bound for bound in bounds],
            self.distinct.to_text(),
        ]

    @classmethod
    def from_json(cls, facts: list[Any]) -> "_Field":
        field = cls()
        _, types, patterns, field.last_seen_at, bounds, distinct = facts
        field.types = dict(zip(TYPES, types, strict=True))
        field.patterns |= patterns
        min_length, max_length, min_value, max_value = bounds
        field.min_length, field.max_length = _or_default(min_length, inf), _or_default(max_length, -inf)
        field.min_value, field.max_value = _or_default(min_value, inf), _or_default(max_value, -inf)
        field.distinct = DistinctSketch.from_text(distinct)
        return field


class FieldStats:
    """The statistics of the fields of `sampled` messages."""

    __slots__ = ("_fields", "_limit", "excluded", "sampled")

    def __init__(self) -> None:
        self.sampled = 0
        self._fields: dict[FieldKey, _Field] = {}
        self.excluded = DistinctSketch()  # names of fields without statistics
        self._limit: tuple[int, int, FieldPath] | None = None  # fields of a higher rank are excluded

    @property
    def tracked_fields(self) -> int:
        """The number of fields in memory."""
        return len(self._fields)

    @property
    def excluded_fields(self) -> int:
        """The estimated number of excluded fields."""
        self._evict(MAX_FIELDS)
        return self.excluded.estimate()

    def add(self, message: Mapping[str, Any], at: int) -> None:
        """Add the fields of a parsed JSON message with an event time in microseconds since 1970 UTC."""
        self.sampled += 1
        get = self._fields.get
        for name, value in message.items():
            field = get(name) or self._admit(name)
            if field is not None:
                field.add(value, at)
            if type(value) is dict:
                self._add_nested((name,), value, at)

    def fields(self) -> list[FieldFacts]:
        """Return the statistics of each field, sorted by path."""
        return [field.facts(path) for path, field in sorted(self._ranked_fields(), key=lambda entry: entry[0])]

    def to_json(self) -> bytes:
        """Serialize the statistics. The result depends only on the messages, not on the order of merges."""
        fields = [field.to_json(path) for path, field in self._ranked_fields()]
        return orjson.dumps({"sampled": self.sampled, "excluded": self.excluded.to_text(), "fields": fields})

    @classmethod
    def from_json(cls, text: bytes) -> "FieldStats":
        """Deserialize the output of `to_json`."""
        data = orjson.loads(text)
        stats = cls()
        stats.sampled = data["sampled"]
        stats.excluded = DistinctSketch.from_text(data["excluded"])
        for facts in data["fields"]:
            stats._fields[_key(facts[0])] = _Field.from_json(facts)
        return stats

    def merge(self, other: "FieldStats") -> None:
        """Add the messages of other statistics."""
        self.sampled += other.sampled
        self.excluded.merge(other.excluded)
        for key, other_field in other._fields.items():
            field = self._fields.get(key) or self._admit(key)
            if field is not None:
                field.merge(other_field)

    def _add_nested(self, path: FieldPath, members: Mapping[str, Any], at: int) -> None:
        for name, value in members.items():
            inner = (*path, name)
            field = self._fields.get(inner) or self._admit(inner)
            if field is not None:
                field.add(value, at)
            if type(value) is dict and len(inner) < MAX_DEPTH:
                self._add_nested(inner, value, at)

    def _admit(self, key: FieldKey) -> _Field | None:
        """Create the statistics of a new field; None if the field is excluded."""
        path = _path(key)
        if not _is_storable(path) or (self._limit is not None and _rank(path) > self._limit):
            self.excluded.add(_hash_path(path))
            return None
        field = self._fields[key] = _Field()
        self._evict(MAX_TRACKED_FIELDS)
        return field

    def _evict(self, max_fields: int) -> None:
        """Reduce the fields to `MAX_FIELDS` if there are more than `max_fields`."""
        if len(self._fields) > max_fields:
            ranked = sorted((_rank(path), key) for key in self._fields for path in (_path(key),))
            for (_, _, path), key in ranked[MAX_FIELDS:]:
                del self._fields[key]
                self.excluded.add(_hash_path(path))
            self._limit = ranked[MAX_FIELDS - 1][0]

    def _ranked_fields(self) -> Iterator[tuple[FieldPath, _Field]]:
        self._evict(MAX_FIELDS)
        for (_, _, path), key in sorted((_rank(_path(key)), key) for key in self._fields):
            yield path, self._fields[key]


def merge(one: FieldStats, other: FieldStats) -> FieldStats:
    """Return the statistics of the messages of both."""
    merged = FieldStats()
    merged.merge(one)
    merged.merge(other)
    return merged


def merge_sketches(sketches: Iterable[bytes]) -> FieldStats:
    """Return the statistics of the messages of all sketches, each from `to_json`."""
    return reduce(merge, map(FieldStats.from_json, sketches), FieldStats())


def summarize(sketches: Iterable[bytes]) -> FieldSummary:
    """Return the statistics in sketches."""
    stats = merge_sketches(sketches)
    return FieldSummary(stats.sampled, tuple(stats.fields()), stats.excluded_fields)


def _path(key: FieldKey) -> FieldPath:
    return (key,) if isinstance(key, str) else key


def _key(path: list[str]) -> FieldKey:
    return path[0] if len(path) == 1 else tuple(path)


def _rank(path: FieldPath) -> tuple[int, int, FieldPath]:
    return len(path), sum(map(len, path)), path


def _is_storable(path: FieldPath) -> bool:
    name = ".".join(path)
    if len(name) > MAX_NAME_CHARACTERS:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _hash_path(path: FieldPath) -> int:
    return hash_text("\0".join(path))


def _or_default(value: float | None, default: float) -> float:
    return default if value is None else value
