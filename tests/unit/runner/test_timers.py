"""Timers fire when due, fire again if the command had no effect, and drop stale entries."""

from datetime import timedelta

from app.runner.timers import MAX_STALE_ENTRIES, RETRY_DELAY, Timers
from projections.jobs.state import Killed, Purged, Running
from schemas.commands import PurgeJob, WakeJob
from schemas.policies import BlackoutWindow, Cadence
from tests.unit.runner.jobs import START, job, sleeping

MINUTE = timedelta(minutes=1)


def test_a_due_job_is_woken_and_woken_again_after_a_delay() -> None:
    timers = Timers()
    timers.set(sleeping(minutes=1))
    assert list(timers.due(START)) == []
    assert list(timers.due(START + MINUTE)) == [("orders", WakeJob)]
    assert list(timers.due(START + MINUTE + RETRY_DELAY / 2)) == []
    assert list(timers.due(START + MINUTE + RETRY_DELAY)) == [("orders", WakeJob)]


def test_a_refused_wake_up_is_not_repeated_at_once() -> None:
    timers = Timers()
    timers.set(sleeping())
    for seq in range(3, 100):
        assert len(list(timers.due(START + MINUTE))) == (seq == 3), "a hot loop of refusals"
        timers.set(sleeping(seq=seq))  # after a refusal: one event later, with the same due time


def test_a_later_event_replaces_the_timer() -> None:
    timers = Timers()
    timers.set(sleeping(minutes=1))
    timers.set(sleeping(minutes=5, seq=3))
    assert list(timers.due(START + MINUTE)) == []
    timers.set(job(Running(since=START), seq=4))
    assert list(timers.due(START + timedelta(days=1))) == []
    timers.set(job(Killed(since=START), seq=5))
    assert list(timers.due(START + timedelta(days=90))) == [("orders", PurgeJob)]
    timers.set(job(Purged(since=START), seq=6))
    assert list(timers.due(START + timedelta(days=900))) == []


def test_a_job_with_millions_of_events_and_a_blackout_window_takes_one_entry() -> None:
    timers = Timers()
    cadence = Cadence(kind="continuous", blackout_windows=(BlackoutWindow(start="22:00", end="23:00"),))
    for seq in range(1_000):
        timers.set(job(seq=seq, cadence=cadence, updated_at=START + timedelta(seconds=seq)))
    assert len(timers) == 1


def test_stale_entries_are_removed() -> None:
    timers = Timers()
    for seq in range(10 * MAX_STALE_ENTRIES):
        timers.set(sleeping(minutes=seq + 1, seq=seq))
    assert len(timers) <= MAX_STALE_ENTRIES + 2
    assert list(timers.due(START + timedelta(minutes=10 * MAX_STALE_ENTRIES))) == [("orders", WakeJob)]


def test_unconsumed_timers_stay_due() -> None:
    timers = Timers()
    for number in range(5):
        timers.set(sleeping(job_id=f"job-{number}"))
    due = timers.due(START + MINUTE)
    first = {next(due)[0], next(due)[0]}
    remaining = {job_id for job_id, _ in timers.due(START + MINUTE)}
    assert len(remaining) == 3
    assert not first & remaining
