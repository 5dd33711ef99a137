"""An error streak ends with a success, or fails the job after ten hours."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from projections.jobs.decide import next_timer
from projections.jobs.retry import GiveUp, Retry, Streak, after_error, after_rate_limit, clamp_retry_after
from projections.jobs.state import Failed, Sleeping
from schemas.commands import Counts, ResumeJob, WakeJob
from schemas.events import JobErrored, JobFailed, JobSlept, JobStarted
from schemas.policies import DEFAULT_RETRY, BlackoutWindow, Cadence, RetryPolicy
from tests.unit.projections.scenario import HOUR, START, Scenario, a, creation, error, given, progress, rate_limit

FULL = 2**63 - 1  # the seed that draws almost the whole ceiling
SECOND = timedelta(seconds=1)


def wake(scenario: Scenario) -> Scenario:
    timer = next_timer(scenario.state)
    assert timer
    return scenario.later(max(timer[0] - scenario.at, timedelta())).when(a(timer[1]))


def fail(scenario: Scenario, **overrides: Any) -> Scenario:
    return scenario.when(error(scenario.job.run, seed=FULL, **overrides))


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
    ("elapsed", "outcome"),
    [
        (10 * HOUR - SECOND, Retry(START + 10 * HOUR, 60.0)),
        (10 * HOUR, GiveUp()),
        (10 * HOUR + SECOND, GiveUp()),
    ],
)
def test_retries_end_after_ten_hours(elapsed: timedelta, outcome: Retry | GiveUp) -> None:
    streak = Streak(consecutive=1, since=START)
    assert after_error(DEFAULT_RETRY, streak, START + elapsed, FULL, None) == outcome


def test_retry_after_overrides_the_back_off_within_the_floor_and_the_ten_hours() -> None:
    streak = Streak(consecutive=1, since=START)
    for seconds, slept in ((7_200.0, 2 * HOUR), (86_400.0, 10 * HOUR), (0.0, SECOND)):
        assert after_error(DEFAULT_RETRY, streak, START, 0, seconds) == Retry(START + slept, 60.0)


def test_a_rate_limit_of_unknown_length_waits_like_a_first_error() -> None:
    assert after_rate_limit(DEFAULT_RETRY, START, clamp_retry_after(float("nan"))) == START + 60 * SECOND


def test_provider_failures_fail_the_job_after_ten_hours_and_a_resume_starts_over() -> None:
    scenario = fail(given(creation(cadence=Cadence(kind="continuous"))))
    statuses, tries = [], 1
    while scenario.job.status != "Failed" and scenario.at < START + 20 * HOUR:
        scenario = wake(scenario)
        scenario = fail(scenario)
        statuses.append(scenario.job.status)
        tries += 1
    assert scenario.at == START + 10 * HOUR
    assert set(statuses) == {"Sleeping", "Failed"}
    assert 20 < tries < 30
    errored, failed = scenario.events
    assert isinstance(errored, JobErrored)
    assert isinstance(failed, JobFailed)
    assert (failed.reason, failed.first_error_at) == ("errors_too_long", START)
    assert errored.consecutive == tries

    scenario = scenario.later(10 * HOUR).when(a(ResumeJob))
    assert scenario.job.streak is None
    scenario = fail(scenario)
    assert scenario.job.status == "Sleeping"
    scenario = wake(scenario).when(progress(1, run=scenario.job.run + 1))
    assert (scenario.job.status, scenario.job.streak) == ("Running", None)


def test_rate_limit_waits_do_not_count_towards_the_ten_hours() -> None:
    scenario = wake(fail(given()))
    scenario = scenario.when(rate_limit(scenario.job.run, 3 * 3600.0))
    scenario = wake(scenario)
    while scenario.job.status != "Failed":
        scenario = wake(fail(scenario)) if fail(scenario).job.status == "Sleeping" else fail(scenario)
    assert scenario.at == START + 13 * HOUR


def test_neither_a_rate_limit_nor_the_following_blackout_window_counts_towards_the_ten_hours() -> None:
    cadence = Cadence(blackout_windows=(BlackoutWindow(start="11:00", end="14:00"),))
    scenario = wake(fail(given(creation(cadence=cadence))))
    failing_for = scenario.at - START
    scenario = scenario.when(rate_limit(scenario.job.run, 2.5 * 3600.0))  # until 11:31
    scenario = wake(scenario)
    assert isinstance(scenario.job.phase, Sleeping)
    assert scenario.job.phase.reason == "blackout_window"
    scenario = wake(scenario)
    assert scenario.job.streak
    assert scenario.at - scenario.job.streak.since == failing_for


@pytest.mark.parametrize(("accepted", "errors"), [(1, 0), (0, 1)])
def test_accepted_records_reset_the_error_streak(accepted: int, errors: int) -> None:
    scenario = wake(fail(given())).when(
        progress(1, run=2, counts=Counts(read=5, accepted=accepted, rejected=5 - accepted))
    )
    assert (scenario.job.streak.consecutive if scenario.job.streak else 0) == errors


def test_an_error_just_before_ten_hours_gets_one_last_try_at_ten_hours() -> None:
    scenario = fail(given())
    scenario = wake(scenario).later(10 * HOUR - 61 * SECOND)
    scenario = scenario.later(START + 10 * HOUR - SECOND - scenario.at)
    scenario = fail(scenario, code="last_but_one")
    assert isinstance(scenario.job.phase, Sleeping)
    assert scenario.job.phase.until == START + 10 * HOUR
    scenario = wake(scenario)
    assert isinstance(fail(scenario).job.phase, Failed)


@settings(max_examples=60, derandomize=True, deadline=None, database=None)
@for_all(
    st.lists(st.tuples(st.integers(0, 2**63 - 1), st.none() | st.floats()), min_size=1, max_size=8),
    st.sampled_from([60, 7, 1]).map(
        lambda base: RetryPolicy(base_seconds=base, cap_seconds=300, floor_seconds=3, give_up_seconds=400)
    ),
)
def test_any_errors_fail_the_job_exactly_at_the_limit(
    errors: list[tuple[int, float | None]], policy: RetryPolicy
) -> None:
    """Cycle through seeds and retry-after values; each try happens at `sleep_until`."""
    scenario, tries = given(creation(retry=policy)), 0
    while scenario.job.status == "Running":
        seed, seconds = errors[tries % len(errors)]
        scenario = scenario.when(error(scenario.job.run, seed=seed, retry_after_seconds=seconds))
        tries += 1
        if isinstance(scenario.job.phase, Sleeping):
            sleep = scenario.events[-1]
            assert isinstance(sleep, JobSlept)
            assert sleep.sleep_until > sleep.occurred_at
            scenario = scenario.later(sleep.sleep_until - scenario.at).when(a(WakeJob))
            assert isinstance(scenario.events[0], JobStarted)
    assert scenario.job.status == "Failed"
    assert scenario.at == START + timedelta(seconds=policy.give_up_seconds)
    assert tries <= 2 + policy.give_up_seconds / policy.floor_seconds
