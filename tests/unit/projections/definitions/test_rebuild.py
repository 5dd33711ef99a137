"""Rebuilds as people meet them: what is refused and why, and what the rules are once one is promoted."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from projections.definitions.rebuild_spec import AppliedBody, RebuildSpec, Scope, read_recipe, recipe_text
from projections.definitions.rules import NO_RULES, fold
from projections.definitions.state import basis_of, basis_text
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


def promoted(generation: int, recipe: str, command_offset: int = 9) -> RebuildPromoted:
    return RebuildPromoted(
        **ENVELOPE, definition_id="rebuild:1", command_offset=command_offset, generation=generation, recipe=recipe
    )


def test_the_story_of_some_rebuilds_ends_where_it_should() -> None:
    told = rebuilt_promoted_and_discarded()
    codes = [each.code for each in told.events if isinstance(each, DefinitionRefused)]
    assert codes == [
        "not_ready", "busy", "report_too_large", "version_mismatch", "not_under_way", "exists", "outdated",
        "invalid_body", "invalid_body", "invalid_body", "invalid_body", "no_such_rebuild", "no_such_rebuild",
    ]  # fmt: skip
    rules = told.state.rules
    assert (rules.generation, rules.mappings["flights"].version) == (2, 4)
    assert {name: each.status for name, each in told.state.rebuilds.items()} == {
        "rebuild:1": "promoted", "rebuild:3": "discarded", "rebuild:9": "promoted",
    }  # fmt: skip
    assert not any(each.recipe for each in told.state.rebuilds.values())


def test_a_promoted_draft_is_no_draft_any_more_and_a_stream_left_out_has_no_mapping() -> None:
    told = rebuilt_promoted_and_discarded()
    started = next(each for each in told.events if isinstance(each, RebuildPromoted))
    assert read_recipe(started.recipe).mappings["flights"].version == 2
    again = RecordedDefinitions()
    for command in told.commands[
        : told.commands.index(next(c for c in told.commands if c.command_id == started.command_id)) + 1
    ]:
        again.send(type(command), command.definition_id, **{
            name: getattr(command, name) for name in type(command).__dataclass_fields__ if name != "definition_id"
        })  # fmt: skip
    flights = again.state.definitions[FLIGHTS]
    assert flights.applied == AppliedBody(2, mapping("first"))
    assert flights.draft is None
    began = 1_767_225_600_000_000
    assert again.state.rules.scope == Scope(1_357_016_400_000_000, None, began, {"job-0": began, "job-1": began})


def test_rules_that_are_applied_while_a_rebuild_is_asked_for_are_not_taken_back_unnoticed() -> None:
    told = RecordedDefinitions()
    for name, body in (("identity", identity("tail")), (FLIGHTS, mapping("latest")), (FLIGHTS, mapping("first"))):
        told.send(DraftDefinition, name, body=body)
    told.send(ApplyDefinition, "identity", version=1)
    told.send(ApplyDefinition, FLIGHTS, version=2)
    recipe, basis = recipe_text(told.state.rules.recipe), basis_text(basis_of(told.state.rules))
    told.send(DraftDefinition, FLIGHTS, body=mapping("min"))
    told.send(ApplyDefinition, FLIGHTS, version=3)
    told.send(StartRebuild, "rebuild:1", recipe=recipe, basis=basis)
    refused = told.events[-1]
    assert isinstance(refused, DefinitionRefused)
    assert refused.code == "outdated"
    recipe, basis = recipe_text(told.state.rules.recipe), basis_text(basis_of(told.state.rules))
    told.send(StartRebuild, "rebuild:2", recipe=recipe, basis=basis)
    assert told.state.rebuilds["rebuild:2"].is_under_way
    assert told.state.basis == basis_of(told.state.rules)


def test_a_recipe_has_to_fit_beside_all_bodies() -> None:
    told = RecordedDefinitions()
    told.send(DraftDefinition, "identity", body=identity("tail"))
    told.send(ApplyDefinition, "identity", version=1)
    told.send(
        StartRebuild, "rebuild:1", recipe=json.dumps({"left_out": {f"{number:0200}": 7 for number in range(35_000)}})
    )
    (refused,) = [each for each in told.events if isinstance(each, DefinitionRefused)]
    assert refused.code == "too_much"


def test_a_recipe_reads_as_it_was_written() -> None:
    scope = Scope(since=-5, until=7, began=9, left_out={"b": 4, "a": -3})
    recipe = RebuildSpec(AppliedBody(1, "{}"), {"a": AppliedBody(2, "{}")}, scope)
    assert read_recipe(recipe_text(recipe)) == recipe
    assert read_recipe(recipe_text(RebuildSpec())) == RebuildSpec()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("7", "/: not_an_object"),
        ("[" * 100_000, "/: not_an_object"),
        ('{"mappings": 7}', "/mappings"),
        ('{"mappings": {"a": {"version": 0, "body": "{}"}}}', "/mappings/a/version"),
        ('{"identity": {"version": 1}}', "/identity/body"),
        ('{"since": "yesterday"}', "/since"),
        ('{"left_out": ["job"]}', "/left_out: not_an_object"),
        ('{"left_out": {"": 7}}', "/left_out: bad_job_id"),
        ('{"left_out": {"job": "now"}}', "/left_out/job"),
        (json.dumps({"left_out": {str(number): 7 for number in range(10_001)}}), "/left_out: too_many_jobs"),
        ('{"more": 1}', "/more: unknown_member"),
    ],
)
def test_what_is_no_recipe_is_told_where_it_goes_wrong(text: str, wrong: str) -> None:
    with pytest.raises(InvalidRulesError, match=wrong):
        read_recipe(text)


def test_a_scope_takes_what_is_in_its_time_and_what_happens_since_it_was_made() -> None:
    scope = Scope(since=10, until=20, began=30)
    assert [at for at in (9, 10, 19, 20, 29, 30, 31) if scope.takes(at)] == [10, 19, 30, 31]
    assert Scope(since=10).takes(25)


def test_a_job_that_was_undone_is_left_out_up_to_that_moment_whatever_is_undone_later() -> None:
    scope = Scope(began=30, left_out={"early": 10, "late": 30})
    left_out = [(job, at) for job in ("early", "late", "other") for at in (9, 10, 29, 30) if scope.leaves_out(job, at)]
    assert left_out == [("early", 9), ("late", 9), ("late", 10), ("late", 29)]


def test_rules_take_a_promotion_once_and_nothing_older_behind_it() -> None:
    one = RebuildSpec(mappings={"a": AppliedBody(2, "{}")}, scope=Scope(left_out={"job": 7}))
    rules = fold(NO_RULES, promoted(1, recipe_text(one)))
    assert rules.recipe == one
    assert rules.generation == 1
    assert fold(rules, promoted(1, recipe_text(RebuildSpec()))) == rules
    assert fold(rules, promoted(2, "nonsense")) == rules
    applied = DefinitionApplied(**ENVELOPE, definition_id="mapping:a", command_offset=9, version=3, body="{}")
    assert fold(rules, applied) == rules
    assert fold(rules, replace(applied, command_offset=10)).mappings["a"].version == 3
