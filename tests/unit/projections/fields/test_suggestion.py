"""A first mapping, suggested: right for the example data, cautious about who is who, each choice with a reason."""

import csv
import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from projections.fields.field_names import attribute_name, expression_of, id_named, title_of
from projections.fields.field_stats import FieldStats
from projections.fields.suggestion import Suggestion, suggest
from projections.mapping.mapping import IdentityKind, IdentityRules, parse_identity, parse_mapping

EXAMPLES = Path(__file__).resolve().parents[4] / "examples"


def looked_at(messages: Iterable[dict[str, Any]]) -> FieldStats:
    stats = FieldStats()
    for each in messages:
        stats.look(each, 0)
    return stats


def example(name: str) -> FieldStats:
    with gzip.open(EXAMPLES / f"{name}.csv.gz", "rt") as file:
        return looked_at(csv.DictReader(file))


def suggested(stream: str, count: int = 100, **fields: Any) -> Suggestion:
    """Suggest from messages whose fields are given: a callable takes the number of the message."""
    messages = (
        {name.replace("__", " "): each(number) if callable(each) else each for name, each in fields.items()}
        for number in range(count)
    )
    return suggest(stream, looked_at(messages))


def identities(found: Suggestion) -> list[tuple[str, str]]:
    return [(each.get("field") or each["expr"], each["kind"]) for each in found.mapping["identities"]]


def types(found: Suggestion) -> dict[str, str]:
    return {each["name"]: each["type"] for each in found.mapping["attributes"]}


def why(found: Suggestion, pointer: str) -> str:
    (text,) = (each.text for each in found.reasons if each.pointer == pointer)
    return text


def test_flights_are_of_the_plane_with_that_tail_number() -> None:
    found = suggest("flights", example("flights-2013-01"))
    assert identities(found) == [("tailnum", "tail")]
    assert found.identity == {"kinds": [{"kind": "tail", "rank": 0, "title": "Tailnum"}], "max_identities": 1000}
    assert found.mapping["timestamp"] == {"field": "time_hour", "format": ["auto"], "time_zone": "UTC"}
    assert found.mapping["attributes"][0] == {"name": "flights_messages", "type": "integer", "merge": "count"}
    assert types(found)["dep_delay"] == "integer"
    assert types(found)["carrier"] == "string"
    assert "tailnum" not in types(found)
    assert "time_hour" not in types(found)
    assert parse_mapping(found.mapping)
    assert parse_identity(found.identity)
    assert why(found, "/identities/0") == (
        "`tailnum` is in 100 % of 2,699 messages, is named like an id, and has about 1,289 different values"
    )


def test_planes_have_the_same_identity_and_no_time() -> None:
    found = suggest("planes", example("planes"), taken=types(suggest("flights", example("flights-2013-01"))))
    assert identities(found) == [("tailnum", "tail")]
    assert found.mapping["timestamp"] is None
    assert why(found, "/timestamp") == "no field is a time in most messages: the time when they came counts"
    assert "year" not in types(found), "it is when the plane was built, and that of flights is another"
    assert types(found)["planes_year"] == "integer"
    assert types(found)["speed"] == "string", "nearly all are `NA`"


def test_one_in_fifty_messages_is_enough() -> None:
    with gzip.open(EXAMPLES / "flights-2013-01.csv.gz", "rt") as file:
        found = suggest("flights", looked_at(list(csv.DictReader(file))[::50]))
    assert identities(found) == [("tailnum", "tail")]
    assert found.mapping["timestamp"]["field"] == "time_hour"


def mail(number: int) -> str:
    return f"a{number}@example.org"


@pytest.mark.parametrize(
    ("stream", "fields", "expected"),
    [
        ("people", {"email": mail, "id": int}, [("id", "people"), ("lower(email)", "email")]),
        ("visits",
         {"email": lambda n: mail(n) if n % 10 == 0 else None, "anonymousId": str, "userId": str, "page_id": int},
         [("anonymousId", "anonymous"), ("userId", "user"), ("lower(email)", "email")]),
        ("orders", {"order_id": int, "customer_id": lambda n: n // 2, "product_id": lambda n: n // 3},
         [("customer_id", "customer")]),
        ("orders", {"order_id": int, "total": 5}, [("order_id", "order")]),
        ("mails", {"sender_email": mail, "recipient_email": mail}, [("lower(recipient_email)", "email")]),
        ("contacts", {"email": mail, "email_id": int, "manager_email": mail},
         [("lower(email)", "email"), ("email_id", "email_id")]),
        ("crm", {"user": lambda n: {"id": n, "mail": mail(n)}}, [("user.id", "user"), ("lower(user.mail)", "email")]),
        ("web", {"visitor": lambda n: f"{n:08x}-2b6c-4f3e-9f9d-5f1f7a1f2c11"}, [("visitor", "visitor")]),
        ("web", {"7": lambda n: f"{n:08x}-2b6c-4f3e-9f9d-5f1f7a1f2c11"}, [("7", "uuid")]),
        ("7", {"id": int}, [("id", "id")]),
        ("seats", {"tail__number": str, "member key": str}, [("member key", "member")]),
        ("odd", {"paid": int, "user_id": 7, "valid": str, "text": "x", "list_id": lambda n: [n]}, []),
        ("odd", {"user_id": lambda n: n if n < 4 else None, "x_id": lambda n: n if n < 40 else ""}, []),
    ],
)  # fmt: skip
def test_who_a_message_is_of(stream: str, fields: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    found = suggested(stream, **fields)
    assert identities(found) == expected
    assert [each["kind"] for each in found.identity["kinds"]] == [kind for _, kind in expected]
    if not expected:
        assert why(found, "/identities").startswith("no field with different values looks like an id")


def test_kinds_in_force_stay_and_new_ones_come_behind() -> None:
    rules = IdentityRules((IdentityKind("tail", 3, "Tail number"), IdentityKind("email", 99, "E-mail")), 50)
    stats = looked_at({"tailnum": f"N{number}", "user_id": number, "email": mail(number)} for number in range(50))
    found = suggest("flights", stats, rules)
    assert found.identity == {
        "kinds": [
            {"kind": "tail", "rank": 3, "title": "Tail number"},
            {"kind": "email", "rank": 99, "title": "E-mail"},
            {"kind": "user", "rank": 99, "title": "User id"},
        ],
        "max_identities": 50,
    }
    assert "join all that share a value" in why(found, "/attributes/1"), "tailnum"


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
def test_the_type_that_nearly_all_values_have(value: Any, kind: str | None) -> None:
    assert types(suggested("s", value=value, at="2013-01-01")).get("value") == kind


def test_digits_may_be_no_number() -> None:
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
def test_when_a_message_was(fields: dict[str, Any], expected: tuple[str, str] | None) -> None:
    timestamp = suggested("s", **fields).mapping["timestamp"]
    assert (timestamp and (timestamp["field"], *timestamp["format"])) == expected


def test_what_is_inside_is_read_by_expressions_and_odd_names_do_no_harm() -> None:
    message = {
        "a": {"b c": 1, "not": {"d": {"e": 1}}},
        "": 1,
        "x\0": 1,
        "\n": 2,
        "n" * 120: 1,
        "n" * 121: 1,
        "\u2028x": 1,
    }
    found = suggest("s", looked_at([message]))
    sources = {each["name"]: each.get("expr") or each.get("field") for each in found.mapping["attributes"]}
    assert sources == {
        "s_messages": None, "_": "\n", "_x": "\u2028x", "a.b c": "a.`b c`", "a.not.d": "a.`not`.d",
        "n" * 100: "n" * 120,
    }  # fmt: skip
    left_out = [each.text for each in found.reasons if each.pointer == "/attributes"]
    assert len(left_out) == 2


def test_attributes_are_not_more_than_a_mapping_may_have() -> None:
    assert len(suggested("s", **{f"f{number}": number for number in range(600)}).mapping["attributes"]) == 500


def test_names_are_read_as_people_write_them() -> None:
    named = {name: id_named("flights", (name,)) for name in ("USER-ID", "userUUID", "customerid", "paid", "", "é")}
    assert {name: each.kind for name, each in named.items() if each} == {
        "USER-ID": "user", "userUUID": "user", "customerid": "customer",
    }  # fmt: skip
    assert expression_of(("a", "b`c", "true")) == "a.`b``c`.`true`"
    assert attribute_name(" \x1b ", 5) == "_"
    assert (title_of(("userId",)), title_of(("7",))) == ("User id", "Id")
