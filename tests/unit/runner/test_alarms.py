"""The clock looks at a job when it is time, asks again when that led to nothing, and forgets what is out of date."""

from datetime import timedelta

from app.runner.timers import ASK_AGAIN, MAX_STALE_ENTRIES, Timers
from projections.jobs.state import Killed, Purged, Running
from schemas.commands import PurgeJob, WakeJob
from schemas.policies import Cadence, QuietWindow
from tests.unit.runner.jobs import START, job, sleeping

MINUTE = timedelta(minutes=1)


def test_a_job_is_woken_when_its_time_comes_and_asked_again_only_after_a_while() -> None:
    alarms = Timers()
    alarms.set(sleeping(minutes=1))
    assert list(alarms.due(START)) == []
    assert list(alarms.due(START + MINUTE)) == [("orders", WakeJob)]
    assert list(alarms.due(START + MINUTE + ASK_AGAIN / 2)) == []
    assert list(alarms.due(START + MINUTE + ASK_AGAIN)) == [("orders", WakeJob)]


def test_a_refused_look_is_not_repeated_at_once() -> None:
    alarms = Timers()
    alarms.set(sleeping())
    for seq in range(3, 100):
        assert len(list(alarms.due(START + MINUTE))) == (seq == 3), "a hot loop of refusals"
        alarms.set(sleeping(seq=seq))  # as a refusal leaves it: one event on, and as due as before


def test_what_a_later_event_made_wrong_is_not_asked() -> None:
    alarms = Timers()
    alarms.set(sleeping(minutes=1))
    alarms.set(sleeping(minutes=5, seq=3))
    assert list(alarms.due(START + MINUTE)) == []
    alarms.set(job(Running(since=START), seq=4))
    assert list(alarms.due(START + timedelta(days=1))) == []
    alarms.set(job(Killed(since=START), seq=5))
    assert list(alarms.due(START + timedelta(days=90))) == [("orders", PurgeJob)]
    alarms.set(job(Purged(since=START), seq=6))
    assert list(alarms.due(START + timedelta(days=900))) == []


def test_a_job_with_millions_of_events_and_a_quiet_window_takes_one_entry() -> None:
    alarms = Timers()
    cadence = Cadence(kind="continuous", quiet=(QuietWindow(start="22:00", end="23:00"),))
    for seq in range(1_000):
        alarms.set(job(seq=seq, cadence=cadence, updated_at=START + timedelta(seconds=seq)))
    assert len(alarms) == 1


def test_entries_out_of_date_are_cleaned_up() -> None:
    alarms = Timers()
    for seq in range(10 * MAX_STALE_ENTRIES):
        alarms.set(sleeping(minutes=seq + 1, seq=seq))
    assert len(alarms) <= MAX_STALE_ENTRIES + 2
    assert list(alarms.due(START + timedelta(minutes=10 * MAX_STALE_ENTRIES))) == [("orders", WakeJob)]


def test_what_is_not_asked_for_stays_due() -> None:
    alarms = Timers()
    for number in range(5):
        alarms.set(sleeping(job_id=f"job-{number}"))
    due = alarms.due(START + MINUTE)
    first = {next(due)[0], next(due)[0]}
    rest = {job_id for job_id, _ in alarms.due(START + MINUTE)}
    assert len(rest) == 3
    assert not first & rest
