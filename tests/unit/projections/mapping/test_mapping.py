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


def problems(body: Any, parse: Any = parse_mapping) -> dict[str, str]:
    with pytest.raises(InvalidRulesError) as error:
        parse(body)
    assert len({problem.pointer for problem in error.value.problems}) == len(error.value.problems)
    return {problem.pointer: problem.message for problem in error.value.problems}


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


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        (None, "", "expected an object, found None"),
        ([1], "", "expected an object, found a list of 1"),
        (mapping(extra=1), "/extra", "unknown member 'extra'; expected identities, attributes, timestamp"),
        (mapping(identities=[]), "/identities", "expected a list of 1 to 8 items, found a list of 0"),
        (mapping(identities={}), "/identities", "expected a list of 1 to 8 items, found an object of 0"),
        (mapping(identities=FLIGHTS["identities"] * 5), "/identities", "a list of 1 to 8 items"),
        (mapping(identities=["tail"]), "/identities/0", "expected an object, found 'tail'"),
        (mapping(identities=[{"kind": "tail"}]), "/identities/0", "exactly one of field, expr"),
        (mapping(identities=[{"field": "a", "expr": "a", "kind": "tail"}]), "/identities/0", "exactly one of"),
        (mapping(identities=[{"field": "", "kind": "tail"}]), "/identities/0/field", "a text of 1 to 1000"),
        (mapping(identities=[{"field": "\ud800", "kind": "a"}]), "/identities/0/field", r"found '\ud800'"),
        (mapping(identities=[{"field": "a\0", "kind": "a"}]), "/identities/0/field", "a text of 1 to 1000"),
        (mapping(identities=[{"field": "a"}]), "/identities/0/kind", "a text of 1 to 1000 characters"),
        (
            mapping(identities=[{"field": "a", "kind": "Tail"}]),
            "/identities/0/kind",
            "1 to 32 characters of a-z, 0-9 and _",
        ),
        (mapping(identities=[{"field": "a", "kind": "a" * 33}]), "/identities/0/kind", "1 to 32 characters of"),
        (mapping(identities=[{"expr": "a +", "kind": "a"}]), "/identities/0/expr", "at character 4: expected a name"),
        (mapping(identities=[{"expr": "a" * 2_001, "kind": "a"}]), "/identities/0/expr", "1 to 2000 characters"),
        (mapping(attributes=FLIGHTS["attributes"] * 101), "/attributes", "a list of 0 to 500"),
        (mapping(attributes=7), "/attributes", "a list of 0 to 500 items, found 7"),
        (attribute(name=None), "/attributes/0/name", "a text of 1 to 100 characters"),
        (attribute(name="x" * 101), "/attributes/0/name", "a text of 1 to 100 characters"),
        (attribute(name=" x"), "/attributes/0/name", "without leading or trailing white space"),
        (attribute(name="a\nb"), "/attributes/0/name", "only printable characters"),
        (attribute(type=None), "/attributes/0/type", "one of string, integer, number, timestamp, boolean, json,"),
        (attribute(type="text"), "/attributes/0/type", "found 'text'"),
        (attribute(type=["string"]), "/attributes/0/type", "found a list of 1"),
        (attribute(merge=None), "/attributes/0/merge", "one of latest, first, min, max, union, count, sum,"),
        (attribute(merge="sum"), "/attributes/0/type", "one of integer, number, found 'string'"),
        (attribute(merge="min", type="json"), "/attributes/0/type", "one of string, integer, number, timestamp,"),
        (attribute(merge="max", type="boolean"), "/attributes/0/type", "one of string, integer, number, timestamp,"),
        (attribute(merge="union", type="json"), "/attributes/0/type", "found 'json'"),
        (attribute(merge="count"), "/attributes/0/type", "one of integer, found 'string'"),
        (attribute(field=None), "/attributes/0", "exactly one of field, expr, constant"),
        (attribute(constant=1), "/attributes/0", "exactly one of"),
        (attribute(merge="count", type="integer", expr="a"), "/attributes/0", "at most one of field, expr, constant"),
        (attribute(field=7), "/attributes/0/field", "a text of 1 to 1000 characters, found 7"),
        (attribute(field=None, constant=1), "/attributes/0/constant", "1 is not a valid string: wrong_type"),
        (attribute(field=None, constant=""), "/attributes/0/constant", "'' is not a valid string: it is empty"),
        (attribute(field=None, constant="x", merge="x"), "/attributes/0/merge", "found 'x'"),
        (mapping(attributes=FLIGHTS["attributes"][:1] * 2), "/attributes/1/name", "duplicate attribute name"),
        (mapping(timestamp="time_hour"), "/timestamp", "expected an object, found 'time_hour'"),
        (mapping(timestamp={}), "/timestamp/field", "a text of 1 to 1000 characters, found None"),
        (mapping(timestamp={"field": "a", "format": "auto"}), "/timestamp/format", "a list of 1 to 10 items"),
        (mapping(timestamp={"field": "a", "format": [1]}), "/timestamp/format/0", "a text of 1 to 100"),
        (mapping(timestamp={"field": "a", "format": ["%H:%M"]}), "/timestamp/format/0", "or a strptime date format"),
        (mapping(timestamp={"field": "a", "format": ["%d%d"]}), "/timestamp/format/0", "expected auto, epoch, epoch_s"),
        (mapping(timestamp={"field": "a", "time_zone": "Mars"}), "/timestamp/time_zone", "unknown time zone 'Mars'"),
        (mapping(timestamp={"field": "a", "~/b": 1}), "/timestamp/~0~1b", "unknown member"),
    ],
)
def test_an_invalid_mapping_is_refused(body: Any, pointer: str, words: str) -> None:
    started = process_time()
    messages = problems(body)
    assert process_time() - started < 1
    assert list(messages) == [pointer]
    assert words in messages[pointer]


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ("x", "", "expected an object"),
        ({}, "/kinds", "a list of 1 to 100 items, found None"),
        ({"kinds": IDENTITY["kinds"] * 51}, "/kinds", "a list of 1 to 100 items"),
        ({"kinds": [{"kind": "a b", "rank": 0}]}, "/kinds/0/kind", "1 to 32 characters of a-z"),
        ({"kinds": [{"kind": "a", "rank": 100}]}, "/kinds/0/rank", "an integer from 0 to 99, found 100"),
        ({"kinds": [{"kind": "a", "rank": True}]}, "/kinds/0/rank", "an integer from 0 to 99, found True"),
        ({"kinds": [{"kind": "a"}]}, "/kinds/0/rank", "an integer from 0 to 99, found None"),
        ({"kinds": [{"kind": "a", "rank": 0, "title": 1}]}, "/kinds/0/title", "a text of 1 to 100 characters"),
        ({"kinds": [{"kind": "a", "rank": 0}] * 2}, "/kinds/1/kind", "duplicate kind name"),
        (IDENTITY | {"max_identities": 0}, "/max_identities", "an integer from 1 to 10000"),
    ],
)
def test_invalid_identity_rules_are_refused(body: Any, pointer: str, words: str) -> None:
    messages = problems(body, parse_identity)
    assert list(messages) == [pointer]
    assert words in messages[pointer]


def test_all_problems_are_reported() -> None:
    messages = problems(
        {
            "identities": [{"kind": "Tail"}],
            "attributes": [{"name": "x", "type": "x", "merge": "latest", "field": "a"}, 5],
            "timestamp": {"field": "a", "time_zone": "x", "format": ["x"]},
        }
    )
    assert set(messages) == {
        "/identities/0", "/identities/0/kind", "/attributes/0/type", "/attributes/1", "/timestamp/time_zone",
        "/timestamp/format/0",
    }  # fmt: skip


def test_the_number_of_reported_members_is_bounded() -> None:
    assert len(problems(mapping(**{f"member {number}": 1 for number in range(50_000)}))) == 10


def test_the_error_message_lists_the_first_problems() -> None:
    with pytest.raises(InvalidRulesError, match=r"^/: expected an object, found 5$"):
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
    assert [(problem.pointer, problem.message) for problem in error.value.problems] == [
        ("/b/attributes/0", "attribute `x` is latest/string in stream a and max/number in stream b"),
        ("/c~1d/attributes/0", "attribute `x` is latest/string in stream a and latest/json in stream c/d"),
    ]


@pytest.mark.parametrize(
    ("identity", "hint"),
    [
        (IdentityRules((IdentityKind("tail", 0, ""),)), "expected tail"),
        (NO_IDENTITY, "no kinds are defined yet"),
    ],
)
def test_unknown_kinds_are_refused(identity: IdentityRules, hint: str) -> None:
    with pytest.raises(InvalidRulesError) as error:
        check_rules({"flights": parse_mapping(FLIGHTS)}, identity)
    problem = error.value.problems[-1]
    assert problem.pointer == "/flights/identities/1/kind"
    assert problem.message == f"unknown identity kind `email`; {hint}"
