"""Suggested mappings: right for the example data, cautious with identities, with a reason for each choice."""

import csv
import gzip
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from projections.fields.field_names import attribute_name, expression_of, parse_id_name, title_of
from projections.fields.field_stats import FieldStats
from projections.fields.suggestion import Suggestion, suggest, suggest_beside
from projections.identities.blocked_values import DEFAULT_BLOCKED_VALUES
from projections.mapping.mapping import IdentityKind, IdentityRules, parse_identity, parse_mapping

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"


def stats_of(messages: Iterable[dict[str, Any]]) -> FieldStats:
    stats = FieldStats()
    for message in messages:
        stats.add(message, 0)
    return stats


def example(name: str) -> FieldStats:
    with gzip.open(EXAMPLES / f"{name}.csv.gz", "rt") as file:
        return stats_of(csv.DictReader(file))


def suggested(stream: str, count: int = 100, **fields: Any) -> Suggestion:
    """Suggest a mapping for generated messages: a callable receives the number of the message."""
    messages = (
        {name.replace("__", " "): value(number) if callable(value) else value for name, value in fields.items()}
        for number in range(count)
    )
    return suggest(stream, stats_of(messages))


def identities(suggestion: Suggestion) -> list[tuple[str, str]]:
    return [(rule.get("field") or rule["expr"], rule["kind"]) for rule in suggestion.mapping["identities"]]


def types(suggestion: Suggestion) -> dict[str, str]:
    return {attribute["name"]: attribute["type"] for attribute in suggestion.mapping["attributes"]}


def reason(suggestion: Suggestion, pointer: str) -> str:
    (text,) = (reason.text for reason in suggestion.reasons if reason.pointer == pointer)
    return text


def test_flights_are_identified_by_tail_number() -> None:
    suggestion = suggest("flights", example("flights-2013-01"))
    assert identities(suggestion) == [("tailnum", "tail")]
    assert suggestion.identity == {
        "kinds": [{"kind": "tail", "rank": 0, "title": "Tailnum", "format": "text"}],
        "max_identities": 1000,
        "blocked_values": list(DEFAULT_BLOCKED_VALUES),
    }
    assert suggestion.mapping["timestamp"] == {"field": "time_hour", "format": ["auto"], "time_zone": "UTC"}
    assert suggestion.mapping["attributes"][0] == {"name": "flights_messages", "type": "integer", "merge": "count"}
    assert types(suggestion)["dep_delay"] == "integer"
    assert types(suggestion)["carrier"] == "string"
    assert "tailnum" not in types(suggestion)
    assert "time_hour" not in types(suggestion)
    assert parse_mapping(suggestion.mapping)
    assert parse_identity(suggestion.identity)
    assert reason(suggestion, "/identities/0") == (
        "`tailnum` is in 100 % of 2,699 messages, is named like an ID, and has about 1,289 distinct values; "
        "under 1 % of its values are placeholders"
    )


def test_planes_have_the_same_identity_and_no_timestamp() -> None:
    suggestion = suggest("planes", example("planes"), reserved=types(suggest("flights", example("flights-2013-01"))))
    assert identities(suggestion) == [("tailnum", "tail")]
    assert suggestion.mapping["timestamp"] is None
    assert (
        reason(suggestion, "/timestamp") == "no field holds a timestamp in most messages, so the arrival time is used"
    )
    assert "year" not in types(suggestion), "the year of construction differs from the year of a flight"
    assert types(suggestion)["planes_year"] == "integer"
    assert types(suggestion)["speed"] == "string", "nearly all values are `NA`"


def test_one_in_fifty_messages_is_enough() -> None:
    with gzip.open(EXAMPLES / "flights-2013-01.csv.gz", "rt") as file:
        suggestion = suggest("flights", stats_of(list(csv.DictReader(file))[::50]))
    assert identities(suggestion) == [("tailnum", "tail")]
    assert suggestion.mapping["timestamp"]["field"] == "time_hour"


def mail(number: int) -> str:
    return f"a{number}@example.org"


@pytest.mark.parametrize(
    ("stream", "fields", "expected"),
    [
        ("people", {"email": mail, "id": int}, [("id", "people"), ("email", "email")]),
        ("visits",
         {"email": lambda n: mail(n) if n % 10 == 0 else None, "anonymousId": str, "userId": str, "page_id": int},
         [("anonymousId", "anonymous"), ("userId", "user"), ("email", "email")]),
        ("orders", {"order_id": int, "customer_id": lambda n: n // 2, "product_id": lambda n: n // 3},
         [("customer_id", "customer")]),
        ("orders", {"order_id": int, "total": 5}, [("order_id", "order")]),
        ("people", {"phone": lambda n: f"+43 664 {1_000_000 + n}", "id": int}, [("id", "people"), ("phone", "phone")]),
        ("people", {"contact": lambda n: f"+43664{1_000_000 + n}"}, [("contact", "phone")]),
        ("people", {"email": mail, "mobile": lambda n: f"0664/{1_000_000 + n}", "home_phone": lambda n: f"01 {n:07}"},
         [("email", "email"), ("home_phone", "phone")]),
        ("people", {"mobileNumber": lambda n: 436_641_000_000 + n}, [("mobileNumber", "phone")]),
        ("people", {"phone_model": lambda n: f"Model {n:07}"}, []),
        ("people", {"cell_id": lambda n: 10_000_000 + n}, [("cell_id", "cell")]),
        ("people", {"user_id": lambda n: 0 if n % 10 else n}, []),
        ("people", {"email": lambda n: "n/a" if n % 3 else mail(n), "user_id": int}, [("user_id", "user")]),
        ("mails", {"sender_email": mail, "recipient_email": mail}, [("recipient_email", "email")]),
        ("contacts", {"email": mail, "email_id": int, "manager_email": mail},
         [("email", "email"), ("email_id", "email_id")]),
        ("crm", {"user": lambda n: {"id": n, "mail": mail(n)}}, [("user.id", "user"), ("user.mail", "email")]),
        ("web", {"visitor": lambda n: f"{n:08x}-2b6c-4f3e-9f9d-5f1f7a1f2c11"}, [("visitor", "visitor")]),
        ("web", {"7": lambda n: f"{n:08x}-2b6c-4f3e-9f9d-5f1f7a1f2c11"}, [("7", "uuid")]),
        ("7", {"id": int}, [("id", "id")]),
        ("seats", {"tail__number": str, "member key": str}, [("member key", "member")]),
        ("odd", {"paid": int, "user_id": 7, "valid": str, "text": "x", "list_id": lambda n: [n]}, []),
        ("odd", {"user_id": lambda n: n if n < 4 else None, "x_id": lambda n: n if n < 40 else ""}, []),
    ],
)  # fmt: skip
def test_identities(stream: str, fields: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    suggestion = suggested(stream, **fields)
    assert identities(suggestion) == expected
    assert [kind["kind"] for kind in suggestion.identity["kinds"]] == [name for _, name in expected]
    forms = {kind["kind"]: kind["format"] for kind in suggestion.identity["kinds"]}
    assert forms == {name: name if name in {"email", "phone"} else "text" for _, name in expected}
    if not expected:
        assert reason(suggestion, "/identities").startswith("no field with distinct values looks like an ID")


def test_active_kinds_stay_and_new_ones_follow() -> None:
    tail = IdentityKind("tail", 3, "Tail number", "phone", "AT", ("N0",), 20)
    rules = IdentityRules((tail, IdentityKind("email", 99, "E-mail")), 50, ("none",))
    stats = stats_of({"tailnum": f"N{number}", "user_id": number, "email": mail(number)} for number in range(50))
    suggestion = suggest("flights", stats, rules)
    assert suggestion.identity == {
        "kinds": [
            {
                "kind": "tail", "rank": 3, "title": "Tail number", "format": "phone", "region": "AT",
                "blocked_values": ["N0"], "fan_in_limit": 20,
            },
            {"kind": "email", "rank": 99, "title": "E-mail", "format": "exact"},
            {"kind": "user", "rank": 99, "title": "User id", "format": "text"},
        ],
        "max_identities": 50,
        "blocked_values": ["none"],
    }  # fmt: skip
    assert identities(suggestion) == [("user_id", "user"), ("lower(email)", "email")], "the format of the kind is exact"
    assert "link all profiles with the same value" in reason(suggestion, "/attributes/1"), "tailnum"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "boolean"),
        ("false", "boolean"),
        (7, "integer"),
        ("7", "integer"),
        (7.5, "number"),
        (lambda n: n / 2, "number"),
        (lambda n: "0.5" if n % 2 else "7", "number"),
        ("2013-01-01", "timestamp"),
        ("London", "string"),
        ("01234", "string"),
        (lambda n: "NA" if n < 5 else str(n), "integer"),
        (lambda n: "NA" if n < 50 else str(n), "string"),
        (lambda n: "seven" if n < 50 else n, "json"),
        ([1, 2], "json"),
        (lambda n: None if n else {"a": 1}, None),
        (None, None),
        ("", None),
    ],
)
def test_the_type_of_nearly_all_values(value: Any, kind: str | None) -> None:
    assert types(suggested("s", value=value, at="2013-01-01")).get("value") == kind


def test_codes_of_digits_are_strings() -> None:
    assert types(suggested("s", phone=lambda n: str(10_000 + n), zip=90_210)) == {
        "s_messages": "integer", "phone": "string", "zip": "integer",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"a": "2013-01-01", "b_at": "2013-01-01"}, ("b_at", "auto")),
        ({"born": "2013-01-01"}, None),
        ({"born": "2013-01-01", "a": "2013-01-01"}, ("a", "auto")),
        ({"a_at": lambda n: "2013-01-01" if n < 60 else None, "b_at": "2013-01-01"}, ("b_at", "auto")),
        ({"a_at": lambda n: "2013-01-01" if n < 40 else None}, None),
        ({"createdTime": 1_700_000_000}, ("createdTime", "epoch_s")),
        ({"datetime": "1700000000000"}, ("datetime", "epoch_ms")),
        ({"phone": 1_700_000_000}, None),
        ({"inside": {"at": "2013-01-01"}, "": "2013-01-01"}, None),
    ],
)
def test_event_time(fields: dict[str, Any], expected: tuple[str, str] | None) -> None:
    timestamp = suggested("s", **fields).mapping["timestamp"]
    assert (timestamp and (timestamp["field"], *timestamp["format"])) == expected


def test_nested_fields_use_expressions_and_unusual_names_are_safe() -> None:
    message = {
        "a": {"b c": 1, "not": {"d": {"e": 1}}},
        "": 1,
        "x\0": 1,
        "\n": 2,
        "n" * 120: 1,
        "n" * 121: 1,
        "\u2028x": 1,
    }
    suggestion = suggest("s", stats_of([message]))
    sources = {
        attribute["name"]: attribute.get("expr") or attribute.get("field")
        for attribute in suggestion.mapping["attributes"]
    }
    assert sources == {
        "s_messages": None, "_": "\n", "_x": "\u2028x", "a.b c": "a.`b c`", "a.not.d": "a.`not`.d",
        "n" * 100: "n" * 120,
    }  # fmt: skip
    excluded = [reason.text for reason in suggestion.reasons if reason.pointer == "/attributes"]
    assert len(excluded) == 2


def test_the_number_of_attributes_is_bounded() -> None:
    assert len(suggested("s", **{f"f{number}": number for number in range(600)}).mapping["attributes"]) == 500


def test_names_are_split_into_words() -> None:
    named = {name: parse_id_name("flights", (name,)) for name in ("USER-ID", "userUUID", "customerid", "paid", "", "é")}
    assert {name: facts.kind for name, facts in named.items() if facts} == {
        "USER-ID": "user", "userUUID": "user", "customerid": "customer",
    }  # fmt: skip
    assert expression_of(("a", "b`c", "true")) == "a.`b``c`.`true`"
    assert attribute_name(" \x1b ", 5) == "_"
    assert (title_of(("userId",)), title_of(("7",))) == ("User id", "Id")


def test_placeholders_do_not_hide_an_identity() -> None:
    suggestion = suggested("people", email=lambda n: mail(n) if n % 2 else ("N/A", "null")[n % 4 // 2], note="none")
    assert identities(suggestion) == [("email", "email")]
    assert reason(suggestion, "/identities/0").endswith("; 50 % of its values are placeholders")
    assert types(suggestion)["note"] == "string"
    placeholders = suggested("people", 200, user_id=lambda n: ("n/a", "N/A", "null", "none")[n % 4])
    assert identities(placeholders) == []


def test_a_field_of_mostly_placeholders_is_no_identity() -> None:
    suggestion = suggested(
        "people", email=lambda n: "n/a" if n % 4 else mail(n), visitor_id=lambda n: -1 if n % 2 else n + 1
    )
    assert identities(suggestion) == [("visitor_id", "visitor")]
    assert reason(suggestion, "/attributes/1").endswith("it is no identity, as 75 % of its values are placeholders")
    assert reason(suggestion, "/identities/0").endswith("; 50 % of its values are placeholders")


def test_a_field_whose_values_would_link_many_others_is_no_identity() -> None:
    fields = {"email": mail, "client_id": lambda n: n // 60, "contact_id": lambda n: n // 40}
    suggestion = suggested("people", 6_000, **fields)
    assert identities(suggestion) == [("email", "email"), ("contact_id", "contact")]
    assert "as an identity each of its values would link about 5" in reason(suggestion, "/attributes/1")
    rules = IdentityRules((IdentityKind("client", 1, "Client", fan_in_limit=100),))
    stats = stats_of({name: value(number) for name, value in fields.items()} for number in range(6_000))
    assert ("client_id", "client") in identities(suggest("people", stats, rules))


def test_values_that_link_too_many_others_are_blocked_and_their_kinds_avoided() -> None:
    stats = stats_of({"email": mail(number), "client_id": number} for number in range(100))
    shared = {"email": ["info@shop.example", "a@shop.example"], "client": [str(number) for number in range(20)]}
    rules = IdentityRules((IdentityKind("email", 0, "E-mail", "email", blocked_values=("b@shop.example",)),))
    suggestion = suggest("people", stats, rules, shared=shared)
    assert identities(suggestion) == [("email", "email")]
    (kind,) = suggestion.identity["kinds"]
    assert kind["blocked_values"] == ["a@shop.example", "b@shop.example", "info@shop.example"]
    assert reason(suggestion, "/identities/0").endswith(
        "; the identity rules block 2 of its values, which link too many others"
    )
    assert reason(suggestion, "/attributes/1").endswith(
        "it is no identity, as 20 values of the identity type client link too many others"
    )


def test_contacts_use_the_kinds_that_have_their_format() -> None:
    stats = stats_of({"mail": mail(n), "phone": f"+43 664 {n:07}" if n % 4 else f"0664 {n:07}"} for n in range(1, 101))
    kinds = (IdentityKind("mobile", 1, "Mobile", "phone", "AT"), IdentityKind("work_mail", 2, "Mail", "email"))
    suggestion = suggest("people", stats, IdentityRules(kinds))
    assert identities(suggestion) == [("mail", "work_mail"), ("phone", "mobile")]
    assert len(suggestion.identity["kinds"]) == 2
    assert "looks like a phone number (25 % without a country code" in reason(suggestion, "/identities/1")


def test_a_field_of_different_blank_texts_is_no_identity() -> None:
    suggestion = suggested(
        "people", email=lambda number: f"p{number}@example.com", note=lambda number: " " * (number % 3)
    )
    assert [field for field, _ in identities(suggestion)] == ["email"]


def test_sketches_are_merged_and_names_of_other_streams_avoided() -> None:
    sketches = [
        stats_of({"email": f"{i}@b.example", "city": "Graz"} for i in range(n, n + 60)).to_json() for n in (0, 60)
    ]
    bodies = {
        "identity": json.dumps({"kinds": [{"kind": "phone", "rank": 4, "title": "Phone"}]}),
        "mapping:orders": json.dumps({"attributes": [{"name": "city"}]}),
        "mapping:visits": json.dumps({"attributes": [{"name": "email"}]}),
    }
    suggestion = suggest_beside("visits", sketches, bodies)
    assert suggestion.sampled == 120
    assert [kind["kind"] for kind in suggestion.identity["kinds"]] == ["phone", "email"]
    assert [attribute["name"] for attribute in suggestion.mapping["attributes"]] == ["visits_messages", "visits_city"]
    assert suggest_beside("visits", sketches, {}).identity["kinds"][0]["rank"] == 0
