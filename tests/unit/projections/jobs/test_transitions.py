"""The transition table matches `decide`, and the page generated from it is up to date."""

from collections.abc import Iterator

from projections.jobs.transitions import TRANSITIONS
from schemas.commands import Command, Counts, PauseJob, PurgeJob, ResumeJob, WakeJob
from schemas.policies import BlackoutWindow, Cadence
from tests.regenerate import COMMAND_LABELS, JOB_LIFE, job_life
from tests.unit.projections.jobs.test_decide import BLACKOUT_NOW, COMMANDS, PHASES
from tests.unit.projections.scenario import (
    DAY,
    HOUR,
    LUNCH,
    START,
    Scenario,
    a,
    creation,
    error,
    given,
    no_job,
    progress,
    rate_limit,
)

BLACKOUT_AT_LUNCH = Cadence(blackout_windows=(LUNCH,))
CONTINUOUS = Cadence(kind="continuous")
BLACKOUT_AT_TEN = Cadence(kind="continuous", blackout_windows=(BlackoutWindow(start="10:00", end="11:00"),))


def cases() -> Iterator[tuple[Scenario, Command]]:
    """Every command in every phase, and cases that need more preparation."""
    for scenario in PHASES.values():
        for command in (
            *COMMANDS.values(),
            progress(1),
            progress(2),
            creation(start=False),
            creation(cadence=BLACKOUT_NOW),
        ):
            yield scenario, command
        yield scenario.later(90 * DAY), a(PurgeJob)
    lunch = given(creation(cadence=BLACKOUT_AT_LUNCH))
    noon = lunch.later(3 * HOUR)
    yield noon, a(WakeJob)
    yield noon.when(error(advice="fix_configuration")), a(ResumeJob)
    yield noon.when(a(PauseJob)), a(ResumeJob)
    yield given(), error(advice="fix_configuration")
    yield lunch.when(a(PauseJob, until=START + 4 * HOUR)).later(4 * HOUR), a(WakeJob)
    yield given(a(PauseJob, until=START + HOUR)).later(HOUR), a(WakeJob)
    yield given(rate_limit(seconds=3600.0)).later(HOUR), a(WakeJob)
    yield lunch.when(rate_limit(seconds=3 * 3600.0)).later(3 * HOUR), a(WakeJob)
    yield given(creation(cadence=CONTINUOUS)), progress(1, pass_done=True)
    yield given(), progress(1, pass_done=True)
    yield given(), progress(1, counts=Counts())
    yield no_job(), creation(cadence=BLACKOUT_AT_TEN)


def test_the_table_holds_exactly_the_possible_transitions() -> None:
    seen = set()
    for scenario, command in cases():
        before = "Absent" if scenario.sent == 0 else scenario.job.status
        after = scenario.when(command)
        name = type(command).__name__
        if type(after.events[0]).__name__ != "CommandRefused":
            seen.add((before, name, after.job.status))
    table = {
        (phase, command, target)
        for phase, row in TRANSITIONS.items()
        for command, targets in row.items()
        for target in targets or (phase,)
    }
    assert seen == table


def test_every_command_is_allowed_in_some_phase() -> None:
    assert {command for row in TRANSITIONS.values() for command in row} == set(COMMANDS) == set(COMMAND_LABELS)


def test_the_page_is_up_to_date() -> None:
    assert JOB_LIFE.read_text("utf-8") == job_life(), "run `make generate`"
