"""What is known of the fields of a stream: how often they come, of which types, and what they look like. No values.

Counts of two parts add up to those of the whole, whatever the order and wherever it was cut. Memory is bounded,
whatever comes: of more than 500 fields the outermost are kept and of these the shortest names, as names of which there
is no end tend to be long. Fields of objects inside are fields too, down to three levels; lists are not looked into.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Any, Final

import orjson

from projections.fields.distinct_sketch import DistinctSketch, mark_of
from projections.fields.text_patterns import BLANK, EPOCHS, OTHER, PATTERNS, about_number, about_text
from projections.mapping.numbers import as_integer, bounded_number

FORMAT: Final = 1  # of `to_json`: a new one begins anew, beside the old one
MAX_FIELDS: Final = 500
MAX_TRACKED_FIELDS: Final = 600  # fields that are held before the last are let go
MAX_NAME_CHARACTERS: Final = 200  # characters, with the points between
MAX_DEPTH: Final = 3
TYPES: Final = MappingProxyType(
    {str: "string", int: "integer", float: "number", bool: "boolean", dict: "object", list: "array", type(None): "null"}
)

Key = str | tuple[str, ...]  # of a field of the message, or the path to one inside
Path = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFacts:
    """What is known of one field. `types` and `looks` have only what there was.

    `looks` are of texts, one each, `other` left out; `epoch_*` are of texts and numbers, on top. `distinct` is about
    how many different texts and numbers there were.
    """

    path: Path
    seen: int  # messages that had it, or objects
    types: Mapping[str, int]  # JSON's
    looks: Mapping[str, int]
    last_seen: int  # microseconds since 1970 UTC, the time of a message
    shortest: int | None  # of the texts, in characters
    longest: int | None
    smallest: float | None  # of the numbers
    largest: float | None
    distinct: int

    @property
    def name(self) -> str:
        """The name, with points between the steps."""
        return ".".join(self.path)

    @property
    def given(self) -> int:
        """How often it said something: neither null nor a blank text."""
        return self.seen - self.types.get("null", 0) - self.looks.get(BLANK, 0)


class _Field:
    """The counts of one field."""

    __slots__ = ("distinct", "largest", "last_seen", "longest", "looks", "shortest", "smallest", "types")

    def __init__(self) -> None:
        self.types = dict.fromkeys(TYPES, 0)
        self.looks = dict.fromkeys((*PATTERNS, *EPOCHS), 0)
        self.last_seen = -inf
        self.shortest: float = inf
        self.longest: float = -inf
        self.smallest: float = inf
        self.largest: float = -inf
        self.distinct = DistinctSketch()

    def take(self, value: Any, at: int) -> None:
        """Count a value."""
        kind = type(value)
        self.types[kind] += 1
        if at > self.last_seen:  # noqa: PLR1730  # here and below: a call costs more, and this is a hot path
            self.last_seen = at
        if kind is str:
            about = about_text(value)
            self.looks[about.look] += 1
            size = len(value)
            if size < self.shortest:  # noqa: PLR1730
                self.shortest = size
            if size > self.longest:  # noqa: PLR1730
                self.longest = size
        elif kind is int or kind is float:
            about = about_number(value)
            if not self.smallest <= value <= self.largest:
                self._widen(value)
        else:
            return
        if about.epoch:
            self.looks[about.epoch] += 1
        if about.mark < self.distinct.limit:
            self.distinct.add(about.mark)

    def _widen(self, value: float) -> None:
        """Make the range of numbers reach to a number, if it is one that can be kept."""
        if bounded_number(value) is not None:
            exact = as_integer(value)
            number = value if exact is None else exact  # of 7 and 7.0 the same stays, whichever comes first
            self.smallest = min(self.smallest, number)
            self.largest = max(self.largest, number)

    def take_in(self, other: "_Field") -> None:
        """Count what another one has counted, too."""
        for kind, count in other.types.items():
            self.types[kind] += count
        for look, count in other.looks.items():
            self.looks[look] += count
        self.last_seen = max(self.last_seen, other.last_seen)
        self.shortest = min(self.shortest, other.shortest)
        self.longest = max(self.longest, other.longest)
        self.smallest = min(self.smallest, other.smallest)
        self.largest = max(self.largest, other.largest)
        self.distinct.take_in(other.distinct)

    def facts(self, path: Path) -> FieldFacts:
        return FieldFacts(
            path=path,
            seen=sum(self.types.values()),
            types={name: count for kind, name in TYPES.items() if (count := self.types[kind])},
            looks={look: count for look, count in self.looks.items() if count and look != OTHER},
            last_seen=int(self.last_seen),
            shortest=None if self.longest < 0 else int(self.shortest),
            longest=None if self.longest < 0 else int(self.longest),
            smallest=None if self.smallest == inf else self.smallest,
            largest=None if self.largest == -inf else self.largest,
            distinct=self.distinct.estimate(),
        )

    def to_json(self, path: Path) -> list[Any]:
        bounds = (self.shortest, self.longest, self.smallest, self.largest)
        return [
            path,
            list(self.types.values()),
            {look: count for look, count in self.looks.items() if count},
            self.last_seen,
            [None if each in {inf, -inf} else each for each in bounds],
            self.distinct.to_text(),
        ]

    @classmethod
    def from_json(cls, facts: list[Any]) -> "_Field":
        field = cls()
        _, types, looks, field.last_seen, bounds, distinct = facts
        field.types = dict(zip(TYPES, types, strict=True))
        field.looks |= looks
        least, most, smallest, largest = bounds
        field.shortest, field.longest = _either(least, inf), _either(most, -inf)
        field.smallest, field.largest = _either(smallest, inf), _either(largest, -inf)
        field.distinct = DistinctSketch.from_text(distinct)
        return field


class FieldStats:
    """The fields of the messages that were looked at, `looked` of them."""

    __slots__ = ("_fields", "_limit", "left_out", "looked")

    def __init__(self) -> None:
        self.looked = 0
        self._fields: dict[Key, _Field] = {}
        self.left_out = DistinctSketch()  # names that are not kept
        self._limit: tuple[int, int, Path] | None = None  # above it nothing would be kept

    @property
    def held(self) -> int:
        """How many fields take up memory."""
        return len(self._fields)

    @property
    def more(self) -> int:
        """About how many fields there were beyond those that are kept."""
        self._let_go(MAX_FIELDS)
        return self.left_out.estimate()

    def look(self, message: Mapping[str, Any], at: int) -> None:
        """Count the fields of a message (JSON, as it was parsed) of a time, in microseconds since 1970 UTC."""
        self.looked += 1
        get = self._fields.get
        for name, value in message.items():
            field = get(name) or self._admit(name)
            if field is not None:
                field.take(value, at)
            if type(value) is dict:
                self._look_inside((name,), value, at)

    def fields(self) -> list[FieldFacts]:
        """Return what is known of each field, by name."""
        return [field.facts(path) for path, field in sorted(self._kept(), key=lambda each: each[0])]

    def to_json(self) -> bytes:
        """Return all of it; the same for the same messages, however they came together."""
        fields = [field.to_json(path) for path, field in self._kept()]
        return orjson.dumps({"looked": self.looked, "more": self.left_out.to_text(), "fields": fields})

    @classmethod
    def from_json(cls, text: bytes) -> "FieldStats":
        """Return what `to_json` wrote."""
        found = orjson.loads(text)
        stats = cls()
        stats.looked = found["looked"]
        stats.left_out = DistinctSketch.from_text(found["more"])
        for facts in found["fields"]:
            stats._fields[_key(facts[0])] = _Field.from_json(facts)
        return stats

    def take_in(self, other: "FieldStats") -> None:
        """Count what another one has counted, too."""
        self.looked += other.looked
        self.left_out.take_in(other.left_out)
        for key, theirs in other._fields.items():
            field = self._fields.get(key) or self._admit(key)
            if field is not None:
                field.take_in(theirs)

    def _look_inside(self, path: Path, members: Mapping[str, Any], at: int) -> None:
        for name, value in members.items():
            inner = (*path, name)
            field = self._fields.get(inner) or self._admit(inner)
            if field is not None:
                field.take(value, at)
            if type(value) is dict and len(inner) < MAX_DEPTH:
                self._look_inside(inner, value, at)

    def _admit(self, key: Key) -> _Field | None:
        """Return the counts of a field that there are none of yet; None when it isn't to be kept."""
        path = _path(key)
        if not _is_keepable(path) or (self._limit is not None and _rank(path) > self._limit):
            self.left_out.add(_mark(path))
            return None
        field = self._fields[key] = _Field()
        self._let_go(MAX_TRACKED_FIELDS)
        return field

    def _let_go(self, most: int) -> None:
        """When there are more fields than that, keep the first 500."""
        if len(self._fields) > most:
            ranked = sorted((_rank(path), key) for key in self._fields for path in (_path(key),))
            for (_, _, path), key in ranked[MAX_FIELDS:]:
                del self._fields[key]
                self.left_out.add(_mark(path))
            self._limit = ranked[MAX_FIELDS - 1][0]

    def _kept(self) -> Iterator[tuple[Path, _Field]]:
        self._let_go(MAX_FIELDS)
        for (_, _, path), key in sorted((_rank(_path(key)), key) for key in self._fields):
            yield path, self._fields[key]


def merge(one: FieldStats, other: FieldStats) -> FieldStats:
    """Return what is known of the messages of both."""
    merged = FieldStats()
    merged.take_in(one)
    merged.take_in(other)
    return merged


def _path(key: Key) -> Path:
    return (key,) if isinstance(key, str) else key


def _key(path: list[str]) -> Key:
    return path[0] if len(path) == 1 else tuple(path)


def _rank(path: Path) -> tuple[int, int, Path]:
    return len(path), sum(map(len, path)), path


def _is_keepable(path: Path) -> bool:
    name = ".".join(path)
    if len(name) > MAX_NAME_CHARACTERS:
        return False
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True


def _mark(path: Path) -> int:
    return mark_of("\0".join(path))


def _either(value: float | None, without: float) -> float:
    return without if value is None else value
