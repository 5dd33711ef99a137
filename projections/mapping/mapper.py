"""Map messages to identities and attributes: the hot path of the lanes. One mapper per mapping maps every message.

No message raises an error: invalid values are counted as faults, and the rest of the message is mapped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

from projections.mapping.budget import MAX_WORK, Budget, TooCostlyError
from projections.mapping.converters import (
    TOO_LONG,
    WRONG_TYPE,
    JsonFaults,
    Report,
    ValueConverter,
    converter,
    format_example,
    text_fault,
    timestamp_converter,
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
from schemas.timestamps.formats import timestamp_parser

JsonMessage = dict[str, Any]
Mapped = tuple[str, tuple[str, ...], int, list[Any]]  # ranked key, linked keys, microseconds since 1970, values
Faults = dict[tuple[str, str], list[Any]]  # (part of the mapping, code) -> [count, first example, index of its message]
Identify = Callable[[JsonMessage], str | None]

MAX_KEY_BYTES: Final = 512  # of `kind:value`
SAFE_KEY_CHARACTERS: Final = MAX_KEY_BYTES // 4  # a key of this length fits in any case
IDENTITY_TOO_LONG: Final = "identity_too_long"
TOO_COSTLY: Final = "too_costly"  # the value is the text that exceeded the budget


@dataclass(frozen=True, slots=True)
class ColumnarMapping:
    """A mapping that reads every value from a single top-level field, so that it can be applied to columns.

    A converter returns the same result for every message with the same value; None means absent.
    """

    identities: Sequence[tuple[str, Callable[[Any], str | None]]]  # field, value → ranked key
    when: tuple[str, ValueConverter] | None
    fields: Sequence[tuple[int, str, ValueConverter]]  # column index, field
    constants: Sequence[Any]  # by column index; None for a field

    @property
    def names(self) -> frozenset[str]:
        """Return the fields that the mapping reads."""
        return frozenset(name for name, _ in self._parts())

    def converters(self, name: str) -> Iterator[ValueConverter]:
        """Return the converters of a field."""
        return (convert for field, convert in self._parts() if field == name)

    def _parts(self) -> Iterator[tuple[str, ValueConverter]]:
        yield from self.identities
        yield from ((name, convert) for _, name, convert in self.fields)
        if self.when:
            yield self.when


class Mapper:
    """Maps the messages of a stream. `columns` are the names of the registers, in the order of the values.

    `faults` counts the faults since `drain_faults`, which restarts the numbering of messages at 0. Each part of a
    mapping has only a few codes, so `faults` stays small. All expressions share the budget of a message, identities
    first, then attributes in their order.
    """

    __slots__ = (
        "_budget",
        "_computed",
        "_fields",
        "_identities",
        "_index",
        "_json_faults",
        "_pattern",
        "_when",
        "columnar",
        "columns",
        "faults",
        "stream",
    )

    def __init__(self, stream: str, mapping: MappingRules, identity: IdentityRules) -> None:
        self.stream = stream
        self.columns = tuple(attribute.register for attribute in mapping.attributes)
        self.faults: Faults = {}
        self._index = -1
        self._budget = Budget()
        self._json_faults = JsonFaults()
        ranks = identity.ranks()
        self._identities = tuple(
            self._identify(rule, ranks[rule.kind]) for rule in mapping.identities if rule.kind in ranks
        )
        self._when = None if mapping.timestamp is None else self._timestamp_source(mapping.timestamp)
        self._pattern: list[Any] = [None] * len(self.columns)
        self._fields: list[tuple[int, str, ValueConverter]] = []
        self._computed: list[tuple[int, Evaluate, ValueConverter, Report]] = []
        parse_timestamp = timestamp_parser(("auto",), mapping.timestamp.zone if mapping.timestamp else UTC)
        for index, attribute in enumerate(mapping.attributes):
            report = self._reporter(f"attribute {attribute.name}")
            convert = converter(attribute.merge, attribute.type, parse_timestamp, report, self._json_faults)
            self._add_column(index, attribute, convert, report)
        self.columnar = self._columnar_mapping(mapping, ranks)

    @property
    def position(self) -> int:
        """The number of the current message since `drain_faults`."""
        return self._index

    def map(self, message: JsonMessage, timestamp: int) -> Mapped | None:
        """Map a message; None if it has no identity.

        `timestamp` (microseconds since 1970 UTC) is the default event time, used if the mapping finds none in the
        message.
        """
        self._index += 1
        budget = self._budget
        budget.left = MAX_WORK
        self._json_faults.clear()
        keys = [key for identify in self._identities if (key := identify(message)) is not None]
        if not keys:
            return None
        values = self._pattern.copy()
        get = message.get
        for index, name, convert in self._fields:
            value = get(name)
            if value is not None:
                values[index] = convert(value)
        for index, evaluate, convert, report in self._computed:
            try:
                value = evaluate(message, budget)
            except TooCostlyError as error:
                value = report(error.text, TOO_COSTLY)
            if value is not None:
                values[index] = convert(value)
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

    def drain_faults(self) -> Faults:
        """Return and reset the faults."""
        faults, self.faults, self._index = self.faults, {}, -1
        return faults

    def _reporter(self, part: str) -> Report:
        def report(value: Any, code: str) -> None:
            fault = self.faults.get((part, code))
            if fault is None:
                self.faults[part, code] = [1, format_example(value), self._index]
            else:
                fault[0] += 1

        return report

    def _columnar_mapping(self, mapping: MappingRules, ranks: Mapping[str, int]) -> ColumnarMapping | None:
        """Return the mapping for columns; None if a part needs the whole message or stores raw JSON."""
        sources = [rule.source for rule in mapping.identities if rule.kind in ranks]
        names = [source.name for source in sources if isinstance(source, Field)]
        has_json = any(attribute.type == "json" for attribute in mapping.attributes)
        if self._computed or len(names) < len(sources) or has_json:
            return None
        identities = [
            (name, lambda value, identify=identify, name=name: identify({name: value}))
            for name, identify in zip(names, self._identities, strict=True)
        ]
        return ColumnarMapping(identities, self._when, self._fields, self._pattern)

    def _timestamp_source(self, timestamp: TimestampRule) -> tuple[str, ValueConverter]:
        parse = timestamp_parser(timestamp.formats, timestamp.zone)
        return timestamp.field, timestamp_converter(parse, self._reporter("timestamp"))

    def _add_column(self, index: int, attribute: AttributeRule, convert: ValueConverter, report: Report) -> None:
        source = attribute.source
        match source:
            case Field(name):
                self._fields.append((index, name, convert))
            case Expression(evaluate=evaluate):
                self._computed.append((index, evaluate, convert, report))
            case Constant(value):
                self._pattern[index] = convert(value)
            case None:
                self._pattern[index] = 1
            case _:
                assert_never(source)

    def _identify(self, identity: IdentityRule, rank: int) -> Identify:
        read, report = _reader(identity.source), self._reporter(f"identity {identity.kind}")
        budget = self._budget
        prefix = f"{rank:02d}:{identity.kind}:"

        def identify(message: JsonMessage) -> Any:
            try:
                value = read(message, budget)
            except TooCostlyError as error:
                return report(error.text, TOO_COSTLY)
            if value is None:
                return None
            text = value.strip() if type(value) is str else _decimal(value)
            if not text:
                return None if text == "" else report(value, WRONG_TYPE)
            key = prefix + text
            if len(key) > SAFE_KEY_CHARACTERS or not text.isprintable():
                fault = text_fault(key, MAX_KEY_BYTES + RANK_CHARACTERS)
                if fault:
                    return report(value, IDENTITY_TOO_LONG if fault == TOO_LONG else fault)
            return key

        return identify


def make_mapper(stream: str, mapping: MappingRules, identity: IdentityRules) -> Mapper:
    """Return the mapper of a stream. Identities of undefined kinds are ignored."""
    return Mapper(stream, mapping, identity)


def _reader(source: Field | Expression) -> Evaluate:
    if isinstance(source, Expression):
        return source.evaluate
    name = source.name
    return lambda message, _budget: message.get(name)


def _decimal(value: Any) -> str | None:
    """Return an integer as decimal text; one that exceeds the key length as a text that exceeds it, too."""
    if type(value) is not int:
        return None
    return str(value) if value.bit_length() <= MAX_KEY_BYTES * 4 else "9" * MAX_KEY_BYTES
