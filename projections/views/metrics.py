"""Counts by time: which minute an event counts in, and how minutes and hours add up to the buckets of a chart. Pure.

Buckets start at whole multiples of their interval since 1970 UTC, so a chart that moves on keeps its buckets.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from schemas.commands import NONE, Counts
from schemas.events import JobEvent, JobProgressed
from schemas.instants import EPOCH

Grain = Literal[1, 60]  # minutes that one stored row stands for

MINUTE: Final[Grain] = 1
HOUR: Final[Grain] = 60
MAX_BUCKETS: Final = 11_000  # a week of minutes


class InvalidRangeError(ValueError):
    """The range or the interval can't be answered. The message says what would do."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """What was counted from `start` for one interval."""

    start: datetime
    counts: Counts


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Stored rows of one grain, from minute `first` up to but without minute `past` (minutes since 1970 UTC)."""

    grain: Grain
    first: int
    past: int


@dataclass(frozen=True, slots=True)
class BucketPlan:
    """Which stored rows answer a question, and the buckets (of `width` minutes) they add up to."""

    width: int
    first: int
    past: int
    spans: tuple[TimeRange, ...]


def minute_of(moment: datetime) -> int:
    """Return the minutes since 1970 UTC."""
    return (moment - EPOCH) // timedelta(minutes=1)


def counted(event: JobEvent) -> Iterator[tuple[Grain, int, str, Counts]]:
    """Yield what an event adds: the grain, the minute that the row starts at, the stream and the counts."""
    if isinstance(event, JobProgressed) and event.counts != NONE:
        minute = minute_of(event.occurred_at)
        yield MINUTE, minute, event.stream, event.counts
        yield HOUR, minute - minute % HOUR, event.stream, event.counts


def plan(since: datetime, until: datetime, interval: timedelta) -> BucketPlan:
    """Return how to answer for `since <= moment < until`, both widened to whole minutes.

    Raises:
        InvalidRangeError: a range that is empty or before 1970, an interval of no whole minutes, or too many buckets.

    """
    if since < EPOCH:
        raise InvalidRangeError("`since` lies before 1970; nothing was counted then")
    first, past = minute_of(since), -((EPOCH - until) // timedelta(minutes=1))
    if first >= past:
        raise InvalidRangeError("the range is empty: `until` has to lie after `since`")
    width = interval // timedelta(minutes=1)
    if interval < timedelta(minutes=1) or interval % timedelta(minutes=1):
        raise InvalidRangeError(f"an interval is a whole number of minutes, 1 or more; this one is {interval}")
    buckets = (past - 1) // width - first // width + 1
    if buckets > MAX_BUCKETS:
        enough = -(-(past - first) // (MAX_BUCKETS - 1))
        raise InvalidRangeError(
            f"the range has {buckets:,} buckets, {MAX_BUCKETS:,} is the most: "
            f"take an interval of {enough:,} minutes or more, or a shorter range"
        )
    return BucketPlan(width, first, past, tuple(_spans(first, past, width)))


def _spans(first: int, past: int, width: int) -> Iterator[TimeRange]:
    """Yield hours where whole hours fit into the buckets, and minutes for what is left at the ends."""
    hours, hours_past = -(-first // HOUR) * HOUR, past // HOUR * HOUR
    if width % HOUR or hours >= hours_past:
        yield TimeRange(MINUTE, first, past)
        return
    if first < hours:
        yield TimeRange(MINUTE, first, hours)
    yield TimeRange(HOUR, hours, hours_past)
    if hours_past < past:
        yield TimeRange(MINUTE, hours_past, past)


def fill(question: BucketPlan, found: Mapping[int, Counts]) -> list[Bucket]:
    """Return every bucket in order; `found` has counts by the minute that a bucket starts at."""
    start = question.first - question.first % question.width
    return [
        Bucket(EPOCH + timedelta(minutes=minute), found.get(minute, NONE))
        for minute in range(start, question.past, question.width)
    ]
