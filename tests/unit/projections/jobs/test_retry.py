"""Errors come to an end: by a success, or at ten hours."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from projections.jobs.decide import next_look
from projections.jobs.retry import GiveUp, Retry, Streak, after_error, after_rate_limit, asked
from projections.jobs.state import Failed, Sleeping
from schemas.commands import Counts, ResumeJob, WakeJob
from schemas.events import JobErrored, JobFailed, JobSlept, JobStarted
from schemas.policies import DEFAULT_RETRY, Cadence, QuietWindow, RetryPolicy
from tests.unit.projections.telling import HOUR, START, Told, a, creation, error, given, progress, rate_limit

FULL = 2**63 - 1  # the seed that draws the whole ceiling, but for a hair
SECOND = timedelta(seconds=1)


def wake(told: Told) -> Told:
    look = next_look(told.state)
    assert look
    return told.later(max(look[0] - told.at, timedelta())).when(a(look[1]))


def fail(told: Told, **facts: Any) -> Told:
    return told.when(error(told.job.run, seed=FULL, **facts))


@pytest.mark.parametrize(
    ("consecutive", "ceiling"), [(1, 60), (2, 120), (3, 240), (4, 480), (5, 960), (6, 1800), (7, 1800), (10**9, 1800)]
)
def test_the_ceiling_doubles_up_to_the_cap(consecutive: int, ceiling: int) -> None:
    streak = Streak(consecutive=consecutive, since=START)
    assert after_error(DEFAULT_RETRY, streak, START, 2**62, None) == Retry(
        START + timedelta(seconds=ceiling / 2), float(ceiling)
    )
    assert after_error(DEFAULT_RETRY, streak, START, 0, None) == Retry(START + SECOND, float(ceiling))


@pytest.mark.parametrize(
    ("into", "outcome"),
    [
        (10 * HOUR - SECOND, Retry(START + 10 * HOUR, 60.0)),
        (10 * HOUR, GiveUp()),
        (10 * HOUR + SECOND, GiveUp()),
    ],
)
def test_ten_hours_is_the_end(into: timedelta, outcome: Retry | GiveUp) -> None:
    streak = Streak(consecutive=1, since=START)
    assert after_error(DEFAULT_RETRY, streak, START + into, FULL, None) == outcome


def test_retry_after_wins_over_the_back_off_but_not_over_the_ten_hours_or_the_floor() -> None:
    streak = Streak(consecutive=1, since=START)
    for seconds, slept in ((7_200.0, 2 * HOUR), (86_400.0, 10 * HOUR), (0.0, SECOND)):
        assert after_error(DEFAULT_RETRY, streak, START, 0, seconds) == Retry(START + slept, 60.0)


def test_a_rate_limit_of_unknown_length_waits_as_long_as_a_first_error() -> None:
    assert after_rate_limit(DEFAULT_RETRY, START, asked(float("nan"))) == START + 60 * SECOND


def test_twenty_hours_of_provider_failures_fail_the_job_at_ten_and_a_resume_helps() -> None:
    told = fail(given(creation(cadence=Cadence(kind="continuous"))))
    statuses, tries = [], 1
    while told.job.status != "Failed" and told.at < START + 20 * HOUR:
        told = wake(told)
        told = fail(told)
        statuses.append(told.job.status)
        tries += 1
    assert told.at == START + 10 * HOUR
    assert set(statuses) == {"Sleeping", "Failed"}
    assert 20 < tries < 30
    errored, failed = told.events
    assert isinstance(errored, JobErrored)
    assert isinstance(failed, JobFailed)
    assert (failed.reason, failed.first_error_at) == ("errors_too_long", START)
    assert errored.consecutive == tries

    told = told.later(10 * HOUR).when(a(ResumeJob))
    assert told.job.streak is None
    told = fail(told)
    assert told.job.status == "Sleeping"
    told = wake(told).when(progress(1, run=told.job.run + 1))
    assert (told.job.status, told.job.streak) == ("Running", None)


def test_waiting_for_a_rate_limit_is_not_failing() -> None:
    told = wake(fail(given()))
    told = told.when(rate_limit(told.job.run, 3 * 3600.0))
    told = wake(told)
    while told.job.status != "Failed":
        told = wake(fail(told)) if fail(told).job.status == "Sleeping" else fail(told)
    assert told.at == START + 13 * HOUR


def test_a_rate_limit_that_ends_in_a_quiet_window_counts_neither_wait() -> None:
    cadence = Cadence(quiet=(QuietWindow(start="11:00", end="14:00"),))
    told = wake(fail(given(creation(cadence=cadence))))
    failing = told.at - START
    told = told.when(rate_limit(told.job.run, 2.5 * 3600.0))  # until 11:31
    told = wake(told)
    assert isinstance(told.job.phase, Sleeping)
    assert told.job.phase.reason == "quiet_window"
    told = wake(told)
    assert told.job.streak
    assert told.at - told.job.streak.since == failing


@pytest.mark.parametrize(("accepted", "errors"), [(1, 0), (0, 1)])
def test_partial_progress_resets_the_clock(accepted: int, errors: int) -> None:
    told = wake(fail(given())).when(progress(1, run=2, counts=Counts(read=5, accepted=accepted, rejected=5 - accepted)))
    assert (told.job.streak.consecutive if told.job.streak else 0) == errors


def test_a_try_a_second_before_the_end_gets_a_last_one_at_the_end() -> None:
    told = fail(given())
    told = wake(told).later(10 * HOUR - 61 * SECOND)
    told = told.later(START + 10 * HOUR - SECOND - told.at)
    told = fail(told, code="last_but_one")
    assert isinstance(told.job.phase, Sleeping)
    assert told.job.phase.until == START + 10 * HOUR
    told = wake(told)
    assert isinstance(fail(told).job.phase, Failed)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@for_all(
    st.lists(st.tuples(st.integers(0, 2**63 - 1), st.none() | st.floats()), min_size=1, max_size=8),
    st.sampled_from([60, 7, 1]).map(
        lambda base: RetryPolicy(base_seconds=base, cap_seconds=300, floor_seconds=3, give_up_seconds=400)
    ),
)
def test_any_errors_end_in_failed_at_the_end_and_not_later(
    errors: list[tuple[int, float | None]], policy: RetryPolicy
) -> None:
    """Seeds and answers of the provider come round and round; each try happens at `sleep_until`."""
    told, tries = given(creation(retry=policy)), 0
    while told.job.status == "Running":
        seed, seconds = errors[tries % len(errors)]
        told = told.when(error(told.job.run, seed=seed, retry_after_seconds=seconds))
        tries += 1
        if isinstance(told.job.phase, Sleeping):
            slept = told.events[-1]
            assert isinstance(slept, JobSlept)
            assert slept.sleep_until > slept.occurred_at
            told = told.later(slept.sleep_until - told.at).when(a(WakeJob))
            assert isinstance(told.events[0], JobStarted)
    assert told.job.status == "Failed"
    assert told.at == START + timedelta(seconds=policy.give_up_seconds)
    assert tries <= 2 + policy.give_up_seconds / policy.floor_seconds
