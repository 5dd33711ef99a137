"""Rules are drafted and applied; a refusal has a code and changes nothing."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from projections.definitions.body_checks import InvalidBodyError, check_applied, check_draft
from projections.definitions.definition import Definition, bytes_of
from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.rules import Rules
from projections.definitions.state import EMPTY, MAX_BODIES_BYTES, handle
from projections.json_object import MAX_JSON_BYTES
from schemas.definitions import DefinitionCommand
from tests.unit.projections.definitions.scenario import (
    FLIGHTS,
    START,
    apply,
    discard,
    draft,
    given,
    identity,
    mapping,
    no_definitions,
)


def test_a_mapping_is_drafted_and_applied() -> None:
    body = json.dumps(mapping(origin="latest"))
    scenario = given(draft(body=body))
    assert scenario.outcome == [("DefinitionDrafted", {"version": 1, "body": body})]
    scenario = scenario.when(apply())
    assert scenario.outcome == [("DefinitionApplied", {"version": 1, "body": body})]
    assert scenario.state.rules.mappings["flights"].version == 1
    found = scenario.state.definitions[FLIGHTS]
    assert (found.version, found.draft, found.applied and found.applied.body) == (1, None, body)


def test_a_draft_changes_nothing_until_it_is_applied() -> None:
    scenario = given(draft(body=mapping(origin="latest")), apply(), draft(body=mapping(origin="first")))
    assert scenario.state.rules.mappings["flights"].version == 1
    assert scenario.when(apply(version=2)).state.rules.mappings["flights"].version == 2


def test_a_discarded_version_number_is_not_reused() -> None:
    scenario = given(draft(), discard())
    assert scenario.outcome == [("DraftDiscarded", {"version": 1})]
    assert scenario.when(draft()).outcome[0][1]["version"] == 2


def test_only_the_expected_draft_version_is_applied() -> None:
    scenario = given(draft(), draft())
    assert scenario.when(apply(version=1)).refused("version_mismatch", version=2, expected=1).version == 2
    scenario.when(apply(version=2), apply(version=2)).refused("no_draft")
    given(apply()).refused("no_draft")
    given(discard()).refused("no_draft")


def test_a_concurrent_draft_is_refused() -> None:
    first, second = draft(expected_version=0), draft(expected_version=0)
    refused = given(first, second).refused("version_mismatch", version=1, expected=0)
    assert (refused.seq, refused.version) == (2, 1)
    given(draft(expected_version=3)).refused("version_mismatch", version=0, expected=3)
    assert given(first, draft(expected_version=1)).outcome[0][0] == "DefinitionDrafted"
    given(first, discard(expected_version=9)).refused("version_mismatch")


@pytest.mark.parametrize(
    "command",
    [
        draft("forgetting:1"),
        draft("mapping:"),
        draft("mapping:a\nb"),
        draft("Identity"),
        apply("mappings:flights"),
    ],
)
def test_invalid_definition_ids_are_refused(command: DefinitionCommand) -> None:
    scenario = given(command)
    assert scenario.refused("no_such_definition").seq == 0
    assert set(scenario.state.definitions) == {"identity"}


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ("", "", "not_a_json_object"),
        ("[]", "", "not_a_json_object"),
        ('{"a": NaN}', "", "not_a_json_object"),
        ('{"a":' * 201 + "1" + "}" * 201, "", "not_a_json_object"),
        (json.dumps({"a": "x" * MAX_JSON_BYTES}), "", "json_too_large"),
        (r'{"\ud800": 1}', "", "surrogate_in_text"),
        ('{"a/b": [0, 9223372036854775807, {"c": 9223372036854775808}]}', "/a~1b/2/c", "integer_too_large"),
        ('{"a": 1e999}', "/a", "number_too_large"),
        ('{"identities": []}', "/identities", "not_a_list"),
    ],
)
def test_an_invalid_body_is_refused(body: str, pointer: str, code: str) -> None:
    refused = given(draft(body=body)).refused("invalid_body", cause=code, at=pointer, more=0)
    assert [(error.pointer, error.code) for error in refused.errors] == [(pointer, code)]


def test_all_problems_are_reported_together() -> None:
    refused = given(draft(body={"identities": [{"kind": "Tail"}], "attributes": [{}], "surprise": 1}))
    assert len(refused.refused("invalid_body").errors) > 4
    refused = given(draft("identity", {"kinds": [{"kind": "tail", "rank": 100}]}))
    assert [error.pointer for error in refused.refused("invalid_body").errors] == ["/kinds/0/rank"]


def test_an_attribute_with_another_merge_rule_in_another_stream_is_refused() -> None:
    scenario = given(draft("mapping:a", mapping(name="latest", city="first")), apply("mapping:a"))
    scenario = scenario.when(draft("mapping:b", mapping(city="first", name="union")))
    refused = scenario.when(apply("mapping:b")).refused("conflict", cause="attribute_conflict")
    assert [error.pointer for error in refused.errors] == ["/attributes/1"]
    agreed = scenario.when(draft("mapping:b", mapping(city="first")), apply("mapping:b", 2))
    assert set(agreed.state.rules.mappings) == {"a", "b"}
    first = scenario.when(draft("mapping:a/0~", mapping(name="min")), apply("mapping:a/0~"))
    assert first.refused("conflict").errors[0].pointer == "/attributes/0"


def test_a_conflict_in_another_stream_names_it() -> None:
    scenario = given(
        draft("mapping:z/~", mapping(name="latest")), apply("mapping:z/~"), draft("mapping:a", mapping(name="max"))
    )
    (error,) = scenario.when(apply("mapping:a")).refused("conflict").errors
    assert (error.pointer, error.code) == ("", "conflicting_definition")
    assert (error.params["definition"], error.params["cause"]) == ("mapping:z/~", "attribute_conflict")


def test_identity_rules_must_have_the_kinds_that_mappings_use() -> None:
    alone = no_definitions().when(draft(), apply())
    assert alone.refused("conflict", cause="unknown_identity_kind").errors[0].pointer == "/identities/0/kind"
    other = identity(kinds=[{"kind": "email", "rank": 0}])
    scenario = given(draft(), apply(), draft("identity", other), apply("identity", 2))
    (error,) = scenario.refused("conflict", cause="conflicting_definition").errors
    assert (error.params["definition"], error.params["cause"]) == ("mapping:flights", "unknown_identity_kind")


def test_active_rules_that_this_version_refuses_are_named() -> None:
    good = given(draft()).state.definitions[FLIGHTS].draft
    assert good
    rules = Rules(
        identity=VersionedBody(1, json.dumps(identity())), mappings={"old": VersionedBody(1, '{"identities": 7}')}
    )
    with pytest.raises(InvalidBodyError) as refused:
        check_applied(rules, FLIGHTS, good.body)
    assert refused.value.errors[0].params.items() >= {"definition": "mapping:old", "cause": "not_a_list"}.items()
    with pytest.raises(InvalidBodyError) as refused:
        check_applied(rules, "mapping:old", '{"identities": 8}')
    assert refused.value.errors[0].pointer == "/identities"
    check_applied(rules, "mapping:old", good.body)
    check_draft(rules.identity, FLIGHTS, good.body)
    with pytest.raises(InvalidBodyError) as refused:
        check_draft(None, FLIGHTS, good.body)
    assert refused.value.errors[0].code == "unknown_identity_kind"
    with pytest.raises(InvalidBodyError):
        check_draft(rules.identity, FLIGHTS, "{}")


def test_a_stream_may_change_an_attribute_of_its_own() -> None:
    scenario = given(draft("mapping:a", mapping(name="latest")), apply("mapping:a"))
    scenario = scenario.when(draft("mapping:a", mapping(name="union")), apply("mapping:a", 2))
    assert scenario.outcome[0][0] == "DefinitionApplied"


def test_identity_rules_have_versions() -> None:
    scenario = given()
    assert scenario.state.rules.identity
    assert scenario.state.rules.identity.version == 1
    assert scenario.state.rules.mappings == {}


def large_mapping() -> dict[str, Any]:
    """A mapping that is nearly as large as one may be."""
    constant = {"type": "string", "merge": "latest", "constant": "x" * 3_900}
    return mapping() | {"attributes": [{"name": f"a{n}", **constant} for n in range(65)]}


def test_the_total_size_of_all_bodies_is_bounded() -> None:
    large, scenario, streams = large_mapping(), given(), 0
    while (scenario := scenario.when(draft(f"mapping:{streams}", large))).outcome[0][0] == "DefinitionDrafted":
        streams += 1
    scenario.refused("too_much")
    assert sum(map(bytes_of, scenario.state.definitions.values())) <= MAX_BODIES_BYTES
    assert streams == 24
    again = scenario.when(discard("mapping:3"), draft("mapping:new", large))
    assert again.outcome[0][0] == "DefinitionDrafted"


def test_invalid_envelopes_are_refused() -> None:
    given(draft(rules=2)).refused("unknown_rules")
    given(draft(issued_at=datetime(9999, 1, 1, tzinfo=UTC))).refused("bad_time")


def test_time_never_goes_back() -> None:
    scenario = no_definitions().when(draft(), draft(issued_at=START - timedelta(days=1)))
    assert scenario.events[0].occurred_at == START
    assert scenario.when(draft(issued_at=datetime.max.replace(tzinfo=UTC))).events[0].occurred_at == START
    assert scenario.when(discard()).events[0].occurred_at == START + timedelta(minutes=2)


def test_a_repeated_command_is_ignored() -> None:
    scenario = given(draft(command_id="once"), draft())
    assert scenario.when(draft(command_id="once")).events == ()
    command = draft(command_id="other", issued_at=START)
    assert handle(scenario.state, command, 1) == (scenario.state, ())
    assert len(handle(EMPTY, command, 0)[1]) == 1


def test_a_definition_remembers_its_latest_commands() -> None:
    scenario = no_definitions().when(*(draft() for _ in range(30)))
    found = scenario.state.definitions[FLIGHTS]
    assert isinstance(found, Definition)
    assert found.recent_commands == tuple(f"command-{n}" for n in range(14, 30))
