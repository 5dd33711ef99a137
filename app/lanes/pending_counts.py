"""Counts of one partition that are not stored yet: storing those of each record would cost more than the record.

A crash loses none: the lane resumes at the stored offset, and profiles skip the updates that they have applied.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from app.store.models import StreamDelta


@dataclass(slots=True)
class PendingCounts:
    """Messages by stream and by job, and dead letters by code, of the raw records from `start` up to `next_offset`."""

    start: int
    next_offset: int
    streams: dict[str, StreamDelta] = field(default_factory=dict)
    jobs: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        next_offset: int,
        streams: Mapping[str, StreamDelta],
        jobs: Mapping[str, int],
        rejected: Mapping[str, int],
    ) -> None:
        """Add the counts of the records up to `next_offset`."""
        self.next_offset = max(self.next_offset, next_offset)
        self.jobs.update(jobs)
        self.rejected.update(rejected)
        for stream, delta in streams.items():
            pending = self.streams.get(stream)
            self.streams[stream] = delta if pending is None else _sum(pending, delta)


def _sum(one: StreamDelta, other: StreamDelta) -> StreamDelta:
    return replace(
        one,
        count=one.count + other.count,
        bytes=one.bytes + other.bytes,
        last_message_at=max(one.last_message_at, other.last_message_at),
        last_arrival_at=max(one.last_arrival_at, other.last_arrival_at),
        blocked=Counter(one.blocked) + Counter(other.blocked),
        last_offset=max(one.last_offset, other.last_offset),
    )
