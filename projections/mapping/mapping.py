"""Mapping rules and identity rules, parsed and validated from JSON bodies.

A mapping defines the identities and attributes of one stream. Identity rules define the kinds of identities and their
priority. `mapper` applies them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from projections.identities.normal_form import EXACT, FORMATS, PHONE
from projections.identities.phone_numbers import REGIONS
from projections.identities.value_rules import ValueRules
from projections.mapping.body_parser import InvalidRulesError, JsonNode, field_refused
from projections.mapping.converters import JsonFaults, converter, format_example
from projections.mapping.expression import MAX_CHARACTERS, Expression, InvalidExpressionError, compile_expression
from projections.profiles.fan_in import MIN_FAN_IN
from projections.time_zones import zone
from schemas.coded import Params
from schemas.definitions import FieldRefused
from schemas.json_values import json_pointer
from schemas.names import is_safe_line
from schemas.timestamps.formats import NAMED_FORMATS, is_timestamp_format, timestamp_parser

MAX_IDENTITIES: Final = 8
MAX_ATTRIBUTES: Final = 500
MAX_NAME_CHARACTERS: Final = 100
MAX_FORMATS: Final = 10  # of one timestamp
MAX_FORMAT_CHARACTERS: Final = 100
MAX_KINDS: Final = 100
MAX_RANK: Final = 99
MAX_IDENTITIES_LIMIT: Final = 10_000  # of one profile
DEFAULT_IDENTITIES: Final = 1_000
MAX_BLOCKED_VALUES: Final = 1_000  # of all kinds, or of one
MAX_BLOCKED_CHARACTERS: Final = 512
DEFAULT_FAN_IN_LIMIT: Final = 50

ORDERED_TYPES: Final = ("string", "integer", "number", "timestamp")
TYPES: Final = (*ORDERED_TYPES, "boolean", "json")
TYPES_BY_MERGE: Final = MappingProxyType(
    {
        "latest": TYPES,
        "first": TYPES,
        "min": ORDERED_TYPES,
        "max": ORDERED_TYPES,
        "union": (*ORDERED_TYPES, "boolean"),
        "count": ("integer",),
        "sum": ("integer", "number"),
    }
)
UTC: Final = zone("UTC")
_KIND: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


@dataclass(frozen=True, slots=True)
class Field:
    """A top-level member of the message, by its exact name. Expressions read nested members."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant value."""

    value: Any


@dataclass(frozen=True, slots=True)
class IdentityRule:
    """An identity key: its source and its kind."""

    source: Field | Expression
    kind: str


@dataclass(frozen=True, slots=True)
class AttributeRule:
    """An attribute: its source, type and merge rule. Without a source every message is counted."""

    name: str
    merge: str  # a key of `TYPES_BY_MERGE`
    type: str  # one of `TYPES`
    source: Field | Expression | Constant | None

    @property
    def register(self) -> str:
        """The name of the register that stores the attribute: `merge:name`."""
        return f"{self.merge}:{self.name}"


@dataclass(frozen=True, slots=True)
class TimestampRule:
    """The field of the event time, and its formats. All timestamps of the stream without an offset are in `zone`."""

    field: str
    formats: tuple[str, ...]
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class MappingRules:
    """A valid mapping."""

    identities: tuple[IdentityRule, ...]
    attributes: tuple[AttributeRule, ...]
    timestamp: TimestampRule | None = None


@dataclass(frozen=True, slots=True)
class IdentityKind:
    """A kind of identity. In a message with several identities, the lowest rank takes precedence.

    `format` is one of `FORMATS`; `region` is that of phone numbers without a country code. An identity that links more
    than `fan_in_limit` others is reported.
    """

    kind: str
    rank: int
    title: str
    format: str = EXACT
    region: str = ""
    blocked_values: tuple[str, ...] = ()
    fan_in_limit: int = DEFAULT_FAN_IN_LIMIT


@dataclass(frozen=True, slots=True)
class IdentityRules:
    """Valid identity rules. `blocked_values` are blocked in all kinds."""

    kinds: tuple[IdentityKind, ...]
    max_identities: int = DEFAULT_IDENTITIES
    blocked_values: tuple[str, ...] = ()

    def ranks(self) -> Mapping[str, int]:
        """Return the rank of each kind."""
        return {kind.kind: kind.rank for kind in self.kinds}

    def value_rules(self, kind: IdentityKind) -> ValueRules:
        """Return the rules for the values of a kind."""
        return ValueRules(kind.format, kind.region, (*self.blocked_values, *kind.blocked_values))


NO_IDENTITY: Final = IdentityRules(())  # until identity rules are applied


def parse_mapping(body: Any) -> MappingRules:
    """Parse the JSON body of a mapping.

    Raises:
        InvalidRulesError: the body is invalid.

    """
    problems: list[FieldRefused] = []
    root = JsonNode(body, "", problems)
    root.check_members(("identities", "attributes", "timestamp"))
    timestamp = _timestamp(root.member("timestamp"))
    identities = tuple(_identity(node) for node in root.member("identities").items(1, MAX_IDENTITIES))
    nodes = root.member("attributes", []).items(0, MAX_ATTRIBUTES)
    attributes = tuple(_attribute(node, timestamp.zone if timestamp else UTC) for node in nodes)
    _check_unique([node.member("name") for node in nodes])
    _raise_problems(problems)
    return MappingRules(identities, attributes, timestamp)


def parse_identity(body: Any) -> IdentityRules:
    """Parse the JSON body of identity rules.

    Raises:
        InvalidRulesError: the body is invalid.

    """
    problems: list[FieldRefused] = []
    root = JsonNode(body, "", problems)
    root.check_members(("kinds", "max_identities", "blocked_values"))
    nodes = root.member("kinds").items(1, MAX_KINDS)
    kinds = tuple(_kind(node) for node in nodes)
    _check_unique([node.member("kind") for node in nodes])
    max_identities = root.member("max_identities", DEFAULT_IDENTITIES).integer(1, MAX_IDENTITIES_LIMIT)
    blocked_values = _blocked_values(root)
    _raise_problems(problems)
    return IdentityRules(kinds, max_identities, blocked_values)


def identity_body(rules: IdentityRules) -> dict[str, Any]:
    """Return the JSON body of identity rules."""
    return {
        "kinds": [_kind_body(kind) for kind in rules.kinds],
        "max_identities": rules.max_identities,
        "blocked_values": list(rules.blocked_values),
    }


def _kind_body(kind: IdentityKind) -> dict[str, Any]:
    """Return the JSON body of a kind, without defaults other than its format."""
    body = {"kind": kind.kind, "rank": kind.rank, "title": kind.title, "format": kind.format}
    if kind.region:
        body["region"] = kind.region
    if kind.blocked_values:
        body["blocked_values"] = list(kind.blocked_values)
    if kind.fan_in_limit != DEFAULT_FAN_IN_LIMIT:
        body["fan_in_limit"] = kind.fan_in_limit
    return body


def check_rules(mappings: Mapping[str, MappingRules], identity: IdentityRules) -> None:
    """Check that the mappings of all streams are consistent with each other and with the identity rules.

    Raises:
        InvalidRulesError: they are inconsistent; pointers start with the stream.

    """
    ranks = identity.ranks()
    problems: list[FieldRefused] = []
    declared: dict[str, tuple[str, str]] = {}  # by attribute: merge/type, and the first stream that declares it
    for stream, mapping in sorted(mappings.items()):
        prefix = json_pointer(stream)
        for index, identity_rule in enumerate(mapping.identities):
            if identity_rule.kind not in ranks:
                unknown: Params = {"kind": identity_rule.kind, "kinds": tuple(sorted(ranks))}
                problems.append(field_refused(f"{prefix}/identities/{index}/kind", "unknown_identity_kind", unknown))
        for index, attribute in enumerate(mapping.attributes):
            form = f"{attribute.merge}/{attribute.type}"
            other, first = declared.setdefault(attribute.name, (form, stream))
            if form != other:
                conflict: Params = {"form": form, "stream": stream, "other_form": other, "other_stream": first}
                params = {"attribute": attribute.name, **conflict}
                problems.append(field_refused(f"{prefix}/attributes/{index}", "attribute_conflict", params))
    _raise_problems(problems)


def _raise_problems(problems: list[FieldRefused]) -> None:
    if problems:
        raise InvalidRulesError(tuple(problems))


def _check_unique(names: Iterable[JsonNode]) -> None:
    seen = set()
    for name in names:
        if isinstance(name.value, str) and name.value in seen:
            name.refuse("duplicate_name", {"name": name.value})
        elif isinstance(name.value, str):
            seen.add(name.value)


def _identity(node: JsonNode) -> IdentityRule:
    node.check_members(("field", "expr", "kind"))
    source = _source(node, _select_option(node, ("field", "expr"), required=True))
    return IdentityRule(source, _kind_name(node.member("kind")))


def _kind_name(node: JsonNode) -> str:
    name = node.text()
    if name and not _KIND.fullmatch(name):
        node.refuse("bad_kind_name", {"name": name})
    return name


def _kind(node: JsonNode) -> IdentityKind:
    node.check_members(("kind", "rank", "title", "format", "region", "blocked_values", "fan_in_limit"))
    name = _kind_name(node.member("kind"))
    title = node.member("title", name or "-").text(MAX_NAME_CHARACTERS)
    if not is_safe_line(title):
        node.member("title").refuse("bad_kind_title", {"title": title})
    value_format, region = node.member("format", EXACT).choice(FORMATS), node.member("region")
    if region.value is not None:
        if region.value not in REGIONS:
            region.refuse("unknown_region", {"region": format_example(region.value)})
        if value_format != PHONE:
            region.refuse("region_without_phone", {"format": value_format})
    return IdentityKind(
        kind=name,
        rank=node.member("rank").integer(0, MAX_RANK),
        title=title,
        format=value_format,
        region=region.value or "",
        blocked_values=_blocked_values(node),
        fan_in_limit=node.member("fan_in_limit", DEFAULT_FAN_IN_LIMIT).integer(MIN_FAN_IN, MAX_IDENTITIES_LIMIT),
    )


def _blocked_values(node: JsonNode) -> tuple[str, ...]:
    values = node.member("blocked_values", [])
    return tuple(value.text(MAX_BLOCKED_CHARACTERS) for value in values.items(0, MAX_BLOCKED_VALUES))


def _attribute(node: JsonNode, zone_info: ZoneInfo) -> AttributeRule:
    node.check_members(("name", "field", "expr", "constant", "type", "merge"))
    name = node.member("name").text(MAX_NAME_CHARACTERS)
    if not name.isprintable() or name != name.strip():
        node.member("name").refuse("bad_attribute_name", {"name": name})
    merge = node.member("merge").choice(TYPES_BY_MERGE)
    value_type = node.member("type", "integer" if merge == "count" else None).choice(TYPES_BY_MERGE.get(merge, TYPES))
    option = _select_option(node, ("field", "expr", "constant"), required=merge != "count")
    if option != "constant":
        return AttributeRule(name, merge, value_type, _source(node, option) if option else None)
    constant = node.member("constant")
    if merge and value_type:
        _check_constant(constant, merge, value_type, zone_info)
    return AttributeRule(name, merge, value_type, Constant(constant.value))


def _check_constant(node: JsonNode, merge: str, value_type: str, zone_info: ZoneInfo) -> None:
    faults: list[str] = []
    parse_timestamp = timestamp_parser(("auto",), zone_info)
    convert = converter(merge, value_type, parse_timestamp, lambda _, code: faults.append(code), JsonFaults())
    if convert(node.value) is None:
        fault = faults[0] if faults else "empty"
        node.refuse("bad_constant", {"value": format_example(node.value), "type": value_type, "fault": fault})


def _select_option(node: JsonNode, options: tuple[str, ...], *, required: bool) -> str:
    """Return the option that an object has; "" and a problem for several, or for none if one is required."""
    selected = [option for option in options if node.member(option).value is not None]
    if len(selected) > 1 or (required and not selected):
        node.refuse("several_sources" if selected else "no_source", {"options": options})
    return selected[0] if len(selected) == 1 else ""


def _source(node: JsonNode, option: str) -> Field | Expression:
    value = node.member(option)
    if option == "expr" and (text := value.text(MAX_CHARACTERS)):
        try:
            return compile_expression(text)
        except InvalidExpressionError as error:
            value.refuse(error.code, error.params)
    return Field(value.text() if option == "field" else "")


def _timestamp(node: JsonNode) -> TimestampRule | None:
    if node.value is None:
        return None
    node.check_members(("field", "format", "time_zone"))
    formats = [item.value for item in node.member("format", ["auto"]).items(1, MAX_FORMATS) if _is_format(item)]
    name = node.member("time_zone", "UTC")
    try:
        zone_info = zone(name.text())
    except KeyError:
        name.refuse("unknown_time_zone", {"time_zone": name.value})
        zone_info = UTC
    return TimestampRule(node.member("field").text(), tuple(formats), zone_info)


def _is_format(node: JsonNode) -> bool:
    text = node.text(MAX_FORMAT_CHARACTERS)
    if is_timestamp_format(text):
        return True
    if text:
        node.refuse("unknown_timestamp_format", {"format": text, "formats": tuple(NAMED_FORMATS)})
    return False
