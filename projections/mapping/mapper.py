"""Map messages to identities and attributes: the hot path of the lanes. One mapper per mapping maps every message.

No message raises an error: invalid values are counted as faults, and the rest of the message is mapped.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

from projections.identities.blocked_values import MARKS
from projections.identities.normal_form import EXACT, TEXT
from projections.identities.value_rules import BLOCKED, ValueRules
from projections.mapping.budget import MAX_WORK, Budget, TooCostlyError
from projections.mapping.converters import (
    INEXACT,
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
from projections.mapping.numbers import as_integer, is_inexact
from projections.profiles.partitioning import RANK_CHARACTERS
from schemas.timestamps.formats import timestamp_parser

JsonMessage = dict[str, Any]
Mapped = tuple[str, tuple[str, ...], int, list[Any]]  # ranked key, linked keys, microseconds since 1970, values
Faults = dict[tuple[str, str], list[Any]]  # (part of the mapping, code) -> [count, first example, index of its message]
BlockedCounts = dict[tuple[str, str], int]  # (kind, folded value) -> count
Identify = Callable[[Any], str | None]  # a value other than None -> ranked key

MAX_KEY_BYTES: Final = 512  # of `kind:value`
SAFE_KEY_CHARACTERS: Final = MAX_KEY_BYTES // 4  # a key of this length fits in any case
MAX_VALUE_CHARACTERS: Final = 4 * MAX_KEY_BYTES  # of an identity, before it gets its normal form
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
    mapping has only a few codes, so `faults` stays small. `blocked` counts the blocked identities since
    `drain_blocked`, by the values in the rules. All expressions share the budget of a message, identities first, then
    attributes in their order.
    """

    __slots__ = (
        "_budget",
        "_computed",
        "_fields",
        "_identity_expressions",
        "_identity_fields",
        "_index",
        "_json_faults",
        "_pattern",
        "_when",
        "blocked",
        "columnar",
        "columns",
        "faults",
        "stream",
    )

    def __init__(self, stream: str, mapping: MappingRules, identity: IdentityRules) -> None:
        self.stream = stream
        self.columns = tuple(attribute.register for attribute in mapping.attributes)
        self.faults: Faults = {}
        self.blocked: BlockedCounts = {}
        self._index = -1
        self._budget = Budget()
        self._json_faults = JsonFaults()
        kinds = {kind.kind: kind for kind in identity.kinds}
        self._identity_fields: list[tuple[str, Identify]] = []
        self._identity_expressions: list[tuple[Evaluate, Identify]] = []
        for rule in mapping.identities:
            if rule.kind in kinds:
                kind = kinds[rule.kind]
                self._add_identity(rule, kind.rank, identity.value_rules(kind))
        self._when = None if mapping.timestamp is None else self._timestamp_source(mapping.timestamp)
        self._pattern: list[Any] = [None] * len(self.columns)
        self._fields: list[tuple[int, str, ValueConverter]] = []
        self._computed: list[tuple[int, Evaluate, ValueConverter]] = []
        parse_timestamp = timestamp_parser(("auto",), mapping.timestamp.zone if mapping.timestamp else UTC)
        for index, attribute in enumerate(mapping.attributes):
            report = self._reporter(f"attribute {attribute.name}")
            convert = converter(attribute.merge, attribute.type, parse_timestamp, report, self._json_faults)
            self._add_column(index, attribute, convert, report)
        self.columnar = self._columnar_mapping(mapping)

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
        keys = self._keys(message)
        if not keys:
            return None
        get = message.get
        values = self._pattern.copy()
        for index, name, convert in self._fields:
            value = get(name)
            if value is not None:
                values[index] = convert(value)
        for index, evaluate, convert in self._computed:
            value = evaluate(message, budget)
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

    def _keys(self, message: JsonMessage) -> list[str]:
        """Return the ranked keys of a message, without order."""
        keys = []
        for name, identify in self._identity_fields:
            value = message.get(name)
            if value is not None:
                key = identify(value)
                if key is not None:
                    keys.append(key)
        for evaluate, identify in self._identity_expressions:
            value = evaluate(message, self._budget)
            if value is not None and (key := identify(value)) is not None:
                keys.append(key)
        return keys

    def drain_faults(self) -> Faults:
        """Return and reset the faults."""
        faults, self.faults, self._index = self.faults, {}, -1
        return faults

    def drain_blocked(self) -> BlockedCounts:
        """Return and reset the counts of blocked identities."""
        blocked, self.blocked = self.blocked, {}
        return blocked

    def _reporter(self, part: str) -> Report:
        def report(value: Any, code: str) -> None:
            fault = self.faults.get((part, code))
            if fault is None:
                self.faults[part, code] = [1, format_example(value), self._index]
            else:
                fault[0] += 1

        return report

    def _columnar_mapping(self, mapping: MappingRules) -> ColumnarMapping | None:
        """Return the mapping for columns; None if a part needs the whole message or stores raw JSON."""
        has_json = any(attribute.type == "json" for attribute in mapping.attributes)
        if self._computed or self._identity_expressions or has_json:
            return None
        return ColumnarMapping(self._identity_fields, self._when, self._fields, self._pattern)

    def _timestamp_source(self, timestamp: TimestampRule) -> tuple[str, ValueConverter]:
        parse = timestamp_parser(timestamp.formats, timestamp.zone)
        return timestamp.field, timestamp_converter(parse, self._reporter("timestamp"))

    def _add_column(self, index: int, attribute: AttributeRule, convert: ValueConverter, report: Report) -> None:
        source = attribute.source
        match source:
            case Field(name):
                self._fields.append((index, name, convert))
            case Expression(evaluate=evaluate):
                self._computed.append((index, _reported(evaluate, report), convert))
            case Constant(value):
                self._pattern[index] = convert(value)
            case None:
                self._pattern[index] = 1
            case _:
                assert_never(source)

    def _add_identity(self, identity: IdentityRule, rank: int, values: ValueRules) -> None:
        source, report = identity.source, self._reporter(identity_part(identity.kind))
        identify = self._identifier(identity.kind, rank, values, report)
        if isinstance(source, Field):
            self._identity_fields.append((source.name, identify))
        else:
            self._identity_expressions.append((_reported(source.evaluate, report), identify))

    def _identifier(self, kind: str, rank: int, values: ValueRules, report: Report) -> Identify:
        """Return the function that returns the ranked key of a value; None for a value that is no identity."""
        prefix = f"{rank:02d}:{kind}:"
        normal = self._normalizer(kind, values, report)
        lengths, blocked = values.blocked.lengths, values.blocked.values
        marks = MARKS if blocked else frozenset[str]()
        has_form = values.form not in {EXACT, TEXT}

        def identify(value: Any) -> Any:
            text = value.strip() if type(value) is str else _decimal(value)
            if not text:
                return None if text == "" else report(value, INEXACT if is_inexact(value) else WRONG_TYPE)
            is_plain = text.isascii() and text.isprintable()
            if (
                (len(text) in lengths and text.lower() in blocked)  # the common case needs no call
                or text[0] in marks
                or not is_plain
                or has_form
            ):
                text = normal(text)
                if text is None:
                    return None
            key = prefix + text
            if len(key) > SAFE_KEY_CHARACTERS or not is_plain:
                fault = text_fault(key, MAX_KEY_BYTES + RANK_CHARACTERS)
                if fault:
                    return report(value, IDENTITY_TOO_LONG if fault == TOO_LONG else fault)
            return key

        return identify

    def _normalizer(self, kind: str, values: ValueRules, report: Report) -> Callable[[str], str | None]:
        """Return the function that gives a value its normal form; None for a value that is no identity."""

        def normal(text: str) -> Any:
            if len(text) > MAX_VALUE_CHARACTERS:
                return text
            value, fault = values.read(text)
            if fault == BLOCKED:
                self.blocked[kind, value] = self.blocked.get((kind, value), 0) + 1
                return None
            return report(text, fault) if fault else value or None

        return normal


def make_mapper(stream: str, mapping: MappingRules, identity: IdentityRules) -> Mapper:
    """Return the mapper of a stream. Identities of undefined kinds are ignored."""
    return Mapper(stream, mapping, identity)


def identity_part(kind: str) -> str:
    """Return the part of a mapping that reads a kind, as in faults."""
    return f"identity {kind}"


def _reported(evaluate: Evaluate, report: Report) -> Evaluate:
    """Return an expression whose faults are reported. With an inexact number it may still have a value: `coalesce`."""

    def reported(message: JsonMessage, budget: Budget) -> Any:
        try:
            value = evaluate(message, budget)
        except TooCostlyError as error:
            value = report(error.text, TOO_COSTLY)
        if budget.inexact is not None:
            report(budget.inexact, INEXACT)
            budget.inexact = None
        return value

    return reported


def _decimal(value: Any) -> str | None:
    """Return an integer as decimal text; one that exceeds the key length as a text that exceeds it, too.

    7.0 is the same JSON number as 7, and as an identity.
    """
    if type(value) is float:
        value = None if is_inexact(value) else as_integer(value)
    if type(value) is not int:
        return None
    return str(value) if value.bit_length() <= MAX_KEY_BYTES * 4 else "9" * MAX_KEY_BYTES
