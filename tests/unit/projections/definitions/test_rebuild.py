"""Rebuilds: what is refused, and the rules after a promotion."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from projections.definitions.rebuild_spec import RebuildSpec, Scope, VersionedBody, parse_spec, spec_text
from projections.definitions.rules import NO_RULES, evolve_rules
from projections.definitions.state import basis_hash, basis_of, evolve
from projections.mapping.body_parser import InvalidRulesError
from schemas.definitions import (
    ApplyDefinition,
    DefinitionApplied,
    DefinitionRefused,
    DraftDefinition,
    RebuildPromoted,
    StartRebuild,
)
from tests.golden.definition_histories import (
    FLIGHTS,
    RecordedDefinitions,
    identity,
    mapping,
    rebuilt_promoted_and_discarded,
)

AT = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
ENVELOPE: dict[str, Any] = {
    "event_id": "e",
    "seq": 1,
    "occurred_at": AT,
    "command_id": "c",
    "actor": "user:ada",
    "rules": 1,
}


def promoted(generation: int, spec: str, command_offset: int = 9) -> RebuildPromoted:
    return RebuildPromoted(
        **ENVELOPE, definition_id="rebuild:1", command_offset=command_offset, generation=generation, spec=spec
    )


def test_a_history_of_rebuilds_ends_in_the_expected_state() -> None:
    scenario = rebuilt_promoted_and_discarded()
    codes = [event.code for event in scenario.events if isinstance(event, DefinitionRefused)]
    assert codes == [
        "not_ready", "busy", "report_too_large", "version_mismatch", "not_under_way", "exists", "outdated",
        "invalid_body", "invalid_body", "invalid_body", "invalid_body", "no_such_rebuild", "no_such_rebuild",
    ]  # fmt: skip
    rules = scenario.state.rules
    assert (rules.generation, rules.mappings["flights"].version) == (2, 4)
    assert {name: rebuild.status for name, rebuild in scenario.state.rebuilds.items()} == {
        "rebuild:1": "promoted", "rebuild:3": "discarded", "rebuild:9": "promoted",
    }  # fmt: skip
    assert not any(rebuild.spec for rebuild in scenario.state.rebuilds.values())


def test_a_promotion_applies_its_drafts_and_removes_other_mappings() -> None:
    scenario = rebuilt_promoted_and_discarded()
    started = next(event for event in scenario.events if isinstance(event, RebuildPromoted))
    assert parse_spec(started.spec).mappings["flights"].version == 2
    again = RecordedDefinitions()
    for command in scenario.commands[
        : scenario.commands.index(next(c for c in scenario.commands if c.command_id == started.command_id)) + 1
    ]:
        again.send(type(command), command.definition_id, **{
            name: getattr(command, name) for name in type(command).__dataclass_fields__ if name != "definition_id"
        })  # fmt: skip
    flights = again.state.definitions[FLIGHTS]
    assert flights.applied == VersionedBody(2, mapping("first"))
    assert flights.draft is None
    began = 1_767_225_600_000_000
    assert again.state.rules.scope == Scope(1_357_016_400_000_000, None, began, {"job-0": began, "job-1": began})


def test_a_rebuild_of_outdated_rules_is_refused() -> None:
    scenario = RecordedDefinitions()
    for name, body in (("identity", identity("tail")), (FLIGHTS, mapping("latest")), (FLIGHTS, mapping("first"))):
        scenario.send(DraftDefinition, name, body=body)
    scenario.send(ApplyDefinition, "identity", version=1)
    scenario.send(ApplyDefinition, FLIGHTS, version=2)
    text, basis = spec_text(scenario.state.rules.spec), basis_hash(basis_of(scenario.state.rules))
    scenario.send(DraftDefinition, FLIGHTS, body=mapping("min"))
    scenario.send(ApplyDefinition, FLIGHTS, version=3)
    scenario.send(StartRebuild, "rebuild:1", spec=text, basis=basis)
    refused = scenario.events[-1]
    assert isinstance(refused, DefinitionRefused)
    assert refused.code == "outdated"
    text, basis = spec_text(scenario.state.rules.spec), basis_hash(basis_of(scenario.state.rules))
    scenario.send(StartRebuild, "rebuild:2", spec=text, basis=basis)
    assert scenario.state.rebuilds["rebuild:2"].is_under_way
    assert scenario.state.basis == basis_of(scenario.state.rules)


def test_a_spec_counts_towards_the_total_size() -> None:
    scenario = RecordedDefinitions()
    scenario.send(DraftDefinition, "identity", body=identity("tail"))
    scenario.send(ApplyDefinition, "identity", version=1)
    scenario.send(
        StartRebuild, "rebuild:1", spec=json.dumps({"excluded": {f"{number:0200}": 7 for number in range(35_000)}})
    )
    (refused,) = [event for event in scenario.events if isinstance(event, DefinitionRefused)]
    assert refused.code == "too_much"


def test_a_note_with_control_characters_is_refused() -> None:
    scenario = RecordedDefinitions()
    scenario.send(DraftDefinition, "identity", body=identity("tail"))
    scenario.send(ApplyDefinition, "identity", version=1)
    scenario.send(StartRebuild, "rebuild:1", spec="{}", note="two\nlines\x1b[2J")
    (refused,) = [event for event in scenario.events if isinstance(event, DefinitionRefused)]
    assert refused.code == "bad_note"


def test_a_spec_survives_the_round_trip() -> None:
    scope = Scope(since=-5, until=7, until_set_at=9, excluded={"b": 4, "a": -3})
    spec = RebuildSpec(VersionedBody(1, "{}"), {"a": VersionedBody(2, "{}")}, scope)
    assert parse_spec(spec_text(spec)) == spec
    assert parse_spec(spec_text(RebuildSpec())) == RebuildSpec()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("7", "/: not_an_object"),
        ("[" * 100_000, "/: not_an_object"),
        ('{"mappings": 7}', "/mappings"),
        ('{"mappings": {"a": {"version": 0, "body": "{}"}}}', "/mappings/a/version"),
        ('{"identity": {"version": 1}}', "/identity/body"),
        ('{"since": "yesterday"}', "/since"),
        ('{"excluded": ["job"]}', "/excluded: not_an_object"),
        ('{"excluded": {"": 7}}', "/excluded: bad_job_id"),
        ('{"excluded": {"job": "now"}}', "/excluded/job"),
        (json.dumps({"excluded": {str(number): 7 for number in range(10_001)}}), "/excluded: too_many_jobs"),
        ('{"more": 1}', "/more: unknown_member"),
    ],
)
def test_an_invalid_spec_is_refused_with_a_pointer(text: str, wrong: str) -> None:
    with pytest.raises(InvalidRulesError, match=wrong):
        parse_spec(text)


def test_a_scope_includes_its_time_range_and_later_messages() -> None:
    scope = Scope(since=10, until=20, until_set_at=30)
    assert [at for at in (9, 10, 19, 20, 29, 30, 31) if scope.includes(at)] == [10, 19, 30, 31]
    assert Scope(since=10).includes(25)


def test_an_excluded_job_stays_excluded_up_to_its_own_time() -> None:
    scope = Scope(until_set_at=30, excluded={"early": 10, "late": 30})
    excluded = [(job, at) for job in ("early", "late", "other") for at in (9, 10, 29, 30) if scope.excludes(job, at)]
    assert excluded == [("early", 9), ("late", 9), ("late", 10), ("late", 29)]


def test_a_promotion_is_applied_once_and_older_events_are_ignored() -> None:
    one = RebuildSpec(mappings={"a": VersionedBody(2, "{}")}, scope=Scope(excluded={"job": 7}))
    rules = evolve_rules(NO_RULES, promoted(1, spec_text(one)))
    assert rules.spec == one
    assert rules.generation == 1
    assert evolve_rules(rules, promoted(1, spec_text(RebuildSpec()))) == rules
    assert evolve_rules(rules, promoted(2, "nonsense")) == rules
    applied = DefinitionApplied(**ENVELOPE, definition_id="mapping:a", command_offset=9, version=3, body="{}")
    assert evolve_rules(rules, applied) == rules
    assert evolve_rules(rules, replace(applied, command_offset=10)).mappings["a"].version == 3


def test_a_forged_promotion_with_an_unreadable_spec_changes_no_rules() -> None:
    scenario = RecordedDefinitions()
    scenario.send(StartRebuild, "rebuild:1", spec="{}")
    before = scenario.state
    forged = replace(promoted(1, "nonsense", command_offset=before.command_offset + 1), seq=2)
    after = evolve(before, forged)
    assert after.rebuilds["rebuild:1"].status == "promoted"
    assert (after.rules, after.promotion) == (before.rules, before.promotion)


def test_a_spec_without_the_messages_of_a_job_keeps_all_else() -> None:
    spec = RebuildSpec(scope=Scope(since=5, excluded={"a": 7}))
    assert spec.without("b", 9) == RebuildSpec(scope=Scope(since=5, excluded={"a": 7, "b": 9}))
    assert spec.without("a", 9).scope.excludes("a", 8)
