"""The sentences of the log: one line for each event, with its numbers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given

from app.sentences.job_log import LogKind, clock, counts_in_words, duration, log_line
from projections.jobs.evolve import evolve
from schemas.commands import Counts
from schemas.events import (
    CommandRefused,
    JobCompleted,
    JobConfigured,
    JobCreated,
    JobCursorEdited,
    JobDequeued,
    JobErrored,
    JobEvent,
    JobFailed,
    JobKilled,
    JobPaused,
    JobProgressed,
    JobPurged,
    JobQueued,
    JobRenamed,
    JobRestored,
    JobResumed,
    JobSlept,
    JobStarted,
    JobSynced,
    SleepReason,
)
from schemas.policies import DEFAULT_RETRY, ONCE
from tests.laws.job_strategies import ANY_EVENT

AT = datetime(2026, 11, 3, 14, 3, tzinfo=UTC)
SOON = datetime(2026, 11, 3, 14, 5, 10, tzinfo=UTC)
TOMORROW = SOON + timedelta(days=1)
SETTINGS: dict[str, Any] = {"configuration": "{}", "cadence": ONCE, "retry": DEFAULT_RETRY}
NEW: dict[str, Any] = {
    "provider": "csv",
    "job_type": "file",
    "kind": "import",
    "name": "Orders",
    "description": "",
    **SETTINGS,
}
CAUSE: dict[str, Any] = {"code": "timed_out", "params": {"url": "x.at"}}
ERROR: dict[str, Any] = {"run": 3, "fault": "network", "advice": "retry", "detail": "at byte 7", **CAUSE}
GIVEN_UP: dict[str, Any] = {**CAUSE, "first_error_at": AT - timedelta(hours=10, minutes=2)}
MISSING: dict[str, Any] = {"code": "not_found", "params": {"url": "u", "status": 404}}
REFUSAL: dict[str, Any] = {
    "command": "PauseJob",
    "code": "not_allowed",
    "params": {"command": "PauseJob", "status": "Killed", "allowed": ("RestoreJob",)},
    "allowed": ("RestoreJob",),
    "revision": 1,
}


def an_event(kind: type[JobEvent], /, **facts: Any) -> JobEvent:
    envelope: dict[str, Any] = {"event_id": "e", "job_id": "job-1", "seq": 7, "occurred_at": AT, "command_id": "c"}
    return kind(**envelope, command_offset=1, actor="user:ada", rules=1, **facts)


ORDERS = evolve(None, replace(an_event(JobCreated, draft=False, **NEW), seq=1))


@pytest.mark.parametrize(
    ("event", "kind", "message"),
    [
        (an_event(JobCreated, draft=False, **NEW), "Created", "Created “Orders”: import with csv/file"),
        (an_event(JobCreated, draft=True, **NEW), "Created", "Created “Orders”: import with csv/file (draft)"),
        (an_event(JobRenamed, name="Sales", description=""), "Renamed", "Renamed to “Sales”"),
        (an_event(JobRenamed, name="Orders", description="of the shop"), "Described", "Description changed"),
        (an_event(JobConfigured, version=2, **SETTINGS), "Configured", "Configured: version 2"),
        (
            an_event(JobConfigured, version=3, reverted_from=1, **SETTINGS),
            "Configured",
            "Configured: version 3, reverted to version 1",
        ),
        (an_event(JobStarted, run=2, reason="resumed"), "Started", "Started run 2: resumed"),
        (an_event(JobQueued, run=2), "Queued", "Queued: run 2 waits for a free slot"),
        (
            an_event(JobSynced, run=2, counts=Counts(read=2_699, accepted=2_690, rejected=9)),
            "Synced",
            "Synced: 2,699 read, 2,690 accepted, 9 rejected",
        ),
        (an_event(JobSynced, run=2, counts=Counts()), "Synced", "Synced: no new records"),
        (
            an_event(JobErrored, consecutive=1, first_error_at=AT, **ERROR),
            "Error",
            "Error: `x.at` did not respond in time",
        ),
        (
            an_event(JobErrored, consecutive=4, first_error_at=AT - timedelta(days=1), **ERROR | {"code": "odd"}),
            "Error",
            "Error: odd, url: x.at (4 in a row since 2026-11-02 14:03:00 UTC)",
        ),
        (
            an_event(JobSlept, reason="rate_limit", sleep_until=SOON),
            "Sleeping",
            "Sleeping until 2026-11-03 14:05:10 UTC: rate limit",
        ),
        (
            an_event(JobSlept, reason="error_backoff", sleep_until=TOMORROW, **CAUSE),
            "Sleeping",
            "Sleeping until 2026-11-04 14:05:10 UTC: waiting after an error",
        ),
        (
            an_event(JobFailed, reason="errors_too_long", **GIVEN_UP),
            "Failed",
            "Failed: only errors for 10 hours 2 minutes",
        ),
        (
            an_event(JobFailed, reason="incurable", **GIVEN_UP | MISSING),
            "Failed",
            "Failed: permanent error, not retried",
        ),
        (an_event(JobPaused), "Paused", "Paused"),
        (an_event(JobPaused, until=SOON), "Paused", "Paused until 2026-11-03 14:05:10 UTC"),
        (an_event(JobResumed), "Resumed", "Resumed"),
        (an_event(JobCompleted, run=1), "Completed", "Completed after 1 run"),
        (an_event(JobKilled), "Killed", "Killed: archived; it can be restored for 90 days"),
        (an_event(JobRestored), "Restored", "Restored, paused"),
        (
            an_event(JobCursorEdited, previous="{}", cursor=f'"{"x" * 500}"', report=4),
            "CursorMoved",
            f'Cursor moved from {{}} to "{"x" * 198}…',
        ),
        (an_event(JobPurged), "Purged", "Purged: the retention of 90 days expired"),
        (
            an_event(CommandRefused, **REFUSAL),
            "Refused",
            "Refused pause: pause is not allowed while the job is Killed; allowed: restore",
        ),
        (
            an_event(CommandRefused, **REFUSAL | {"code": "bad_retry", "params": {"pointer": "/retry", "max": 9}}),
            "Refused",
            "Refused pause: /retry: invalid retry policy; every value must be 1 to 9 seconds",
        ),
    ],
)
def test_what_a_person_reads(event: JobEvent, kind: LogKind, message: str) -> None:
    line = log_line(event, ORDERS)
    assert line is not None
    assert (line.kind, line.message) == (kind, message)
    assert (line.job_id, line.seq, line.at, line.by) == ("job-1", 7, AT, "user:ada")
    assert line.detail == ("at byte 7" if kind == "Error" else "")
    assert (line.code, line.params) == (getattr(event, "code", ""), getattr(event, "params", {}))


@pytest.mark.parametrize(
    ("slept", "why"),
    [
        ("cadence", "schedule triggered"),
        ("error_backoff", "retry after an error"),
        ("rate_limit", "retry after the rate limit"),
        ("blackout_window", "the blackout window ended"),
    ],
)
def test_a_start_after_a_wait_says_what_ended(slept: SleepReason, why: str) -> None:
    sleeping = evolve(ORDERS, replace(an_event(JobSlept, sleep_until=SOON, reason=slept), seq=2))
    line = log_line(an_event(JobStarted, run=2, reason="woke"), sleeping)
    assert line is not None
    assert line.message == f"Started run 2: {why}"


def test_progress_is_counted_and_not_told() -> None:
    facts = {"run": 1, "report": 1, "cursor": "{}", "imbalance": 0, "stream": "s", "lane": "realtime", "bytes_read": 1}
    assert log_line(an_event(JobProgressed, counts=Counts(read=1, accepted=1), **facts), ORDERS) is None


@given(ANY_EVENT)
def test_every_event_has_its_line(event: JobEvent) -> None:
    line = log_line(event, None)
    if line is None:
        assert isinstance(event, JobProgressed | JobDequeued)
    else:
        assert line.kind in get_args(LogKind)
        assert line.message


def test_counts_name_what_there_is() -> None:
    all_of_them = Counts(read=5, accepted=1, rejected=1, duplicate=2, omitted=1, added=1_000, removed=3)
    assert counts_in_words(all_of_them) == (
        "5 read, 1 accepted, 1 rejected, 2 duplicate, 1 omitted, 1,000 added, 3 removed"
    )


def test_a_moment_has_its_day_whenever_it_is_read() -> None:
    assert clock(SOON) == "2026-11-03 14:05:10 UTC"


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(), "0 seconds"),
        (timedelta(seconds=-5), "0 seconds"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(minutes=15), "15 minutes"),
        (timedelta(days=2, hours=3, minutes=4), "2 days 3 hours"),
        (timedelta(hours=1, seconds=4), "1 hour 4 seconds"),
    ],
)
def test_a_length_of_time_has_its_two_largest_units(span: timedelta, words: str) -> None:
    assert duration(span) == words
