"""The preview of a mapping for one message: the attributes of the profile, and the faults."""

from projections.mapping.mapper import make_mapper
from projections.mapping.mapping import parse_identity, parse_mapping
from projections.mapping.preview import PreviewFault, preview

KINDS = parse_identity({"kinds": [{"kind": "email", "rank": 0}, {"kind": "cookie", "rank": 5}]})
PEOPLE = parse_mapping(
    {
        "identities": [{"field": "cookie", "kind": "cookie"}, {"field": "email", "kind": "email"}],
        "attributes": [
            {"name": "spent", "field": "spent", "type": "number", "merge": "sum"},
            {"name": "tags", "field": "tag", "type": "string", "merge": "union"},
            {"name": "age", "field": "age", "type": "integer", "merge": "latest"},
        ],
        "timestamp": {"field": "when", "format": ["auto"], "time_zone": "UTC"},
    }
)


def test_attributes_equal_those_of_a_profile() -> None:
    mapper = make_mapper("people", PEOPLE, KINDS)
    message = {"cookie": "c", "email": "a", "spent": 1.5, "tag": "new", "age": "old", "when": "1970-01-01T00:00:02Z"}
    result = preview(mapper, message, 7, "b", 3)
    assert (result.at, result.identities) == (2_000_000, ("email:a", "cookie:c"))
    assert result.attributes == {"spent": 1.5, "tags": ["new"]}
    assert result.faults == (PreviewFault("attribute age", "wrong_type", "'old'"),)
    assert preview(mapper, {"email": "b", "age": 3}, 7, "b", 4).faults == (), "faults are reported once"


def test_blocked_and_invalid_identities_are_shown() -> None:
    kinds = [{"kind": "email", "rank": 0, "format": "email"}, {"kind": "cookie", "rank": 5, "format": "text"}]
    mapper = make_mapper("people", PEOPLE, parse_identity({"kinds": kinds, "blocked_values": ["n/a"]}))
    result = preview(mapper, {"cookie": "N/A", "email": "Ada@Example.com"}, 7, "b", 0)
    assert result.identities == ("email:ada@example.com",)
    assert result.faults == (PreviewFault("identity cookie", "blocked_identity", "'n/a'"),)
    result = preview(mapper, {"cookie": "c", "email": "ada"}, 7, "b", 1)
    assert result.identities == ("cookie:c",)
    assert result.faults == (PreviewFault("identity email", "bad_email", "'ada'"),)


def test_a_message_without_identity_has_no_attributes() -> None:
    result = preview(make_mapper("people", PEOPLE, KINDS), {"age": 3}, 7, "b", 0)
    assert (result.at, result.identities, result.attributes, result.faults) == (7, (), {}, ())


def test_a_costly_expression_is_a_fault() -> None:
    splits = "coalesce(" + ", ".join(["split(long, 'x', -99999)"] * 75) + ")"
    attributes = [{"name": "part", "expr": splits, "type": "string", "merge": "latest"}]
    rules = parse_mapping({"identities": [{"field": "email", "kind": "email"}], "attributes": attributes})
    result = preview(make_mapper("people", rules, KINDS), {"email": "a", "long": "x" * 60_000}, 7, "b", 0)
    assert (result.identities, result.attributes) == (("email:a",), {})
    assert [(fault.part, fault.code) for fault in result.faults] == [("attribute part", "too_costly")]
