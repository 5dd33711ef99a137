"""Counts by time: increments of events, and bucket plans for any range."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.views.metrics import (
    HOUR,
    MAX_BUCKETS,
    MINUTE,
    Bucket,
    BucketPlan,
    InvalidRangeError,
    TimeRange,
    fill_buckets,
    increments,
    minute_of,
    plan_buckets,
    totals,
)
from schemas.commands import Counts
from schemas.events import JobCompleted, JobEvent, JobProgressed, JobResumed, JobSlept, JobStarted, JobSynced
from schemas.instants import EPOCH

AT = datetime(2026, 11, 3, 14, 33, 59, 999_999, tzinfo=UTC)
ONE_MINUTE = timedelta(minutes=1)


def progress(counts: Counts) -> JobProgressed:
    return JobProgressed(
        event_id="e", job_id="job-1", seq=3, occurred_at=AT, command_id="c", command_offset=1, actor="runner", rules=1,
        run=1, report=1, cursor="{}", counts=counts, imbalance=0, stream="orders", lane="realtime", bytes_read=1,
    )  # fmt: skip


def test_progress_counts_in_its_minute_and_its_hour() -> None:
    counts = Counts(read=2, accepted=2)
    minute = minute_of(AT)
    assert EPOCH + minute * ONE_MINUTE == datetime(2026, 11, 3, 14, 33, tzinfo=UTC)
    assert list(increments(progress(counts))) == [
        (MINUTE, minute, "orders", counts),
        (HOUR, minute - 33, "orders", counts),
    ]


def test_events_without_counts_have_no_increments() -> None:
    assert list(increments(progress(Counts()))) == []
    resumed = JobResumed(
        event_id="e", job_id="job-1", seq=3, occurred_at=AT, command_id="c", command_offset=1, actor="runner", rules=1
    )
    assert list(increments(resumed)) == []


def test_totals_have_the_outcomes_of_records_runs_and_waits() -> None:
    envelope: dict[str, Any] = {
        "event_id": "e", "job_id": "job-1", "seq": 3, "occurred_at": AT, "command_id": "c", "command_offset": 1,
        "actor": "runner", "rules": 1,
    }  # fmt: skip
    counts = Counts(read=9, accepted=4, rejected=3, duplicate=2)
    cases: list[tuple[JobEvent, list[tuple[str, str, int]]]] = [
        (progress(counts), [("records", "accepted", 4), ("records", "rejected", 3), ("records", "duplicate", 2)]),
        (JobStarted(**envelope, run=1, reason="created"), [("runs", "started", 1)]),
        (JobSynced(**envelope, run=1, counts=counts), [("runs", "synced", 1)]),
        (JobCompleted(**envelope, run=1), [("runs", "completed", 1)]),
        (JobSlept(**envelope, reason="rate_limit", sleep_until=AT), [("retries", "rate_limit", 1)]),
        (JobSlept(**envelope, reason="error_backoff", sleep_until=AT, code="x"), [("retries", "error_backoff", 1)]),
        (JobSlept(**envelope, reason="cadence", sleep_until=AT), []),
        (JobResumed(**envelope), []),
    ]
    for event, expected in cases:
        assert list(totals(event)) == expected


def at(minute: int) -> datetime:
    return EPOCH + minute * ONE_MINUTE


@pytest.mark.parametrize(
    ("first", "past", "width", "spans"),
    [
        (0, 60, 1, (TimeRange(MINUTE, 0, 60),)),
        (0, 120, 90, (TimeRange(MINUTE, 0, 120),)),
        (0, 120, 60, (TimeRange(HOUR, 0, 120),)),
        (5, 50, 60, (TimeRange(MINUTE, 5, 50),)),
        (59, 61, 60, (TimeRange(MINUTE, 59, 61),)),
        (5, 120, 120, (TimeRange(MINUTE, 5, 60), TimeRange(HOUR, 60, 120))),
        (60, 185, 60, (TimeRange(HOUR, 60, 180), TimeRange(MINUTE, 180, 185))),
        (5, 185, 60, (TimeRange(MINUTE, 5, 60), TimeRange(HOUR, 60, 180), TimeRange(MINUTE, 180, 185))),
    ],
)
def test_hours_are_used_where_they_fit(first: int, past: int, width: int, spans: tuple[TimeRange, ...]) -> None:
    assert plan_buckets(at(first), at(past), width * ONE_MINUTE) == BucketPlan(width, first, past, spans)


@given(st.integers(0, 9_000), st.integers(1, 9_000), st.integers(1, 9_000))
def test_every_minute_of_a_range_is_read_once(first: int, length: int, width: int) -> None:
    bucket_plan = plan_buckets(at(first), at(first + length), width * ONE_MINUTE)
    minutes = [minute for span in bucket_plan.spans for minute in range(span.first, span.past)]
    assert minutes == list(range(first, first + length))
    assert all(span.first % span.grain == span.past % span.grain == 0 for span in bucket_plan.spans)
    buckets = fill_buckets(bucket_plan, {})
    assert buckets[0].start <= at(first) < buckets[0].start + width * ONE_MINUTE
    assert buckets[-1].start < at(first + length) <= buckets[-1].start + width * ONE_MINUTE
    assert all((bucket.start - EPOCH) % (width * ONE_MINUTE) == timedelta() for bucket in buckets)


def test_a_range_is_extended_to_whole_minutes() -> None:
    bucket_plan = plan_buckets(at(10) + timedelta(seconds=59), at(11) + timedelta(microseconds=1), ONE_MINUTE)
    assert (bucket_plan.first, bucket_plan.past) == (10, 12)


def test_empty_buckets_are_included() -> None:
    counts = Counts(read=1)
    assert fill_buckets(plan_buckets(at(4), at(7), 2 * ONE_MINUTE), {6: counts}) == [
        Bucket(at(4), Counts()),
        Bucket(at(6), counts),
    ]


@pytest.mark.parametrize("interval", [timedelta(), timedelta(seconds=59), timedelta(seconds=90), -ONE_MINUTE])
def test_an_interval_must_be_in_whole_minutes(interval: timedelta) -> None:
    with pytest.raises(InvalidRangeError, match="a whole number of minutes, 1 or more"):
        plan_buckets(at(0), at(60), interval)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(InvalidRangeError, match="`until` must be after `since`"):
        plan_buckets(at(5), at(5), ONE_MINUTE)


def test_a_range_before_1970_is_refused_and_an_unbounded_one_is_not() -> None:
    with pytest.raises(InvalidRangeError, match="must not be before 1970"):
        plan_buckets(datetime.min.replace(tzinfo=UTC), AT, timedelta(days=9_999))
    unbounded = plan_buckets(EPOCH, datetime.max.replace(tzinfo=UTC), timedelta(days=999_999_999))
    assert fill_buckets(unbounded, {}) == [Bucket(EPOCH, Counts())]


def test_too_many_buckets_are_refused_with_a_valid_interval() -> None:
    assert len(fill_buckets(plan_buckets(at(0), at(MAX_BUCKETS), ONE_MINUTE), {})) == MAX_BUCKETS
    with pytest.raises(InvalidRangeError, match=r"11,001 buckets, the maximum is 11,000: use an interval of 2 minutes"):
        plan_buckets(at(0), at(MAX_BUCKETS + 1), ONE_MINUTE)
    with pytest.raises(InvalidRangeError, match="use an interval of 48 minutes or more"):
        plan_buckets(at(1), at(1 + 365 * 24 * 60), ONE_MINUTE)
    assert plan_buckets(at(1), at(1 + 365 * 24 * 60), 48 * ONE_MINUTE).width == 48
