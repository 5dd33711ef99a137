"""Aggregate counts by time: events into stored rows of a minute or an hour, and these into the buckets of a chart.

Buckets start at multiples of their width since 1970 UTC, so a chart that moves with time keeps the same buckets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from schemas.commands import NO_COUNTS, Counts
from schemas.events import (
    JobCompleted,
    JobErrored,
    JobEvent,
    JobFailed,
    JobProgressed,
    JobSlept,
    JobStarted,
    JobSynced,
)
from schemas.instants import EPOCH

Grain = Literal[1, 60]  # minutes per stored row
Measure = Literal["records", "runs", "retries"]

MINUTE: Final[Grain] = 1
HOUR: Final[Grain] = 60
RECORD_OUTCOMES: Final = ("accepted", "rejected", "duplicate", "omitted", "added", "removed")
MAX_BUCKETS: Final = 11_000  # a little more than the minutes of a week


class InvalidRangeError(ValueError):
    """The range or the interval is invalid. The message says what is accepted."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The counts of one interval from `start`."""

    start: datetime
    counts: Counts


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Stored rows of one grain, from minute `first` inclusive to minute `past` exclusive (minutes since 1970 UTC)."""

    grain: Grain
    first: int
    past: int


@dataclass(frozen=True, slots=True)
class BucketPlan:
    """The stored rows to read, and the buckets to aggregate them into.

    A bucket has `width` minutes; they cover minute `first` inclusive to minute `past` exclusive, since 1970 UTC.
    """

    width: int
    first: int
    past: int
    spans: tuple[TimeRange, ...]


def minute_of(moment: datetime) -> int:
    """Return the whole minutes since 1970 UTC, rounded down."""
    return (moment - EPOCH) // timedelta(minutes=1)


def increments(event: JobEvent) -> Iterator[tuple[Grain, int, str, Counts]]:
    """Yield what an event adds to stored rows: grain, first minute of the row, stream and counts."""
    if isinstance(event, JobProgressed) and event.counts != NO_COUNTS:
        minute = minute_of(event.occurred_at)
        yield MINUTE, minute, event.stream, event.counts
        yield HOUR, minute - minute % HOUR, event.stream, event.counts


def totals(event: JobEvent) -> Iterator[tuple[Measure, str, int]]:
    """Yield what an event adds to the totals of its job's provider and type: measure, outcome and amount."""
    match event:
        case JobProgressed():
            for outcome in RECORD_OUTCOMES:
                if amount := getattr(event.counts, outcome):
                    yield "records", outcome, amount
        case JobSlept(reason="error_backoff" | "rate_limit"):
            yield "retries", event.reason, 1
        case JobStarted() | JobSynced() | JobErrored() | JobCompleted() | JobFailed():
            yield "runs", type(event).__name__.removeprefix("Job").lower(), 1
        case _:
            pass


def plan_buckets(since: datetime, until: datetime, interval: timedelta) -> BucketPlan:
    """Plan the query for the time from `since` to `until`, exclusive, both extended to whole minutes.

    Raises:
        InvalidRangeError: the range is empty or before 1970, the interval isn't in whole minutes, or too many buckets.

    """
    if since < EPOCH:
        raise InvalidRangeError("`since` must not be before 1970")
    first = minute_of(since)
    past = -((EPOCH - until) // timedelta(minutes=1))  # rounded up
    if first >= past:
        raise InvalidRangeError("empty range: `until` must be after `since`")
    width = interval // timedelta(minutes=1)
    if interval < timedelta(minutes=1) or interval % timedelta(minutes=1):
        raise InvalidRangeError(f"invalid interval {interval}; expected a whole number of minutes, 1 or more")
    buckets = (past - 1) // width - first // width + 1
    if buckets > MAX_BUCKETS:
        minutes = -(-(past - first) // (MAX_BUCKETS - 1))
        raise InvalidRangeError(
            f"the range has {buckets:,} buckets, the maximum is {MAX_BUCKETS:,}: "
            f"use an interval of {minutes:,} minutes or more, or a shorter range"
        )
    return BucketPlan(width, first, past, tuple(_spans(first, past, width)))


def _spans(first: int, past: int, width: int) -> Iterator[TimeRange]:
    """Yield the rows of hours where whole hours fit into the buckets, and of minutes for the rest at both ends."""
    hours, hours_past = -(-first // HOUR) * HOUR, past // HOUR * HOUR
    if width % HOUR or hours >= hours_past:
        yield TimeRange(MINUTE, first, past)
        return
    if first < hours:
        yield TimeRange(MINUTE, first, hours)
    yield TimeRange(HOUR, hours, hours_past)
    if hours_past < past:
        yield TimeRange(MINUTE, hours_past, past)


def fill_buckets(plan: BucketPlan, counts: Mapping[int, Counts]) -> list[Bucket]:
    """Return all buckets in order, with zeros where `counts`, by the first minute of a bucket, has none."""
    start = plan.first - plan.first % plan.width
    return [
        Bucket(EPOCH + timedelta(minutes=minute), counts.get(minute, NO_COUNTS))
        for minute in range(start, plan.past, plan.width)
    ]
