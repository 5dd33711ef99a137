"""A state takes the next event of its job, and only that one."""

from dataclasses import replace

import pytest

from projections.jobs.evolve import evolve
from projections.jobs.state import REMEMBERED_COMMANDS, NoJob
from schemas.commands import KillJob, RenameJob
from schemas.events import JobKilled
from tests.unit.projections.telling import JOB, START, a, an, creation, given, nothing


@pytest.mark.parametrize("step", [-2, -1, 0, 2, 7])
def test_an_event_out_of_its_turn_changes_nothing(step: int) -> None:
    told = given()
    event = an(JobKilled, job_id=JOB, seq=told.job.seq + step, occurred_at=START)
    assert evolve(told.state, event) is told.state
    assert evolve(told.state, replace(event, seq=told.job.seq + 1)) != told.state


def test_what_was_refused_of_a_job_that_is_not_there_leaves_it_absent() -> None:
    told = nothing().when(a(KillJob)).refused("no_such_job", job_id=JOB)
    assert told.state == NoJob(JOB)
    assert told.events[0].seq == 0


def test_a_second_creation_is_refused_and_noted() -> None:
    told = given().when(creation()).refused("job_exists")
    assert (told.job.seq, told.job.revision) == (3, 1)


def test_only_the_latest_commands_are_remembered() -> None:
    told = given(*(a(RenameJob, name=f"Orders {each}", description="") for each in range(40)))
    assert told.job.recent_commands == tuple(f"command-{each}" for each in range(41))[-REMEMBERED_COMMANDS:]
    assert told.job.revision == 41
