"""Parsing of mappings and identity rules: valid bodies, and the message of every problem."""

from time import process_time
from typing import Any

import pytest

from projections.mapping.body_parser import InvalidRulesError
from projections.mapping.expression import compile_expression
from projections.mapping.mapping import (
    NO_IDENTITY,
    AttributeRule,
    Constant,
    Field,
    IdentityKind,
    IdentityRule,
    IdentityRules,
    MappingRules,
    check_rules,
    parse_identity,
    parse_mapping,
)

FLIGHTS: dict[str, Any] = {
    "identities": [{"field": "tailnum", "kind": "tail"}, {"expr": "lower(email)", "kind": "email"}],
    "attributes": [
        {"name": "origin", "field": "origin", "type": "string", "merge": "latest"},
        {"name": "late", "expr": "dep_delay > 15", "type": "boolean", "merge": "union"},
        {"name": "source", "constant": "flights", "type": "string", "merge": "first"},
        {"name": "flights", "merge": "count"},
        {"name": "landed", "field": "arr_time", "merge": "count", "type": "integer"},
    ],
    "timestamp": {"field": "time_hour", "format": ["%d.%m.%Y", "epoch_s"], "time_zone": "America/New_York"},
}
IDENTITY: dict[str, Any] = {
    "kinds": [{"kind": "tail", "rank": 0, "title": "Tail number"}, {"kind": "email", "rank": 1}],
    "max_identities": 500,
}
PHONE: dict[str, Any] = {"kind": "phone", "rank": 0, "format": "phone", "region": "AT"}


def problems(body: Any, parse: Any = parse_mapping) -> dict[str, str]:
    with pytest.raises(InvalidRulesError) as error:
        parse(body)
    assert len({problem.pointer for problem in error.value.problems}) == len(error.value.problems)
    return {problem.pointer: problem.code for problem in error.value.problems}


def mapping(**changed: Any) -> dict[str, Any]:
    return FLIGHTS | changed


def attribute(**changed: Any) -> dict[str, Any]:
    members = {"name": "x", "field": "x", "type": "string", "merge": "latest"} | changed
    return mapping(attributes=[{name: value for name, value in members.items() if value is not None}])


def test_a_mapping_is_parsed() -> None:
    rules = parse_mapping(FLIGHTS)
    assert rules.identities == (
        IdentityRule(Field("tailnum"), "tail"),
        IdentityRule(compile_expression("lower(email)"), "email"),
    )
    assert rules.attributes == (
        AttributeRule("origin", "latest", "string", Field("origin")),
        AttributeRule("late", "union", "boolean", compile_expression("dep_delay > 15")),
        AttributeRule("source", "first", "string", Constant("flights")),
        AttributeRule("flights", "count", "integer", None),
        AttributeRule("landed", "count", "integer", Field("arr_time")),
    )
    assert rules.timestamp
    assert rules.timestamp.formats == ("%d.%m.%Y", "epoch_s")
    assert str(rules.timestamp.zone) == "America/New_York"


def test_missing_members_have_defaults() -> None:
    assert parse_mapping({"identities": [{"field": "a", "kind": "tail"}], "timestamp": None}) == MappingRules(
        (IdentityRule(Field("a"), "tail"),), ()
    )
    timestamp = parse_mapping(mapping(timestamp={"field": "time_hour"})).timestamp
    assert timestamp
    assert (timestamp.formats, str(timestamp.zone)) == (("auto",), "UTC")


def test_identity_rules_are_parsed() -> None:
    rules = parse_identity(IDENTITY)
    assert rules == IdentityRules((IdentityKind("tail", 0, "Tail number"), IdentityKind("email", 1, "email")), 500)
    assert rules.ranks() == {"tail": 0, "email": 1}
    assert parse_identity({"kinds": IDENTITY["kinds"]}).max_identities == 1_000


def test_identity_rules_have_formats_and_blocked_values() -> None:
    kind = PHONE | {"blocked_values": ["0800 100 200"], "fan_in_limit": 10}
    rules = parse_identity({"kinds": [kind], "blocked_values": ["null"]})
    assert rules.kinds == (IdentityKind("phone", 0, "phone", "phone", "AT", ("0800 100 200",), 10),)
    values = rules.value_rules(rules.kinds[0])
    assert [values.read(text).text for text in ("0664 1234567", "NULL")] == ["+436641234567", "null"]


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (None, "", "not_an_object"),
        ([1], "", "not_an_object"),
        (mapping(extra=1), "/extra", "unknown_member"),
        (mapping(identities=[]), "/identities", "not_a_list"),
        (mapping(identities={}), "/identities", "not_a_list"),
        (mapping(identities=FLIGHTS["identities"] * 5), "/identities", "not_a_list"),
        (mapping(identities=["tail"]), "/identities/0", "not_an_object"),
        (mapping(identities=[{"kind": "tail"}]), "/identities/0", "no_source"),
        (mapping(identities=[{"field": "a", "expr": "a", "kind": "tail"}]), "/identities/0", "several_sources"),
        (mapping(identities=[{"field": "", "kind": "tail"}]), "/identities/0/field", "not_a_text"),
        (mapping(identities=[{"field": "\ud800", "kind": "a"}]), "/identities/0/field", "not_a_text"),
        (mapping(identities=[{"field": "a\0", "kind": "a"}]), "/identities/0/field", "not_a_text"),
        (mapping(identities=[{"field": "a"}]), "/identities/0/kind", "not_a_text"),
        (
            mapping(identities=[{"field": "a", "kind": "Tail"}]),
            "/identities/0/kind",
            "bad_kind_name",
        ),
        (mapping(identities=[{"field": "a", "kind": "a" * 33}]), "/identities/0/kind", "bad_kind_name"),
        (mapping(identities=[{"expr": "a +", "kind": "a"}]), "/identities/0/expr", "unexpected_token"),
        (mapping(identities=[{"expr": "a" * 2_001, "kind": "a"}]), "/identities/0/expr", "not_a_text"),
        (mapping(attributes=FLIGHTS["attributes"] * 101), "/attributes", "not_a_list"),
        (mapping(attributes=7), "/attributes", "not_a_list"),
        (attribute(name=None), "/attributes/0/name", "not_a_text"),
        (attribute(name="x" * 101), "/attributes/0/name", "not_a_text"),
        (attribute(name=" x"), "/attributes/0/name", "bad_attribute_name"),
        (attribute(name="a\nb"), "/attributes/0/name", "bad_attribute_name"),
        (attribute(type=None), "/attributes/0/type", "not_an_option"),
        (attribute(type="text"), "/attributes/0/type", "not_an_option"),
        (attribute(type=["string"]), "/attributes/0/type", "not_an_option"),
        (attribute(merge=None), "/attributes/0/merge", "not_an_option"),
        (attribute(merge="sum"), "/attributes/0/type", "not_an_option"),
        (attribute(merge="min", type="json"), "/attributes/0/type", "not_an_option"),
        (attribute(merge="max", type="boolean"), "/attributes/0/type", "not_an_option"),
        (attribute(merge="union", type="json"), "/attributes/0/type", "not_an_option"),
        (attribute(merge="count"), "/attributes/0/type", "not_an_option"),
        (attribute(field=None), "/attributes/0", "no_source"),
        (attribute(constant=1), "/attributes/0", "several_sources"),
        (attribute(merge="count", type="integer", expr="a"), "/attributes/0", "several_sources"),
        (attribute(field=7), "/attributes/0/field", "not_a_text"),
        (attribute(field=None, constant=1), "/attributes/0/constant", "bad_constant"),
        (attribute(field=None, constant=""), "/attributes/0/constant", "bad_constant"),
        (attribute(field=None, constant="x", merge="x"), "/attributes/0/merge", "not_an_option"),
        (mapping(attributes=FLIGHTS["attributes"][:1] * 2), "/attributes/1/name", "duplicate_name"),
        (mapping(timestamp="time_hour"), "/timestamp", "not_an_object"),
        (mapping(timestamp={}), "/timestamp/field", "not_a_text"),
        (mapping(timestamp={"field": "a", "format": "auto"}), "/timestamp/format", "not_a_list"),
        (mapping(timestamp={"field": "a", "format": [1]}), "/timestamp/format/0", "not_a_text"),
        (mapping(timestamp={"field": "a", "format": ["%H:%M"]}), "/timestamp/format/0", "unknown_timestamp_format"),
        (mapping(timestamp={"field": "a", "format": ["%d%d"]}), "/timestamp/format/0", "unknown_timestamp_format"),
        (
            mapping(timestamp={"field": "a", "format": ["%Y%m%d %H %p"]}),
            "/timestamp/format/0",
            "unknown_timestamp_format",
        ),
        (mapping(timestamp={"field": "a", "format": ["%Y%m%d %Z"]}), "/timestamp/format/0", "unknown_timestamp_format"),
        (
            mapping(timestamp={"field": "a", "format": ["%d.%m.%Y %I:%M"]}),
            "/timestamp/format/0",
            "unknown_timestamp_format",
        ),
        (mapping(timestamp={"field": "a", "time_zone": "Mars"}), "/timestamp/time_zone", "unknown_time_zone"),
        (mapping(timestamp={"field": "a", "~/b": 1}), "/timestamp/~0~1b", "unknown_member"),
    ],
)
def test_an_invalid_mapping_is_refused(body: Any, pointer: str, code: str) -> None:
    started = process_time()
    found = problems(body)
    assert process_time() - started < 1
    assert found == {pointer: code}


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ("x", "", "not_an_object"),
        ({}, "/kinds", "not_a_list"),
        ({"kinds": IDENTITY["kinds"] * 51}, "/kinds", "not_a_list"),
        ({"kinds": [{"kind": "a", "rank": 0, "title": "A\x1b[2J"}]}, "/kinds/0/title", "bad_kind_title"),
        ({"kinds": [{"kind": "a b", "rank": 0}]}, "/kinds/0/kind", "bad_kind_name"),
        ({"kinds": [{"kind": "a", "rank": 100}]}, "/kinds/0/rank", "not_an_integer"),
        ({"kinds": [{"kind": "a", "rank": True}]}, "/kinds/0/rank", "not_an_integer"),
        ({"kinds": [{"kind": "a"}]}, "/kinds/0/rank", "not_an_integer"),
        ({"kinds": [{"kind": "a", "rank": 0, "title": 1}]}, "/kinds/0/title", "not_a_text"),
        ({"kinds": [{"kind": "a", "rank": 0}] * 2}, "/kinds/1/kind", "duplicate_name"),
        (IDENTITY | {"max_identities": 0}, "/max_identities", "not_an_integer"),
        (IDENTITY | {"blocked_values": "null"}, "/blocked_values", "not_a_list"),
        (IDENTITY | {"blocked_values": [0]}, "/blocked_values/0", "not_a_text"),
        ({"kinds": [PHONE | {"blocked_values": [""]}]}, "/kinds/0/blocked_values/0", "not_a_text"),
        ({"kinds": [PHONE | {"format": "mail", "region": None}]}, "/kinds/0/format", "not_an_option"),
        ({"kinds": [PHONE | {"region": "Austria"}]}, "/kinds/0/region", "unknown_region"),
        ({"kinds": [PHONE | {"region": ["AT"]}]}, "/kinds/0/region", "unknown_region"),
        ({"kinds": [PHONE | {"format": "text"}]}, "/kinds/0/region", "region_without_phone"),
        ({"kinds": [PHONE | {"fan_in_limit": 9}]}, "/kinds/0/fan_in_limit", "not_an_integer"),
    ],
)
def test_invalid_identity_rules_are_refused(body: Any, pointer: str, code: str) -> None:
    assert problems(body, parse_identity) == {pointer: code}


def test_all_problems_are_reported() -> None:
    found = problems(
        {
            "identities": [{"kind": "Tail"}],
            "attributes": [{"name": "x", "type": "x", "merge": "latest", "field": "a"}, 5],
            "timestamp": {"field": "a", "time_zone": "x", "format": ["x"]},
        }
    )
    assert set(found) == {
        "/identities/0", "/identities/0/kind", "/attributes/0/type", "/attributes/1", "/timestamp/time_zone",
        "/timestamp/format/0",
    }  # fmt: skip


def test_the_number_of_reported_members_is_bounded() -> None:
    assert len(problems(mapping(**{f"member {number}": 1 for number in range(50_000)}))) == 10


def test_the_error_lists_the_first_problems() -> None:
    with pytest.raises(InvalidRulesError, match=r"^/: not_an_object$"):
        parse_mapping(5)


def test_consistent_rules_are_accepted() -> None:
    other = attribute(name="origin", field="from", merge="latest", type="string")
    check_rules({"flights": parse_mapping(FLIGHTS), "trains": parse_mapping(other)}, parse_identity(IDENTITY))
    check_rules({}, NO_IDENTITY)


def test_streams_must_agree_on_an_attribute() -> None:
    rules = {
        "b": parse_mapping(attribute(merge="max", type="number")),
        "a": parse_mapping(attribute(merge="latest", type="string")),
        "c/d": parse_mapping(attribute(merge="latest", type="json")),
    }
    with pytest.raises(InvalidRulesError) as error:
        check_rules(rules, parse_identity(IDENTITY))
    conflict = {"attribute": "x", "other_form": "latest/string", "other_stream": "a"}
    assert [(problem.pointer, problem.params) for problem in error.value.problems] == [
        ("/b/attributes/0", conflict | {"form": "max/number", "stream": "b"}),
        ("/c~1d/attributes/0", conflict | {"form": "latest/json", "stream": "c/d"}),
    ]


@pytest.mark.parametrize(
    ("identity", "kinds"),
    [
        (IdentityRules((IdentityKind("tail", 0, ""),)), ("tail",)),
        (NO_IDENTITY, ()),
    ],
)
def test_unknown_kinds_are_refused(identity: IdentityRules, kinds: tuple[str, ...]) -> None:
    with pytest.raises(InvalidRulesError) as error:
        check_rules({"flights": parse_mapping(FLIGHTS)}, identity)
    problem = error.value.problems[-1]
    assert problem.pointer == "/flights/identities/1/kind"
    assert (problem.code, problem.params) == ("unknown_identity_kind", {"kind": "email", "kinds": kinds})
