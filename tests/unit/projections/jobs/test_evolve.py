"""A job state applies its next event and ignores events out of sequence."""

from dataclasses import replace

import pytest

from projections.decider import REMEMBERED_COMMANDS
from projections.jobs.evolve import evolve
from projections.jobs.state import next_wake, phase_of
from schemas.commands import KillJob, PauseJob, RenameJob
from schemas.events import JobKilled, JobQueued
from tests.unit.projections.scenario import HOUR, JOB, START, a, an, creation, given, no_job, rate_limit


@pytest.mark.parametrize("step", [-2, -1, 0, 2, 7])
def test_an_event_out_of_sequence_changes_nothing(step: int) -> None:
    scenario = given()
    event = an(JobKilled, job_id=JOB, seq=scenario.job.seq + step, occurred_at=START)
    assert evolve(scenario.state, event) is scenario.state
    assert evolve(scenario.state, replace(event, seq=scenario.job.seq + 1)) != scenario.state


def test_a_refused_command_for_a_missing_job_creates_no_job() -> None:
    scenario = no_job().when(a(KillJob)).refused("no_such_job", job_id=JOB)
    assert scenario.state is None
    assert scenario.events[0].seq == 0


def test_a_second_creation_is_refused_and_recorded() -> None:
    scenario = given().when(creation()).refused("job_exists")
    assert (scenario.job.seq, scenario.job.revision) == (3, 1)


def test_only_a_running_job_is_queued() -> None:
    paused = given(a(PauseJob)).job
    event = an(JobQueued, job_id=JOB, seq=paused.seq + 1, occurred_at=START, run=1)
    after = evolve(paused, event)
    assert after
    assert after.phase == paused.phase


def test_only_the_latest_commands_are_remembered() -> None:
    scenario = given(*(a(RenameJob, name=f"Orders {number}", description="") for number in range(40)))
    assert scenario.job.recent_commands == tuple(f"command-{number}" for number in range(41))[-REMEMBERED_COMMANDS:]
    assert scenario.job.revision == 41


def test_only_a_job_that_waits_for_a_time_resumes_automatically() -> None:
    assert next_wake(given().job) is None
    assert next_wake(given(a(PauseJob)).job) is None
    assert next_wake(given(a(PauseJob, until=START + HOUR)).job) == START + HOUR
    sleeping = given(rate_limit(seconds=3600.0)).job
    assert next_wake(sleeping) == START + HOUR
    assert (phase_of(sleeping), phase_of(None)) == ("Sleeping", "Absent")
