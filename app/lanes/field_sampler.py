"""Samples messages of each stream of one partition, to show which fields they have.

The sample has the first messages of each stream, and then every fiftieth. Its cost and size are bounded: beyond the
bounds nothing is sampled until `drain`. A crash loses what is not drained.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final

from app.store.models import StreamDelta
from projections.fields.field_stats import FieldStats
from projections.mapping.raw_messages import Raw, UnreadableMessageError, parse_message

FIRST: Final = 50  # messages of a stream since the assignment, so that a small stream shows its fields
EVERY: Final = 50
BATCH: Final = 50  # messages parsed in a row: a third of the cost of parsing them one by one
DRAIN_INTERVAL: Final = timedelta(seconds=5)
MAX_SAMPLE_BYTES: Final = 2 * 2**20  # between two drains
MAX_STREAMS: Final = 50
MAX_FIELDS: Final = 2_000  # of all streams together
MAX_NUMBERED_STREAMS: Final = 1_000
NEVER: Final = datetime.min.replace(tzinfo=UTC)


class FieldSample:
    """The sample since the last drain."""

    def __init__(self, lane: str) -> None:
        self._lane = lane
        self._firsts: dict[str, int] = {}  # of each stream's first messages, how many are still to come
        self._skipped: dict[str, int] = {}  # messages of each stream before the next one in the sample
        self._waiting: list[tuple[str, bytes, int]] = []  # stream, message and its time
        self._stats: dict[str, FieldStats] = {}
        self._bytes = 0
        self._fields = 0
        self._drained_at = NEVER

    def inspect(self, raw: Raw) -> None:
        """Add the messages of a record that are in the sample."""
        stream, count = raw.stream, raw.count
        skipped = self._skipped.get(stream, 0)
        if skipped >= count:
            self._skipped[stream] = skipped - count
            return
        for index in self._chosen(stream, skipped, count):
            line = raw.lines[index]
            if self._bytes + len(line) <= MAX_SAMPLE_BYTES:
                self._bytes += len(line)
                self._waiting.append((stream, line, raw.timestamps[index] if raw.timestamps else raw.arrived))
        if len(self._waiting) >= BATCH:
            self._parse_waiting()

    def is_due(self, now: datetime) -> bool:
        """Whether there is something to drain, and the interval has passed."""
        return bool(self._stats or self._waiting) and not timedelta() <= now - self._drained_at < DRAIN_INTERVAL

    def drain(self, deltas: Mapping[str, StreamDelta], now: datetime) -> tuple[StreamDelta, ...]:
        """Return the deltas of streams; when it is due, with sketches of their fields, which start again empty."""
        if not self.is_due(now):
            return tuple(deltas.values())
        self._parse_waiting()
        drained = dict(deltas)
        for stream, stats in self._stats.items():
            delta = drained.get(stream) or StreamDelta(
                stream=stream, lane=self._lane, count=0, bytes=0, last_message_at=NEVER, last_arrival_at=NEVER
            )
            drained[stream] = replace(delta, fields=stats.to_json())
        self._stats, self._bytes, self._fields, self._drained_at = {}, 0, 0, now
        return tuple(drained.values())

    def _chosen(self, stream: str, skipped: int, count: int) -> Iterator[int]:
        """Return which of `count` messages are in the sample, and note how many to skip after them."""
        if stream not in self._firsts:
            if len(self._firsts) >= MAX_NUMBERED_STREAMS:
                self._firsts.clear()  # all start again; invented streams without end are bounded in `_parse`
                self._skipped.clear()
            self._firsts[stream] = FIRST
        first = min(self._firsts[stream], count)
        self._firsts[stream] -= first
        then = range(max(skipped, first), count, EVERY)
        self._skipped[stream] = then[-1] + EVERY - count if then else 0
        return chain(range(first), then)

    def _parse_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for stream, line, at in waiting:
            self._parse(stream, line, at)

    def _parse(self, stream: str, line: bytes, at: int) -> None:
        if self._fields >= MAX_FIELDS or (stream not in self._stats and len(self._stats) >= MAX_STREAMS):
            return
        try:
            message = parse_message(line)
        except UnreadableMessageError:
            return  # mapping it makes the dead letter
        stats = self._stats.setdefault(stream, FieldStats())
        before = stats.tracked_fields
        stats.add(message, at)
        self._fields += stats.tracked_fields - before
