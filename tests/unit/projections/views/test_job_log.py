"""The words of the log: one line for each thing that happened, with its numbers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given

from projections.jobs.evolve import evolve
from projections.jobs.state import NoJob
from projections.views.job_log import LogKind, clock, counts_in_words, duration, log_line
from schemas.commands import Counts
from schemas.events import (
    CommandRefused,
    JobCompleted,
    JobConfigured,
    JobCreated,
    JobCursorEdited,
    JobErrored,
    JobEvent,
    JobFailed,
    JobKilled,
    JobPaused,
    JobProgressed,
    JobPurged,
    JobRenamed,
    JobRestored,
    JobResumed,
    JobSlept,
    JobStarted,
    JobSynced,
)
from schemas.policies import DEFAULT_RETRY, ONCE
from tests.laws.lives import ANY_EVENT

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
ERROR: dict[str, Any] = {"run": 3, "fault": "network", "advice": "retry", "code": "timeout", "detail": "at byte 7"}
GIVEN_UP: dict[str, Any] = {
    "code": "timeout",
    "message": "no answer",
    "first_error_at": AT - timedelta(hours=10, minutes=2),
}
REFUSAL: dict[str, Any] = {"command": "PauseJob", "code": "not_allowed", "allowed": (), "revision": 1}


def told(event: type[JobEvent], /, **facts: Any) -> JobEvent:
    envelope: dict[str, Any] = {"event_id": "e", "job_id": "job-1", "seq": 7, "occurred_at": AT, "command_id": "c"}
    return event(**envelope, command_offset=1, actor="user:ada", rules=1, **facts)


ORDERS = evolve(NoJob("job-1"), replace(told(JobCreated, draft=False, **NEW), seq=1))


@pytest.mark.parametrize(
    ("event", "kind", "message"),
    [
        (told(JobCreated, draft=False, **NEW), "Created", "Created “Orders”: import with csv/file"),
        (told(JobCreated, draft=True, **NEW), "Created", "Created “Orders”: import with csv/file, as a draft"),
        (told(JobRenamed, name="Sales", description=""), "Renamed", "Renamed to “Sales”"),
        (told(JobRenamed, name="Orders", description="of the shop"), "Described", "Description changed"),
        (told(JobConfigured, version=2, **SETTINGS), "Configured", "Configured: version 2"),
        (
            told(JobConfigured, version=3, reverted_from=1, **SETTINGS),
            "Configured",
            "Configured: version 3, which brings back version 1",
        ),
        (told(JobStarted, run=2, reason="resumed"), "Started", "Started run 2: it was resumed"),
        (
            told(JobSynced, run=2, counts=Counts(read=2_699, accepted=2_690, rejected=9)),
            "Synced",
            "Synced: 2,699 read, 2,690 accepted, 9 rejected",
        ),
        (told(JobSynced, run=2, counts=Counts()), "Synced", "Synced: nothing new"),
        (told(JobErrored, message="no answer", consecutive=1, first_error_at=AT, **ERROR), "Error", "Error: no answer"),
        (
            told(JobErrored, message="", consecutive=4, first_error_at=AT - timedelta(days=1), **ERROR),
            "Error",
            "Error: timeout (4 in a row since 2026-11-02 14:03:00 UTC)",
        ),
        (
            told(JobSlept, reason="rate_limit", sleep_until=SOON),
            "Sleeping",
            "Sleeping until 2026-11-03 14:05:10 UTC: rate limit",
        ),
        (
            told(JobSlept, reason="error_backoff", sleep_until=TOMORROW, message="no answer"),
            "Sleeping",
            "Sleeping until 2026-11-04 14:05:10 UTC: waiting after an error (no answer)",
        ),
        (
            told(JobFailed, reason="errors_too_long", **GIVEN_UP),
            "Failed",
            "Failed: errors for 10 hours 2 minutes; the last: no answer",
        ),
        (
            told(JobFailed, reason="incurable", **{**GIVEN_UP, "message": ""}),
            "Failed",
            "Failed: timeout (no retry can cure it)",
        ),
        (told(JobPaused), "Paused", "Paused"),
        (told(JobPaused, until=SOON), "Paused", "Paused until 2026-11-03 14:05:10 UTC"),
        (told(JobResumed), "Resumed", "Resumed"),
        (told(JobCompleted, run=1), "Completed", "Completed in run 1: it did all that it was configured to do"),
        (told(JobKilled), "Killed", "Killed: stopped and put away; it can be restored"),
        (told(JobRestored), "Restored", "Restored: it is paused"),
        (
            told(JobCursorEdited, previous="{}", cursor=f'"{"x" * 500}"', report=4),
            "CursorMoved",
            f'Cursor moved from {{}} to "{"x" * 199}…',
        ),
        (told(JobPurged), "Purged", "Purged: it rested for 90 days"),
        (
            told(CommandRefused, message="the job is Paused already", **REFUSAL),
            "Refused",
            "Refused PauseJob: the job is Paused already",
        ),
    ],
)
def test_what_a_person_reads(event: JobEvent, kind: LogKind, message: str) -> None:
    line = log_line(event, ORDERS)
    assert line is not None
    assert (line.kind, line.message) == (kind, message)
    assert (line.job_id, line.seq, line.at, line.by) == ("job-1", 7, AT, "user:ada")
    assert line.detail == ("at byte 7" if kind == "Error" else "")


def test_progress_is_counted_and_not_told() -> None:
    facts = {"run": 1, "report": 1, "cursor": "{}", "imbalance": 0, "stream": "s", "lane": "realtime", "bytes_read": 1}
    assert log_line(told(JobProgressed, counts=Counts(read=1, accepted=1), **facts), ORDERS) is None


@given(ANY_EVENT)
def test_every_event_has_its_line(event: JobEvent) -> None:
    line = log_line(event, NoJob(event.job_id))
    if line is None:
        assert isinstance(event, JobProgressed)
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
