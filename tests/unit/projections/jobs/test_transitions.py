"""The table of transitions is true: each of its entries can be reached, and the page made from it is up to date."""

from collections.abc import Iterator

from projections.jobs.transitions import TRANSITIONS
from schemas.commands import Command, Counts, PauseJob, PurgeJob, ResumeJob, WakeJob
from schemas.policies import Cadence, QuietWindow
from tests.regenerate import COMMAND_LABELS, JOB_LIFE, job_life
from tests.unit.projections.jobs.test_decide import ANY, PHASES, QUIET_NOW
from tests.unit.projections.telling import (
    DAY,
    HOUR,
    LUNCH,
    START,
    Told,
    a,
    creation,
    error,
    given,
    nothing,
    progress,
    rate_limit,
)

LUNCHING = Cadence(quiet=(LUNCH,))
CONTINUOUS = Cadence(kind="continuous")
EARLY = Cadence(kind="continuous", quiet=(QuietWindow(start="10:00", end="11:00"),))


def lives() -> Iterator[tuple[Told, Command]]:
    """Every command in every phase, and what takes some arranging."""
    for told in PHASES.values():
        for command in (*ANY.values(), progress(1), progress(2), creation(start=False), creation(cadence=QUIET_NOW)):
            yield told, command
        yield told.later(90 * DAY), a(PurgeJob)
    lunch = given(creation(cadence=LUNCHING))
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
    yield nothing(), creation(cadence=EARLY)


def test_exactly_what_the_table_says_happens() -> None:
    seen = set()
    for told, command in lives():
        before = "Absent" if told.sent == 0 else told.job.status
        after = told.when(command)
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


def test_every_command_of_the_table_is_possible_somewhere() -> None:
    assert {each for row in TRANSITIONS.values() for each in row} == set(ANY) == set(COMMAND_LABELS)


def test_the_page_is_up_to_date() -> None:
    assert JOB_LIFE.read_text("utf-8") == job_life(), "run `make generate`"
