"""A job in two sentences."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from app.sentences.job_summary import cadence_in_words, status_label, summary
from projections.jobs.retry import Streak
from projections.jobs.state import Completed, Failed, Job, Killed, Paused, Phase, Purged, Running, Sleeping, next_wake
from schemas.commands import Counts
from schemas.policies import BlackoutWindow, Cadence
from tests.laws.job_strategies import History, histories

AT = datetime(2026, 11, 3, 14, 3, tzinfo=UTC)
LIMITED: dict[str, Any] = {"code": "rate_limited", "params": {"url": "u", "status": 429}}
SOON = AT + timedelta(minutes=2, seconds=10)
JOB = Job(
    job_id="job-1",
    seq=9,
    command_offset=9,
    phase=Running(since=AT),
    provider="csv",
    job_type="file",
    kind="import",
    name="Orders",
    description="",
    created_at=AT,
    updated_at=AT,
    configuration="{}",
    cadence=Cadence(kind="interval", every_seconds=900),
    pass_counts=Counts(read=2_699, accepted=2_690, rejected=9),
    total_counts=Counts(read=5_000, accepted=5_000),
)


@pytest.mark.parametrize(
    ("phase", "stands"),
    [
        (
            Running(since=AT),
            "Running since 2026-11-03 14:03:00 UTC: 2,699 read, 2,690 accepted, 9 rejected in this sync.",
        ),
        (
            Running(since=AT, queued_at=SOON),
            (
                "Running since 2026-11-03 14:03:00 UTC: 2,699 read, 2,690 accepted, 9 rejected in this sync; "
                "waiting for a free slot since 2026-11-03 14:05:10 UTC."
            ),
        ),
        (
            Sleeping(
                since=AT, reason="rate_limit", until=SOON, code="rate_limited", params={"url": "u", "status": 429}
            ),
            "Sleeping until 2026-11-03 14:05:10 UTC: rate limit (`u` responded with 429: rate limit).",
        ),
        (
            Sleeping(since=AT, reason="cadence", until=SOON),
            "Sleeping until 2026-11-03 14:05:10 UTC: until the next scheduled run.",
        ),
        (
            Failed(since=AT, code="timed_out", params={"url": "u"}),
            "Failed at 2026-11-03 14:03:00 UTC: `u` did not respond in time. Manual resume required.",
        ),
        (Paused(since=AT, draft=True), "Draft; not started yet."),
        (Paused(since=AT), "Paused since 2026-11-03 14:03:00 UTC, until it is resumed."),
        (Paused(since=AT, until=SOON), "Paused since 2026-11-03 14:03:00 UTC, until 2026-11-03 14:05:10 UTC."),
        (Completed(since=AT), "Completed at 2026-11-03 14:03:00 UTC: 5,000 read, 5,000 accepted in total."),
        (Killed(since=AT), "Killed at 2026-11-03 14:03:00 UTC; it can be restored until it is purged."),
        (Purged(since=AT), "Purged at 2026-11-03 14:03:00 UTC."),
    ],
)
def test_what_it_does_and_how_it_stands(phase: Phase, stands: str) -> None:
    assert summary(replace(JOB, phase=phase)) == f"csv/file, every 15 minutes. {stands}"


def test_a_completed_job_with_rejects_says_so() -> None:
    job = replace(JOB, phase=Completed(since=AT), total_counts=Counts(read=3, rejected=3))
    assert status_label(job) == "Completed with rejects"
    assert "Completed with rejects at" in summary(job)
    assert status_label(replace(job, phase=Running(since=AT))) == "Running"


def test_a_pass_that_has_read_nothing_says_nothing_of_it() -> None:
    job = replace(JOB, kind="export", pass_counts=Counts())
    assert summary(job) == "csv/file, every 15 minutes. Running since 2026-11-03 14:03:00 UTC."


@pytest.mark.parametrize(("consecutive", "errors"), [(1, "1 error"), (1_200, "1,200 errors in a row")])
def test_errors_are_shown_until_the_streak_ends(consecutive: int, errors: str) -> None:
    job = replace(JOB, pass_counts=Counts(), streak=Streak(consecutive=consecutive, since=AT))
    assert summary(job).endswith(f"Running since 2026-11-03 14:03:00 UTC; {errors} since 2026-11-03 14:03:00 UTC.")


@pytest.mark.parametrize(
    ("cadence", "words"),
    [
        (Cadence(), "once"),
        (Cadence(kind="continuous"), "continuously"),
        (Cadence(kind="interval", every_seconds=5_400), "every 1 hour 30 minutes"),
        (
            Cadence(kind="cron", cron="0 3 * * *", time_zone="Europe/Berlin"),
            "cron `0 3 * * *` (Europe/Berlin)",
        ),
        (Cadence(blackout_windows=(BlackoutWindow(start="22:00", end="06:00"),)), "once, with blackout windows"),
    ],
)
def test_how_often(cadence: Cadence, words: str) -> None:
    assert cadence_in_words(cadence) == words


def test_the_next_wake_is_the_end_of_a_sleep_or_a_timed_pause() -> None:
    assert next_wake(replace(JOB, phase=Sleeping(since=AT, reason="cadence", until=SOON))) == SOON
    assert next_wake(replace(JOB, phase=Paused(since=AT, until=SOON))) == SOON
    assert next_wake(replace(JOB, phase=Paused(since=AT))) is None
    assert next_wake(JOB) is None


@given(histories())
def test_every_job_has_a_summary(history: History) -> None:
    if history.state:
        assert summary(history.state).endswith(".")


def test_a_failed_upload_is_repeated() -> None:
    upload = replace(JOB, provider="collect", job_type="bulk_csv", phase=Failed(since=AT, code="empty_body"))
    assert summary(upload).endswith(". Repeat the upload.")
