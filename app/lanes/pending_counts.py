"""What a lane has told the profiles of one partition and has not counted yet: counting each record costs more than it.

A crash loses none of it: the lane reads on from where it had counted, and profiles know what they were told before.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from app.store.models import StreamDelta


@dataclass(slots=True)
class PendingCounts:
    """Between which raw offsets, what was seen of each stream, and how many messages of each job."""

    begin: int
    reached: int
    seen: dict[str, StreamDelta] = field(default_factory=dict)
    jobs: Counter[str] = field(default_factory=Counter)

    def add(self, reached: int, seen: Mapping[str, StreamDelta], jobs: Mapping[str, int]) -> None:
        """Take over what more was told."""
        self.reached = max(self.reached, reached)
        self.jobs.update(jobs)
        for stream, delta in seen.items():
            known = self.seen.get(stream)
            self.seen[stream] = delta if known is None else _together(known, delta)


def _together(one: StreamDelta, other: StreamDelta) -> StreamDelta:
    return replace(
        one,
        count=one.count + other.count,
        bytes=one.bytes + other.bytes,
        last_message_at=max(one.last_message_at, other.last_message_at),
        last_arrival_at=max(one.last_arrival_at, other.last_arrival_at),
    )
