"""The hot path of the lanes: one message to what it says of a person. Made once for a mapping, called for each message.

Nothing here raises, whatever the message; what is wrong with it is counted, and the rest of it is taken.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

from projections.mapping.converters import (
    TOO_LONG,
    WRONG_TYPE,
    Convert,
    Report,
    converter,
    moment_converter,
    shown,
    text_fault,
)
from projections.mapping.expression import Expression
from projections.mapping.expression_functions import Evaluate
from projections.mapping.mapping import (
    UTC,
    AttributeRule,
    Constant,
    Field,
    IdentityRule,
    IdentityRules,
    MappingRules,
    TimestampRule,
)
from projections.profiles.partitioning import RANK_CHARACTERS
from schemas.timestamps import timestamp_parser

Message = dict[str, Any]
Mapped = tuple[str, tuple[str, ...], int, list[Any]]  # ranked key, the other ones, microseconds since 1970, values
Faults = dict[tuple[str, str], list[Any]]  # (part of the mapping, code): [count, first example, index of its message]
Identify = Callable[[Message], str | None]

MAX_KEY_BYTES: Final = 512  # of `kind:value`
SHORT_KEY: Final = MAX_KEY_BYTES // 4  # characters that are within the bound, whatever they are
IDENTITY_TOO_LONG: Final = "identity_too_long"


@dataclass(frozen=True, slots=True)
class ColumnarMapping:
    """A mapping that takes each value from one field alone, part by part, so that columns can be mapped by it.

    A part gives for a value what it gives for every message with it; None stands for nothing.
    """

    identities: Sequence[tuple[str, Callable[[Any], str | None]]]  # field, value → ranked key
    when: tuple[str, Convert] | None
    fields: Sequence[tuple[int, str, Convert]]  # place among the columns, field
    constants: Sequence[Any]  # by place; None where there is a field

    @property
    def names(self) -> frozenset[str]:
        """Return the fields that it looks at."""
        return frozenset(name for name, _ in self._parts())

    def readers(self, name: str) -> Iterator[Convert]:
        """Yield what looks at a field."""
        return (convert for field, convert in self._parts() if field == name)

    def _parts(self) -> Iterator[tuple[str, Convert]]:
        yield from self.identities
        yield from ((name, convert) for _, name, convert in self.fields)
        if self.when:
            yield self.when


class Mapper:
    """Maps the messages of a stream. `columns` are the cells' names, in the order of the values.

    `faults` counts what was wrong since `take_faults`, which numbers messages from 0 again. There are at most a few
    codes for each part of a mapping, so they don't grow.
    """

    __slots__ = (
        "_computed",
        "_fields",
        "_identities",
        "_index",
        "_pattern",
        "_when",
        "columns",
        "faults",
        "plain",
        "stream",
    )

    def __init__(self, stream: str, mapping: MappingRules, identity: IdentityRules) -> None:
        self.stream = stream
        self.columns = tuple(each.cell for each in mapping.attributes)
        self.faults: Faults = {}
        self._index = -1
        ranks = identity.ranks()
        self._identities = tuple(
            self._identify(each, ranks[each.kind]) for each in mapping.identities if each.kind in ranks
        )
        self._when = None if mapping.timestamp is None else self._dated(mapping.timestamp)
        self._pattern: list[Any] = [None] * len(self.columns)
        self._fields: list[tuple[int, str, Convert]] = []
        self._computed: list[tuple[int, Evaluate, Convert]] = []
        text_moment = timestamp_parser(("auto",), mapping.timestamp.zone if mapping.timestamp else UTC)
        for place, each in enumerate(mapping.attributes):
            report = self._reporter(f"attribute {each.name}")
            self._place(place, each, converter(each.merge, each.type, text_moment, report))
        self.plain = self._plainly(mapping, ranks)

    def map(self, message: Message, timestamp: int) -> Mapped | None:
        """Return what a message says; None when it names nobody.

        `timestamp` (microseconds since 1970 UTC) is when it happened, unless the message says it where the mapping
        looks for it.
        """
        self._index += 1
        keys = [key for identify in self._identities if (key := identify(message)) is not None]
        if not keys:
            return None
        values = self._pattern.copy()
        get = message.get
        for place, name, convert in self._fields:
            value = get(name)
            if value is not None:
                values[place] = convert(value)
        for place, evaluate, convert in self._computed:
            value = evaluate(message)
            if value is not None:
                values[place] = convert(value)
        if self._when is not None:
            name, convert = self._when
            value = get(name)
            if value is not None:
                stamp = convert(value)
                timestamp = timestamp if stamp is None else stamp
        if len(keys) == 1:
            return keys[0], (), timestamp, values
        key, *links = sorted(set(keys))
        return key, tuple(links), timestamp, values

    def take_faults(self) -> Faults:
        """Return the faults since the last time, and begin anew."""
        taken, self.faults, self._index = self.faults, {}, -1
        return taken

    def _reporter(self, what: str) -> Report:
        def report(value: Any, code: str) -> None:
            known = self.faults.get((what, code))
            if known is None:
                self.faults[what, code] = [1, shown(value), self._index]
            else:
                known[0] += 1

        return report

    def _plainly(self, mapping: MappingRules, ranks: Mapping[str, int]) -> ColumnarMapping | None:
        """Return the mapping part by part; None when a part needs a whole message, or keeps a value just as it is."""
        sources = [each.source for each in mapping.identities if each.kind in ranks]
        names = [each.name for each in sources if isinstance(each, Field)]
        if self._computed or len(names) < len(sources) or any(each.type == "json" for each in mapping.attributes):
            return None
        parts = [
            (name, lambda value, identify=identify, name=name: identify({name: value}))
            for name, identify in zip(names, self._identities, strict=True)
        ]
        return ColumnarMapping(parts, self._when, self._fields, self._pattern)

    def _dated(self, timestamp: TimestampRule) -> tuple[str, Convert]:
        read = timestamp_parser(timestamp.formats, timestamp.zone)
        return timestamp.field, moment_converter(read, self._reporter("timestamp"))

    def _place(self, place: int, attribute: AttributeRule, convert: Convert) -> None:
        source = attribute.source
        match source:
            case Field(name):
                self._fields.append((place, name, convert))
            case Expression(evaluate=evaluate):
                self._computed.append((place, evaluate, convert))
            case Constant(value):
                self._pattern[place] = convert(value)
            case None:
                self._pattern[place] = 1
            case _:
                assert_never(source)

    def _identify(self, identity: IdentityRule, rank: int) -> Identify:
        read, report = _reader(identity.source), self._reporter(f"identity {identity.kind}")
        prefix = f"{rank:02d}:{identity.kind}:"

        def identify(message: Message) -> Any:
            value = read(message)
            if value is None:
                return None
            text = value.strip() if type(value) is str else _decimal(value)
            if not text:
                return None if text == "" else report(value, WRONG_TYPE)
            key = prefix + text
            if len(key) > SHORT_KEY or not text.isprintable():
                fault = text_fault(key, MAX_KEY_BYTES + RANK_CHARACTERS)
                if fault:
                    return report(value, IDENTITY_TOO_LONG if fault == TOO_LONG else fault)
            return key

        return identify


def make_mapper(stream: str, mapping: MappingRules, identity: IdentityRules) -> Mapper:
    """Return what maps the messages of a stream. An identity of a kind that there isn't names nobody."""
    return Mapper(stream, mapping, identity)


def _reader(source: Field | Expression) -> Evaluate:
    if isinstance(source, Expression):
        return source.evaluate
    name = source.name
    return lambda message: message.get(name)


def _decimal(value: Any) -> str | None:
    """Return an integer as decimal text; one with more digits than a key may have is as long as it can be told."""
    if type(value) is not int:
        return None
    return str(value) if value.bit_length() <= MAX_KEY_BYTES * 4 else "9" * MAX_KEY_BYTES
