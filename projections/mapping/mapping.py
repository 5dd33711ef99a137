"""What the messages of a stream say about people, as rules: parsed from the bodies that people write, or refused.

A mapping names the identities and attributes of one stream; identity rules say which kinds of identity there are and
which is the better one. `mapper` follows them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from projections.mapping.body_parser import InvalidRulesError, JsonNode
from projections.mapping.converters import converter, shown
from projections.mapping.expression import MAX_CHARACTERS, Expression, InvalidExpressionError, compile_expression
from projections.time_zones import zone
from schemas.definitions import FieldRefused
from schemas.json_pointer import json_pointer
from schemas.timestamps import NAMED_FORMATS, is_timestamp_format, timestamp_parser

MAX_IDENTITIES: Final = 8
MAX_ATTRIBUTES: Final = 500
MAX_NAME: Final = 100  # characters
MAX_FORMATS: Final = 10
MAX_FORMAT: Final = 100  # characters
MAX_KINDS: Final = 100
MAX_RANK: Final = 99
MAX_IDENTITIES_LIMIT: Final = 10_000  # of one profile
DEFAULT_IDENTITIES: Final = 1_000

ORDERED: Final = ("string", "integer", "number", "timestamp")
TYPES: Final = (*ORDERED, "boolean", "json")
TYPES_OF: Final = MappingProxyType(
    {
        "latest": TYPES,
        "first": TYPES,
        "min": ORDERED,
        "max": ORDERED,
        "union": (*ORDERED, "boolean"),
        "count": ("integer",),
        "sum": ("integer", "number"),
    }
)
UTC: Final = zone("UTC")
_KIND: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Field:
    """A member of the message by its name, exactly as it stands there; of objects inside, expressions read members."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """The same for every message."""

    value: Any


@dataclass(frozen=True, slots=True)
class IdentityRule:
    """Where an identity key comes from."""

    source: Field | Expression
    kind: str


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """Where an attribute comes from; without a source, each message counts."""

    name: str
    merge: str
    type: str
    source: Field | Expression | Constant | None

    @property
    def cell(self) -> str:
        """The name of the cell that it is kept in."""
        return f"{self.merge}:{self.name}"


@dataclass(frozen=True, slots=True)
class TimestampRule:
    """Where a message says when it happened; its zone is that of all texts in a stream that have no offset."""

    field: str
    formats: tuple[str, ...]
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class MappingRules:
    """A mapping that can be followed."""

    identities: tuple[IdentityRule, ...]
    attributes: tuple[AttributeRule, ...]
    timestamp: TimestampRule | None = None


@dataclass(frozen=True, slots=True)
class IdentityKind:
    """A kind of identity; of several in one message, the one with the lowest rank is the best."""

    kind: str
    rank: int
    title: str


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """Identity rules that can be followed."""

    kinds: tuple[IdentityKind, ...]
    max_identities: int = DEFAULT_IDENTITIES

    def ranks(self) -> Mapping[str, int]:
        """Return the rank of each kind."""
        return {each.kind: each.rank for each in self.kinds}


NO_IDENTITY: Final = IdentityRules(())  # before the first are applied


def parse_mapping(body: Any) -> MappingRules:
    """Parse the body of a mapping, as JSON has it.

    Raises:
        InvalidRulesError: it can't be followed; says all that is wrong.

    """
    problems: list[FieldRefused] = []
    whole = JsonNode(body, "", problems)
    whole.check_members(("identities", "attributes", "timestamp"))
    timestamp = _timestamp(whole.member("timestamp"))
    identities = tuple(_identity(each) for each in whole.member("identities").items(1, MAX_IDENTITIES))
    parts = whole.member("attributes", []).items(0, MAX_ATTRIBUTES)
    attributes = tuple(_attribute(each, timestamp.zone if timestamp else UTC) for each in parts)
    _check_once([each.member("name") for each in parts], "attribute")
    _raise(problems)
    return MappingRules(identities, attributes, timestamp)


def parse_identity(body: Any) -> IdentityRules:
    """Parse the body of identity rules, as JSON has it.

    Raises:
        InvalidRulesError: it can't be followed; says all that is wrong.

    """
    problems: list[FieldRefused] = []
    whole = JsonNode(body, "", problems)
    whole.check_members(("kinds", "max_identities"))
    parts = whole.member("kinds").items(1, MAX_KINDS)
    kinds = tuple(_kind(each) for each in parts)
    _check_once([each.member("kind") for each in parts], "kind")
    most = whole.member("max_identities", DEFAULT_IDENTITIES).integer(1, MAX_IDENTITIES_LIMIT)
    _raise(problems)
    return IdentityRules(kinds, most)


def check_rules(mappings: Mapping[str, MappingRules], identity: IdentityRules) -> None:
    """Make sure that the mappings of all streams go together, and with the identity rules.

    Raises:
        InvalidRulesError: they don't; pointers begin with the stream.

    """
    ranks = identity.ranks()
    problems: list[FieldRefused] = []
    known: dict[str, tuple[str, str]] = {}  # by attribute: merge/type, and the first stream that says so
    for stream, mapping in sorted(mappings.items()):
        where = json_pointer(stream)
        for index, each in enumerate(mapping.identities):
            if each.kind not in ranks:
                kinds = f"there are {', '.join(sorted(ranks))}" if ranks else "there are none yet"
                message = f"the identity rules have no kind `{each.kind}`; {kinds}"
                problems.append(FieldRefused(pointer=f"{where}/identities/{index}/kind", message=message))
        for index, attribute in enumerate(mapping.attributes):
            mine = f"{attribute.merge}/{attribute.type}"
            theirs, first = known.setdefault(attribute.name, (mine, stream))
            if mine != theirs:
                message = f"attribute `{attribute.name}` is {theirs} in stream {first} and {mine} in stream {stream}"
                problems.append(FieldRefused(pointer=f"{where}/attributes/{index}", message=message))
    _raise(problems)


def _raise(problems: list[FieldRefused]) -> None:
    if problems:
        raise InvalidRulesError(tuple(problems))


def _check_once(names: Iterable[JsonNode], what: str) -> None:
    seen = set()
    for each in names:
        if isinstance(each.value, str) and each.value in seen:
            each.refuse(f"there is a second {what} of this name")
        elif isinstance(each.value, str):
            seen.add(each.value)


def _identity(part: JsonNode) -> IdentityRule:
    part.check_members(("field", "expr", "kind"))
    source = _read(part, _given(part, ("field", "expr"), needed=True))
    return IdentityRule(source, _kind_name(part.member("kind")))


def _kind_name(part: JsonNode) -> str:
    name = part.text()
    if name and not _KIND.fullmatch(name):
        part.refuse("a kind is 1 to 32 of a-z, 0-9 and _, and begins with a letter")
    return name


def _kind(part: JsonNode) -> IdentityKind:
    part.check_members(("kind", "rank", "title"))
    name = _kind_name(part.member("kind"))
    return IdentityKind(
        name, part.member("rank").integer(0, MAX_RANK), part.member("title", name or "-").text(MAX_NAME)
    )


def _attribute(part: JsonNode, where: ZoneInfo) -> AttributeRule:
    part.check_members(("name", "field", "expr", "constant", "type", "merge"))
    name = part.member("name").text(MAX_NAME)
    if not name.isprintable() or name != name.strip():
        part.member("name").refuse("a name has printable characters only, and no space around them")
    merge = part.member("merge").choice(TYPES_OF)
    kind = part.member("type", "integer" if merge == "count" else None).choice(TYPES_OF.get(merge, TYPES))
    given = _given(part, ("field", "expr", "constant"), needed=merge != "count")
    if given != "constant":
        return AttributeRule(name, merge, kind, _read(part, given) if given else None)
    constant = part.member("constant")
    if merge and kind:
        _check_constant(constant, merge, kind, where)
    return AttributeRule(name, merge, kind, Constant(constant.value))


def _check_constant(part: JsonNode, merge: str, kind: str, where: ZoneInfo) -> None:
    faults: list[str] = []
    convert = converter(merge, kind, timestamp_parser(("auto",), where), lambda _, code: faults.append(code))
    if convert(part.value) is None:
        part.refuse(f"{shown(part.value)} can't be a value of type {kind}: {', '.join(faults) or 'it is empty'}")


def _given(part: JsonNode, options: tuple[str, ...], *, needed: bool) -> str:
    """Return which of the options an object has; empty when it has none, or a problem."""
    given = [each for each in options if part.member(each).value is not None]
    if len(given) > 1 or (needed and not given):
        part.refuse(f"{'exactly' if needed else 'at most'} one of {', '.join(options)} is needed")
    return given[0] if len(given) == 1 else ""


def _read(part: JsonNode, given: str) -> Field | Expression:
    value = part.member(given)
    if given == "expr" and (text := value.text(MAX_CHARACTERS)):
        try:
            return compile_expression(text)
        except InvalidExpressionError as error:
            value.refuse(str(error))
    return Field(value.text() if given == "field" else "")


def _timestamp(part: JsonNode) -> TimestampRule | None:
    if part.value is None:
        return None
    part.check_members(("field", "format", "time_zone"))
    formats = [each for each in part.member("format", ["auto"]).items(1, MAX_FORMATS) if _is_format(each)]
    name = part.member("time_zone", "UTC")
    try:
        where = zone(name.text())
    except KeyError:
        name.refuse(f"{shown(name.value)} is not an IANA time zone such as Europe/Berlin")
        where = UTC
    return TimestampRule(part.member("field").text(), tuple(each.value for each in formats), where)


def _is_format(part: JsonNode) -> bool:
    form = part.text(MAX_FORMAT)
    if is_timestamp_format(form):
        return True
    if form:
        part.refuse(f"{shown(form)} is none of {', '.join(NAMED_FORMATS)} and no strptime format of a date")
    return False
