"""Mapping of messages: keys, event times, values and faults."""

from datetime import UTC, datetime
from time import process_time
from typing import Any

import pytest

from projections.mapping.mapper import Mapper, make_mapper
from projections.mapping.mapping import NO_IDENTITY, parse_identity, parse_mapping
from projections.mapping.raw_messages import parse_message
from tests.laws.json_values import deep

IDENTITY = parse_identity({"kinds": [{"kind": "tail", "rank": 0}, {"kind": "email", "rank": 7}]})
CONSTANT_IDENTITY: dict[str, Any] = {"expr": "'me'", "kind": "tail"}
DEFAULT_TIME = 1_000_000  # the default event time


def mapper(*attributes: dict[str, Any], identities: Any = (CONSTANT_IDENTITY,), timestamp: Any = None) -> Mapper:
    body = {"identities": list(identities), "attributes": list(attributes), "timestamp": timestamp}
    return make_mapper("flights", parse_mapping(body), IDENTITY)


def attribute(kind: str, merge: str = "latest", **source: Any) -> dict[str, Any]:
    return {"name": "x", "type": kind, "merge": merge} | (source or {"field": "x"})


def micros(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def test_a_message_is_mapped() -> None:
    flights = mapper(
        attribute("string", field="origin"),
        {"name": "late", "expr": "delay > 15", "type": "boolean", "merge": "union"},
        {"name": "flights", "merge": "count"},
        {"name": "landings", "merge": "count", "field": "arrived"},
        {"name": "source", "constant": "flights", "type": "string", "merge": "first"},
        {"name": "miles", "field": "distance", "type": "number", "merge": "sum"},
        identities=[{"field": "tailnum", "kind": "tail"}],
        timestamp={"field": "at"},
    )
    assert flights.columns == (
        "latest:x", "union:late", "count:flights", "count:landings", "first:source", "sum:miles",
    )  # fmt: skip
    message = {"tailnum": " N14228 ", "origin": "EWR", "delay": 20, "distance": 0.5, "at": "2013-01-01T10:00:00Z"}
    values = ["EWR", True, 1, None, "flights", 500_000]
    assert flights.map(message, DEFAULT_TIME) == ("00:tail:N14228", (), micros("2013-01-01T10:00"), values)
    assert flights.map({"tailnum": "N14228", "arrived": 0}, DEFAULT_TIME) == (
        "00:tail:N14228", (), DEFAULT_TIME, [None, None, 1, 1, "flights", None],
    )  # fmt: skip
    assert flights.map({"origin": "EWR"}, DEFAULT_TIME) is None
    assert flights.drain_faults() == {}


def test_the_position_counts_the_messages_since_the_faults_were_taken() -> None:
    people = mapper()
    positions = [(people.map({}, DEFAULT_TIME), people.position)[1] for _ in range(3)]
    people.drain_faults()
    people.map({}, DEFAULT_TIME)
    assert (positions[2] - positions[0], people.position) == (2, positions[0])


def test_the_identity_of_the_lowest_rank_is_the_key() -> None:
    people = mapper(
        identities=[
            {"field": "mail", "kind": "email"},
            {"field": "other", "kind": "email"},
            {"field": "tail", "kind": "tail"},
            {"expr": "lower(mail)", "kind": "email"},
        ]
    )
    mapped = people.map({"mail": "b", "other": "a", "tail": 7}, DEFAULT_TIME)
    assert mapped == ("00:tail:7", ("07:email:a", "07:email:b"), DEFAULT_TIME, [])
    assert people.map({"mail": "b"}, DEFAULT_TIME) == ("07:email:b", (), DEFAULT_TIME, [])
    assert people.map({"mail": "B"}, DEFAULT_TIME) == ("07:email:B", ("07:email:b",), DEFAULT_TIME, [])


def test_identities_of_unknown_kinds_are_ignored() -> None:
    rules = parse_mapping({"identities": [CONSTANT_IDENTITY]})
    assert make_mapper("flights", rules, NO_IDENTITY).map({}, DEFAULT_TIME) is None


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("N1", "00:tail:N1"),
        ("\u00a0 a:b \n", "00:tail:a:b"),
        ("a\nb", "00:tail:a\nb"),
        (0, "00:tail:0"),
        (-(2**64), f"00:tail:{-(2**64)}"),
        (7.0, "00:tail:7"),
        (-0.0, "00:tail:0"),
        (9007199254740991.0, "00:tail:9007199254740991"),
        ("x" * 507, "00:tail:" + "x" * 507),
        ("é" * 253, "00:tail:" + "é" * 253),
    ],
)
def test_texts_and_integers_are_identities(value: Any, key: str) -> None:
    mapped = mapper(identities=[{"field": "id", "kind": "tail"}]).map({"id": value}, DEFAULT_TIME)
    assert mapped
    assert mapped[0] == key


@pytest.mark.parametrize(
    ("value", "code", "example"),
    [
        (None, None, ""),
        ("", None, ""),
        (" \t", None, ""),
        (True, "wrong_type", "True"),
        (1.5, "wrong_type", "1.5"),
        (2.0**53, "inexact_number", "9007199254740992.0"),
        (8.943010123456789e20, "inexact_number", "8.943010123456789e+20"),
        (["a"], "wrong_type", "a list of 1"),
        ({}, "wrong_type", "an object of 0"),
        ("x" * 508, "identity_too_long", repr("x" * 508)[:79] + "…"),
        ("é" * 254, "identity_too_long", "'" + "é" * 78 + "…"),
        ("\u00e9" * 5_000_000, "identity_too_long", "'" + "\u00e9" * 78 + "…"),
        ("x" * 5_000_000, "identity_too_long", repr("x" * 508)[:79] + "…"),
        (10**600, "identity_too_long", "an integer of 1994 bits"),
        (-(10**900), "identity_too_long", "an integer of 2990 bits"),
        ("a\0", "bad_text", r"'a\x00'"),
        ("a\ud800", "bad_text", r"'a\ud800'"),
    ],
)
def test_invalid_identities(value: Any, code: str | None, example: str) -> None:
    people = mapper(identities=[{"field": "id", "kind": "tail"}])
    assert people.map({"id": value}, DEFAULT_TIME) is None
    assert people.drain_faults() == ({("identity tail", code): [1, example, 0]} if code else {})


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (" Ada ", "00:tail:Ada"),
        ("A\u200bda", "00:tail:Ada"),
        ("\u00e9" * 253, "00:tail:" + "\u00e9" * 253),
        (7, "00:tail:7"),
        (0, None),
        ("0" * 100, None),
        ("NULL", None),
        ("\u200b", None),
        (" \t", None),
    ],
)
def test_identities_have_a_normal_form(value: Any, key: str | None) -> None:
    body = {"kinds": [{"kind": "tail", "rank": 0, "format": "text"}], "blocked_values": ["0", "null"]}
    rules = parse_mapping({"identities": [{"field": "id", "kind": "tail"}, {"expr": "id", "kind": "tail"}]})
    people = make_mapper("flights", rules, parse_identity(body))
    mapped = people.map({"id": value}, DEFAULT_TIME)
    assert (mapped and mapped[0]) == key
    blocked = {("tail", "null" if value == "NULL" else "0"): 2} if key is None and str(value).strip(" \t\u200b") else {}
    assert (people.drain_blocked(), people.drain_blocked(), people.drain_faults()) == (blocked, {}, {})


def value_of(rules: dict[str, Any], value: Any) -> tuple[Any, str]:
    """Return the mapped value, and the code of its fault."""
    one = mapper(rules)
    mapped = one.map({"x": value}, DEFAULT_TIME)
    assert mapped
    codes = [code for _, code in one.drain_faults()]
    return mapped[3][0], "".join(codes)


WRONG, RANGE, INEXACT = "wrong_type", "out_of_range", "inexact_number"


@pytest.mark.parametrize(
    ("kind", "value", "expected", "fault"),
    [
        ("string", "a", "a", ""),
        ("string", " tab\t", " tab\t", ""),
        ("string", "é" * 20_000, "é" * 20_000, ""),
        ("string", "", None, ""),
        ("string", None, None, ""),
        ("string", 1, None, WRONG),
        ("string", "a\0", None, "bad_text"),
        ("string", "\udfff", None, "bad_text"),
        ("string", "x" * 65_537, None, "too_long"),
        ("string", "é" * 40_000, None, "too_long"),
        ("integer", 2**63 - 1, 2**63 - 1, ""),
        ("integer", -(2**63), -(2**63), ""),
        ("integer", 2**63, None, RANGE),
        ("integer", 10**600, None, RANGE),
        ("integer", 7.0, 7, ""),
        ("integer", 7.5, None, WRONG),
        ("integer", 2.0**63, None, INEXACT),
        ("integer", -(2.0**53), None, INEXACT),
        ("integer", "9007199254740993.0", None, INEXACT),
        ("integer", "1e17", None, INEXACT),
        ("integer", 9007199254740993, 9007199254740993, ""),
        ("integer", float("inf"), None, RANGE),
        ("integer", " 007 ", 7, ""),
        ("integer", "-7.0", -7, ""),
        ("integer", "NA", None, WRONG),
        ("integer", "9" * 19, None, WRONG),
        ("integer", " ", None, ""),
        ("integer", True, None, WRONG),
        ("number", 7, 7, ""),
        ("number", 7.5, 7.5, ""),
        ("number", 7.0, 7, ""),
        ("number", -0.0, 0, ""),
        ("number", 1e300, 1e300, ""),
        ("number", "1e3", 1000, ""),
        ("number", "2.5", 2.5, ""),
        ("number", "1e999", None, WRONG),
        ("number", "1,5", None, WRONG),
        ("number", "x" * 5_000_000, None, WRONG),
        ("number", "", None, ""),
        ("number", float("nan"), None, RANGE),
        ("number", -(2**64), None, RANGE),
        ("number", [], None, WRONG),
        ("boolean", True, True, ""),
        ("boolean", " FALSE", False, ""),
        ("boolean", "", None, ""),
        ("boolean", 1, None, WRONG),
        ("boolean", "yes", None, WRONG),
        ("boolean", "true" * 5_000, None, WRONG),
        ("timestamp", "1970-01-01", 0, ""),
        ("timestamp", "1970-01-01T00:00:00.000001+00:00", 1, ""),
        ("timestamp", "1969-12-31 23:00:00-01:00", 0, ""),
        ("timestamp", " ", None, ""),
        ("timestamp", "yesterday", None, "bad_timestamp"),
        ("timestamp", 5, None, "bad_timestamp"),
        ("timestamp", "0001-01-01T00:00:00+01:00", None, "bad_timestamp"),
        ("timestamp", "9999-12-31T23:59:59-01:00", None, "bad_timestamp"),
        ("timestamp", "1970-01-01" + " " * 100, None, "bad_timestamp"),
        ("json", {"a": [1, None, "é"]}, {"a": [1, None, "é"]}, ""),
        ("json", "", "", ""),
        ("json", deep(200), deep(200), ""),
        ("json", deep(201), None, "too_deep"),
        ("json", deep(5_000), None, "too_deep"),
        ("json", ["x" * 70_000], None, "too_long"),
        ("json", ["é" * 33_000], None, "too_long"),
        ("json", [[1] * 70_000], None, "too_long"),
        ("json", ["\ud800"], None, "bad_text"),
        ("json", {"\ud800": 1}, None, "bad_text"),
        ("json", [float("nan")], None, RANGE),
        ("json", {"a": {"b": 2**63}}, None, RANGE),
        ("json", 10**600, None, RANGE),
        ("json", {"sim": [8.943010123456789e20]}, None, INEXACT),
        ("json", {"id": 9007199254740993}, {"id": 9007199254740993}, ""),
    ],
)
def test_values_are_converted_to_the_type_of_the_attribute(kind: str, value: Any, expected: Any, fault: str) -> None:
    mapped, code = value_of(attribute(kind), value)
    assert (mapped, code) == (expected, fault)
    assert type(mapped) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "expected", "fault"),
    [
        ("integer", 3, 3_000_000, ""),
        ("number", 0.1, 100_000, ""),
        ("number", "19.99", 19_990_000, ""),
        ("number", 0.0000005, 0, ""),
        ("number", 0.0000015, 2, ""),
        ("number", -0.0000025, -2, ""),
        ("number", 9_000_000_000_000.1, 9_000_000_000_000_100_000 - 0, ""),
        ("integer", 9_200_000_000_000, 9_200_000_000_000_000_000, ""),
        ("integer", 9_200_000_000_001, None, RANGE),
        ("number", -1e300, None, RANGE),
        ("number", 1e308, None, RANGE),
        ("number", "NA", None, WRONG),
        ("number", None, None, ""),
        ("number", "", None, ""),
    ],
)
def test_sums_are_exact_millionths(kind: str, value: Any, expected: int | None, fault: str) -> None:
    assert value_of(attribute(kind, "sum"), value) == (expected, fault)


@pytest.mark.parametrize("value", ["x" * 1_025, "é" * 513])
def test_values_of_a_union_are_bounded(value: str) -> None:
    assert value_of(attribute("string", "union"), value) == (None, "too_long")
    for fits in (value[: len(value) // 2], "ä" * 300, True):
        rules = attribute("string" if type(fits) is str else "boolean", "union")
        assert value_of(rules, fits) == (fits, "")


@pytest.mark.parametrize(
    ("kind", "value", "expected", "fault"),
    [
        ("integer", 8.943010123456789e20, None, INEXACT),
        ("number", 8.943010123456789e20, None, INEXACT),
        ("number", "9007199254740993.0", None, INEXACT),
        ("number", 9007199254740993, 9007199254740993, ""),
        ("number", 7.0, 7, ""),
        ("number", 7.5, 7.5, ""),
    ],
)
def test_items_of_a_union_are_exact(kind: str, value: Any, expected: Any, fault: str) -> None:
    assert value_of(attribute(kind, "union"), value) == (expected, fault)


def test_long_numbers_are_separate_identities_or_reported() -> None:
    sims = mapper(
        attribute("string", expr="concat('sim-', iccid)"),
        identities=[{"expr": "concat('sim-', iccid)", "kind": "tail"}, {"field": "mail", "kind": "email"}],
    )
    keys = [
        mapped and (mapped[0], mapped[3])
        for iccid in ("894301012345678901231", "894301012345678901232", "12345678901234567891", "7.0")
        if (mapped := sims.map(parse_message(b'{"mail":"a","iccid":%b}' % iccid.encode()), DEFAULT_TIME)) or True
    ]
    assert keys == [
        ("07:email:a", [None]),
        ("07:email:a", [None]),
        ("00:tail:sim-12345678901234567891", ["sim-12345678901234567891"]),
        ("00:tail:sim-7", ["sim-7"]),
    ]
    example = "8.943010123456789e+20"
    assert sims.drain_faults() == {
        ("identity tail", INEXACT): [2, example, 0],
        ("attribute x", INEXACT): [2, example, 0],
    }


def test_a_number_that_a_costly_expression_noted_is_reported_once() -> None:
    rules = mapper(
        {"name": "a", "expr": f"concat(string(x), {MANY_SPLITS})", "type": "string", "merge": "latest"},
        attribute("string", expr="coalesce(string(x), 'none')"),
        attribute("integer", expr="1") | {"name": "b"},
    )
    mapped = rules.map({"x": 1e20, "long": "xz" * 32_000}, DEFAULT_TIME)
    assert mapped
    assert mapped[3] == [None, "none", 1]
    assert [*rules.drain_faults()] == [("attribute a", INEXACT), ("attribute x", INEXACT)]


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), ("", None), (0, 1), (False, 1), ([], 1), ("x" * 70_000, 1), (deep(900), 1)]
)
def test_a_count_of_a_field_counts_messages_that_have_it(value: Any, expected: int | None) -> None:
    assert value_of(attribute("integer", "count"), value) == (expected, "")


def test_expressions_and_constants_are_converted() -> None:
    assert value_of(attribute("integer", expr="x * 2"), 4) == (8, "")
    assert value_of(attribute("integer", expr="x / 2"), 4) == (2, "")
    assert value_of(attribute("string", expr="x * 2"), 4) == (None, WRONG)
    assert value_of(attribute("string", expr="x * 2"), "four") == (None, "")
    assert value_of(attribute("number", "sum", constant="2.5"), None) == (2_500_000, "")
    assert value_of(attribute("timestamp", "max", constant="1970-01-02"), None) == (86_400_000_000, "")
    assert value_of(attribute("json", constant={"a": 1}), None) == ({"a": 1}, "")
    assert value_of(attribute("integer", "count", constant=True), None) == (1, "")


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ({}, "2013-07-01T10:00:00Z", micros("2013-07-01T10:00")),
        ({"time_zone": "America/New_York"}, "2013-07-01 10:00", micros("2013-07-01T14:00")),
        ({"time_zone": "America/New_York"}, "2013-07-01T10:00+02:00", micros("2013-07-01T08:00")),
        ({"time_zone": "Europe/Vienna"}, "2013-10-27 02:30", micros("2013-10-27T00:30")),  # ambiguous: the earlier one
        ({"time_zone": "Europe/Vienna"}, "2013-03-31 02:30", micros("2013-03-31T01:30")),  # nonexistent
        ({"format": ["epoch_s"]}, 1.5, 1_500_000),
        ({"format": ["epoch_s"]}, "-1", -1_000_000),
        ({"format": ["epoch_ms"]}, 1_500, 1_500_000),
        ({"format": ["epoch_us"]}, "1.9", 1),
        ({"format": ["%d.%m.%Y", "auto"], "time_zone": "Europe/Vienna"}, "01.07.2013", micros("2013-06-30T22:00")),
        ({"format": ["%d.%m.%Y", "auto"]}, "2013-07-01", micros("2013-07-01")),
    ],
)
def test_the_event_time_comes_from_the_message(rule: dict[str, Any], value: Any, expected: int) -> None:
    mapped = mapper(timestamp={"field": "at"} | rule).map({"at": value}, DEFAULT_TIME)
    assert mapped
    assert mapped[2] == expected


@pytest.mark.parametrize("rule", [["auto"], ["epoch_s"], ["epoch_ms", "%d.%m.%Y"]])
@pytest.mark.parametrize("value", [True, "x", "x" * 5_000, 1e300, float("nan"), 2**70, [1], "9" * 20, 10**17, "1e3"])
def test_without_a_valid_time_the_default_applies(rule: list[str], value: Any) -> None:
    flights = mapper(timestamp={"field": "at", "format": rule})
    for message, faults in (({"at": value}, 1), ({}, 0), ({"at": None}, 0), ({"at": " "}, 0)):
        mapped = flights.map(message, DEFAULT_TIME)
        assert mapped
        assert mapped[2] == DEFAULT_TIME
        assert [code for _, code in flights.drain_faults()] == ["bad_timestamp"] * faults


def test_texts_without_an_offset_are_in_the_zone_of_the_mapping() -> None:
    rules = mapper(attribute("timestamp"), timestamp={"field": "at", "time_zone": "America/New_York"})
    mapped = rules.map({"x": "2013-07-01 10:00"}, DEFAULT_TIME)
    assert mapped
    assert mapped[3] == [micros("2013-07-01T14:00")]


def test_faults_are_counted_with_the_first_example() -> None:
    flights = mapper(attribute("integer"), identities=[{"field": "tail", "kind": "tail"}])
    for message in ({"tail": "a", "x": 1}, {"tail": [1]}, {"tail": "b", "x": "first"}, {"tail": "c", "x": "second"}):
        flights.map(message, DEFAULT_TIME)
    expected: Any = {("identity tail", WRONG): [1, "a list of 1", 1], ("attribute x", WRONG): [2, "'first'", 2]}
    assert flights.faults == expected
    assert flights.drain_faults() == expected
    flights.map({"tail": "d", "x": 2**64}, DEFAULT_TIME)
    assert flights.drain_faults() == {("attribute x", RANGE): [1, "an integer of 65 bits", 0]}


MANY_SPLITS = "coalesce(" + ", ".join(["split(long, 'x', -99999)"] * 75) + ")"


def test_a_mapping_of_many_splits_is_bounded() -> None:
    hostile = [{"name": f"a{index}", "expr": MANY_SPLITS, "type": "string", "merge": "latest"} for index in range(90)]
    honest = attribute("string", expr="lower(split(mail, '@', 1))")
    flights = mapper(*hostile, honest)
    message = {"long": "xz" * 32_000, "mail": "ada@EXAMPLE.ORG"}
    mapped = flights.map(message, DEFAULT_TIME)
    assert mapped
    assert mapped[3] == [None] * 90 + ["example.org"]
    faults = flights.drain_faults()
    assert list(faults) == [(f"attribute a{index}", "too_costly") for index in range(90)]
    assert faults["attribute a0", "too_costly"] == [1, repr("xz" * 40)[:79] + "…", 0]


def test_the_budget_is_for_each_message_and_identities_come_first() -> None:
    flights = mapper(
        attribute("integer", expr="length(long)"),
        identities=[{"expr": MANY_SPLITS, "kind": "tail"}, {"field": "mail", "kind": "email"}],
    )
    costly, ordinary = {"long": "x" * 60_000, "mail": "a"}, {"long": "x" * 200, "mail": "a"}
    assert flights.map(costly, DEFAULT_TIME) == ("07:email:a", (), DEFAULT_TIME, [None])
    assert list(flights.drain_faults()) == [("identity tail", "too_costly"), ("attribute x", "too_costly")]
    assert flights.map(ordinary, DEFAULT_TIME) == ("07:email:a", (), DEFAULT_TIME, [200])
    assert flights.drain_faults() == {}


def test_a_json_value_is_checked_once_however_many_attributes_read_it() -> None:
    def seconds(count: int) -> float:
        names = [{"name": f"a{number}", "field": "x", "type": "json", "merge": "latest"} for number in range(count)]
        copies = mapper(*names)
        value = {"x": [[number] for number in range(5_000)]}
        started = process_time()
        mapped = copies.map(value, DEFAULT_TIME)
        spent = process_time() - started
        assert mapped
        assert all(copy is value["x"] for copy in mapped[3])
        return spent

    assert seconds(500) < 50 * max(seconds(1) for _ in range(3))


def test_a_json_value_of_the_next_message_is_checked_again() -> None:
    copies = mapper(attribute("json"))
    for number in range(100):  # freed values: the next ones get the same address
        for value, fault in (([number], []), ([10**400], ["out_of_range"])):
            assert copies.map({"x": value}, DEFAULT_TIME)
            assert [code for _, code in copies.drain_faults()] == fault


def test_hostile_messages_are_mapped_quickly() -> None:
    flights = mapper(
        {"name": "a", "field": "x", "type": "json", "merge": "latest"},
        {"name": "b", "field": "x", "type": "number", "merge": "sum"},
        {"name": "c", "expr": "replace(concat(x, x), 'x', 'xxxxxxxx')", "type": "string", "merge": "latest"},
        identities=[{"field": "x", "kind": "tail"}, CONSTANT_IDENTITY],
        timestamp={"field": "x", "format": ["auto", "epoch_s", "%d.%m.%Y"]},
    )
    started = process_time()
    for value in (
        "x" * 10_000_000,
        "9" * 10_000_000,
        [[]] * 1_000_000,
        {"x": [0] * 1_000_000},
        10**100_000,
        deep(10_000),
    ):
        assert flights.map({"x": value}, DEFAULT_TIME)
    assert process_time() - started < 5


@pytest.mark.parametrize("kind", ["integer", "number", "boolean", "timestamp"])
@pytest.mark.parametrize("form", ["auto", "epoch", "epoch_s"])
def test_a_long_text_costs_no_more_than_a_short_one(kind: str, form: str) -> None:
    names = [{"name": f"a{number}", "field": "x", "type": kind, "merge": "latest"} for number in range(500)]
    many = mapper(*names, timestamp={"field": "x", "format": [form]})

    def seconds(text: str) -> float:
        started = process_time()
        assert many.map({"x": text}, DEFAULT_TIME)
        return process_time() - started

    seconds("no value")
    short, long = (min(seconds(text) for _ in range(5)) for text in ("no value", " " * 1_000_000))
    assert long < 10 * short


def test_a_mapping_of_single_fields_applies_to_columns() -> None:
    columnar = mapper(
        attribute("integer", field="legs"),
        {"name": "text", "field": "legs", "type": "string", "merge": "latest"},
        {"name": "source", "constant": "flights", "type": "string", "merge": "first"},
        identities=[{"field": "tailnum", "kind": "tail"}, {"field": "mail", "kind": "email"}],
        timestamp={"field": "at"},
    ).columnar
    assert columnar
    assert columnar.names == {"tailnum", "mail", "legs", "at"}
    assert columnar.constants == [None, None, "flights"]
    assert [convert("7") for convert in columnar.converters("legs")] == [7, "7"]
    assert [identify(" N14228 ") for identify in columnar.converters("tailnum")] == ["00:tail:N14228"]
    assert [identify(7) for identify in columnar.converters("mail")] == ["07:email:7"]
    assert [parse("2013-01-01T10:00:00Z") for parse in columnar.converters("at")] == [micros("2013-01-01T10:00")]
    assert [*columnar.converters("source")] == []


def test_columns_without_a_timestamp_rule_have_no_event_time() -> None:
    columnar = mapper(identities=[{"field": "tailnum", "kind": "tail"}]).columnar
    assert columnar
    assert columnar.names == {"tailnum"}
    assert columnar.when is None


@pytest.mark.parametrize(
    "whole",
    [
        mapper(),  # the identity is an expression
        mapper(attribute("boolean", expr="delay > 15"), identities=[{"field": "tailnum", "kind": "tail"}]),
        mapper(attribute("json"), identities=[{"field": "tailnum", "kind": "tail"}]),
    ],
    ids=["identity", "attribute", "json"],
)
def test_a_mapping_that_reads_whole_messages_does_not_apply_to_columns(whole: Mapper) -> None:
    assert whole.columnar is None
