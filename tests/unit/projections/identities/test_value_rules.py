"""The values of an identity kind: normal forms and blocked values."""

from typing import Any

import pytest

from projections.identities.blocked_values import DEFAULT_BLOCKED_VALUES, with_value_blocked
from projections.identities.value_rules import BLOCKED, ValueRules, default_format, with_defaults


@pytest.mark.parametrize(
    ("text", "blocked_as"),
    [
        ("null", "null"),
        ("NULL", "null"),
        ("Undefined", "undefined"),
        ("none", "none"),
        ("n/a", "n/a"),
        ("#N/A", "#n/a"),
        ("<NA>", "na"),
        ("NaN", "nan"),
        ("unknown", "unknown"),
        ("0", "0"),
        ("0000", "0"),
        ("0.0", "0"),
        ("+00 000", "0"),
        ("00000000-0000-0000-0000-000000000000", "0"),
        ("{00000000-0000-0000-0000-000000000000}", "0"),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        ("[object Object]", "object object"),
        ('"null"', "null"),
        ("'None'", "none"),
        ("(not set)", "not set"),
        ("--", "-"),
        ("???", "-"),
        ("\u2014", "-"),
        ("''", "-"),
        ("-1", "-1"),
        ("nu\u200bll", "null"),
        ("\ufeffundefined", "undefined"),
        (" NaN\t", "nan"),
        ("not\u00a0set", "not set"),
        ("\u00abNULL\u00bb", "null"),
        ("\\N", "\\n"),  # of database dumps
        ("#REF!", "#ref!"),  # of spreadsheets
        ("[object Undefined]", "object undefined"),
        ("{FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF}", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        ("F" * 32, "f" * 32),
        ("\uff10\uff10\uff10", "0"),  # full width
        ("\uff4e\uff55\uff4c\uff4c", "null"),
        ("\u0660\u0660", "0"),  # Arabic
        ("+", "-"),
    ],
)
def test_placeholders_are_blocked(text: str, blocked_as: str) -> None:
    for form in ("text", "email", "phone"):
        assert ValueRules(form, "", DEFAULT_BLOCKED_VALUES).read(text) == (blocked_as, BLOCKED)


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "10",
        "-10",
        "007",
        "nullo",
        "nobody",
        "N14228",
        "null-7",
        "a",
        "0a",
        "000000-0001",
        "\u96f6",
        "NaN1",
        "N",
        "\\Nora",
        "\uff11",
    ],
)
def test_other_values_are_not_blocked(text: str) -> None:
    assert ValueRules("text", "", DEFAULT_BLOCKED_VALUES).read(text) == (text, "")


@pytest.mark.parametrize(
    ("text", "value", "fault"),
    [
        ("Ada@Example.com", "ada@example.com", ""),
        ("null@null.com", "null@null.com", BLOCKED),
        ("unknown@example.com", "unknown@example.com", ""),
        ("none@unknown", "none@unknown", BLOCKED),
        ("null@null@null.com", "null@null@null.com", "bad_email"),
        ("INFO@shop.example ", "info@shop.example", BLOCKED),
        ("no address", "no address", "bad_email"),
        ("\u200b", "", ""),
    ],
)
def test_addresses(text: str, value: str, fault: str) -> None:
    rules = ValueRules("email", "", [*DEFAULT_BLOCKED_VALUES, "Info@Shop.example"])
    assert rules.read(text) == (value, fault)
    assert rules.normal_form(text) == (None if fault == "bad_email" or not value else value)


def test_a_placeholder_that_is_no_address_is_blocked() -> None:
    rules = ValueRules("email", "", DEFAULT_BLOCKED_VALUES)
    assert rules.read("N/A@n/a.com") == ("n/a@n/a.com", BLOCKED)
    assert rules.read("n/a@example/a.com") == ("n/a@example/a.com", "bad_email")


def test_a_blocked_number_is_blocked_in_every_spelling() -> None:
    rules = ValueRules("phone", "AT", ["0800 100 200", "reception"])
    for text in ("+43 800 100200", "0800/100200", "0043800100200"):
        assert rules.read(text) == ("+43800100200", BLOCKED)
    assert rules.read("Reception") == ("reception", BLOCKED)
    assert rules.read("0800") == ("0800", "impossible_phone")


def test_without_rules_values_are_exact() -> None:
    assert ValueRules().read(" nu\u200bll ") == ("nu\u200bll", "")
    assert ValueRules().read("0") == ("0", "")


def test_defaults_are_written_into_new_versions() -> None:
    body = with_defaults({"kinds": [{"kind": "email", "rank": 0}, {"kind": "tail", "rank": 1}], "max_identities": 7})
    assert body["kinds"] == [
        {"kind": "email", "rank": 0, "format": "email"},
        {"kind": "tail", "rank": 1, "format": "text"},
    ]
    assert body["blocked_values"] == list(DEFAULT_BLOCKED_VALUES)
    assert body["max_identities"] == 7
    assert with_defaults(body) == body


@pytest.mark.parametrize(
    "body",
    [
        {"blocked_values": []},
        {"kinds": "x", "blocked_values": []},
        {"kinds": [7, {"format": "exact"}], "blocked_values": []},
    ],
)
def test_what_a_version_sets_is_kept(body: dict[str, Any]) -> None:
    assert with_defaults(body) == body


@pytest.mark.parametrize(
    ("kind", "form"), [("email", "email"), ("work_email", "email"), ("email_id", "text"), ("phone", "text")]
)
def test_the_format_follows_from_the_name(kind: str, form: str) -> None:
    assert default_format(kind) == form


def test_a_value_is_blocked_in_a_new_version() -> None:
    body = {"kinds": [{"kind": "email", "blocked_values": ["b"]}, {"kind": "cookie"}], "max_identities": 7}
    once = with_value_blocked(body, "email:a")
    assert once == {"kinds": [{"kind": "email", "blocked_values": ["a", "b"]}, {"kind": "cookie"}], "max_identities": 7}
    assert with_value_blocked(once or {}, "email:a") == once
    assert with_value_blocked(body, "cookie:a:b") == {
        "kinds": [{"kind": "email", "blocked_values": ["b"]}, {"kind": "cookie", "blocked_values": ["a:b"]}],
        "max_identities": 7,
    }
    for identity in ("phone:7", "email:", "email"):
        assert with_value_blocked(body, identity) is None
    assert with_value_blocked({}, "email:a") is None
