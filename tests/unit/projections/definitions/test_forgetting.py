"""A forgetting is started, extended by linked identities, and reported; the log has hashes only."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from projections.definitions import definition
from projections.definitions.forgetting import MAX_ENDED, MAX_KEYS, MAX_PERSON_KEYS, MAX_UNDER_WAY, evolve
from projections.definitions.rules import key_hash
from schemas.definitions import PersonForgotten
from tests.golden.samples import full
from tests.unit.projections.definitions.scenario import (
    FLIGHTS,
    FORGETTING,
    START,
    Scenario,
    draft,
    extend,
    forget,
    given,
    no_definitions,
    report,
)

ANN, BOB = key_hash("email:ann@example.com"), key_hash("cookie:b")
YESTERDAY = START - timedelta(days=1)


def hashes(count: int, begin: int = 0) -> list[str]:
    return [f"{number:064x}" for number in range(begin, begin + count)]


def test_a_person_is_forgotten_by_hashes() -> None:
    scenario = given(forget(ANN, at=YESTERDAY))
    assert scenario.outcome == [("ForgettingStarted", {"key_hashes": (ANN,), "at": YESTERDAY})]
    scenario = scenario.when(extend(BOB, profiles=2, expected_version=0))
    assert scenario.outcome == [
        ("ForgettingExtended", {"key_hashes": (BOB,), "at": YESTERDAY, "profiles": 2, "complete": True})
    ]
    scenario = scenario.when(extend(profiles=1, complete=False, expected_version=1), report(expected_version=2))
    forgotten = {"at": YESTERDAY, "identities": 2, "profiles": 2, "complete": False}
    assert scenario.outcome == [("PersonForgotten", forgotten)]
    assert (scenario.state.forgettings.under_way, list(scenario.state.forgettings.ended)) == ({}, [FORGETTING])


def test_an_unknown_person_is_forgotten_without_an_extension() -> None:
    scenario = given(forget(ANN), report(expected_version=0))
    assert scenario.outcome == [("PersonForgotten", {"at": START, "identities": 1, "profiles": 0, "complete": True})]


def test_a_report_based_on_an_older_version_is_refused() -> None:
    scenario = given(forget(ANN), extend(BOB))
    scenario.when(report(expected_version=0)).refused("version_mismatch", version=1)
    scenario.when(extend(BOB, expected_version=0)).refused("version_mismatch", version=1)


def test_a_forgetting_that_has_ended_does_not_change() -> None:
    ended = given(forget(ANN), report())
    for command in (extend(BOB), report()):
        ended.when(command).refused("not_under_way", status="forgotten")
    ended.when(forget(BOB)).refused("exists", status="forgotten")
    given(forget(ANN), forget(ANN)).refused("exists", status="under_way")


def test_a_repeated_command_is_ignored() -> None:
    scenario = given(forget(ANN, command_id="once"))
    assert scenario.when(forget(ANN, command_id="once")).events == ()
    scenario = scenario.when(report(command_id="done"))
    assert scenario.when(report(command_id="done")).events == ()


@pytest.mark.parametrize("key_hashes", [(), ("email:ann@example.com",), (ANN.upper(),), (ANN, ANN[:-1]), (ANN,) * 1001])
def test_invalid_hashes_are_refused(key_hashes: tuple[str, ...]) -> None:
    given(forget(*key_hashes)).refused("bad_key_hashes", max=MAX_KEYS)
    if key_hashes:
        given(forget(BOB), extend(*key_hashes)).refused("bad_key_hashes", max=MAX_KEYS)


@pytest.mark.parametrize("at", [START + timedelta(seconds=1), datetime(1, 1, 1, tzinfo=UTC)])
def test_a_person_cannot_be_forgotten_up_to_a_future_time(at: datetime) -> None:
    no_definitions().when(forget(ANN, at=at)).refused("forgets_the_future")


@pytest.mark.parametrize("definition_id", ["forgetting:", "forgotten", "mapping:a", "rebuild:1"])
def test_invalid_ids_are_refused(definition_id: str) -> None:
    assert given(forget(ANN, definition_id=definition_id)).refused("no_such_forgetting").seq == 0


def test_reports_about_unknown_forgettings_are_refused() -> None:
    for command in (extend(ANN), report()):
        assert given(command).refused("no_such_forgetting").seq == 0


def test_the_identities_of_a_person_are_bounded() -> None:
    scenario = given(forget(*hashes(MAX_KEYS)))
    for begin in range(MAX_KEYS, MAX_PERSON_KEYS, MAX_KEYS):
        scenario = scenario.when(extend(*hashes(MAX_KEYS, begin)))
    assert scenario.when(extend(*hashes(5))).outcome[0][0] == "ForgettingExtended", "all of them are recorded already"
    scenario.when(extend(ANN)).refused("too_many_linked", max=MAX_PERSON_KEYS)


def many(scenario: Scenario, count: int) -> Scenario:
    for number in range(count):
        scenario = scenario.when(forget(ANN, definition_id=f"forgetting:{number}"))
    return scenario


def test_forgettings_under_way_are_bounded() -> None:
    full = many(no_definitions(), MAX_UNDER_WAY)
    full.when(forget(ANN, definition_id="forgetting:more")).refused("too_many_forgettings", max=MAX_UNDER_WAY)
    room = full.when(report(definition_id="forgetting:0"))
    assert room.when(forget(ANN, definition_id="forgetting:more")).outcome[0][0] == "ForgettingStarted"


def test_the_latest_ended_forgettings_are_remembered() -> None:
    scenario = given(forget(ANN, definition_id="forgetting:open"))
    for number in range(MAX_ENDED + 1):
        name = f"forgetting:{number}"
        scenario = scenario.when(forget(ANN, definition_id=name), report(definition_id=name))
    forgettings = scenario.state.forgettings
    assert (len(forgettings.ended), list(forgettings.under_way)) == (MAX_ENDED, ["forgetting:open"])
    assert (forgettings.get("forgetting:0"), forgettings.get("forgetting:open") is not None) == (None, True)


def test_events_that_are_not_the_next_of_a_forgetting_are_ignored() -> None:
    report_first = replace(full(PersonForgotten), definition_id=FORGETTING, seq=1)
    assert evolve(None, report_first) is None
    scenario = given(forget(ANN))
    current = scenario.state.forgettings.get(FORGETTING)
    assert evolve(current, scenario.events[0]) is current
    drafted = given(draft()).state.definitions[FLIGHTS]
    assert definition.evolve(drafted, replace(report_first, seq=drafted.seq + 1)).draft == drafted.draft  # type: ignore[union-attr]  # never None here
