"""A look at some messages of each stream of one partition, so that people see which fields they have. Knows no Kafka.

Of each stream the first messages are looked at, and then every fiftieth. It costs little and holds little, whatever
comes: beyond the bounds nothing is looked at until what is known was handed over. A crash loses what was not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final

from app.store.models import StreamDelta
from projections.fields.field_stats import FieldStats
from projections.mapping.raw_messages import Raw, UnreadableMessageError, parse

FIRST: Final = 50  # messages of a stream since the lane began here, so that a small stream shows its fields
EVERY: Final = 50
TOGETHER: Final = 50  # are looked at in a row, which costs a third of looking between other work
HAND_OVER: Final = timedelta(seconds=5)
MAX_SAMPLE_BYTES: Final = 2 * 2**20  # looked at between two hand-overs
MAX_STREAMS: Final = 50
MAX_FIELDS: Final = 2_000  # of all streams together
REMEMBERED: Final = 1_000  # streams whose messages are numbered
NEVER: Final = datetime.min.replace(tzinfo=UTC)


class FieldSample:
    """What was looked at and not handed over yet."""

    def __init__(self, lane: str) -> None:
        self._lane = lane
        self._firsts: dict[str, int] = {}  # how many of a stream's first messages are still to come
        self._skipped: dict[
            str, int
        ] = {}  # how many messages of a stream are not looked at before the next one that is
        self._waiting: list[tuple[str, bytes, int]] = []  # stream, message and its time
        self._known: dict[str, FieldStats] = {}
        self._bytes = 0
        self._fields = 0
        self._handed_over_at = NEVER

    def look(self, raw: Raw) -> None:
        """Look at those messages of a record that are in the sample."""
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
        if len(self._waiting) >= TOGETHER:
            self._look_at_waiting()

    def is_due(self, now: datetime) -> bool:
        """Whether there is something to hand over, and it's time to."""
        return bool(self._known or self._waiting) and not timedelta() <= now - self._handed_over_at < HAND_OVER

    def handed_over(self, seen: Mapping[str, StreamDelta], now: datetime) -> tuple[StreamDelta, ...]:
        """Return what was seen of each stream together with the sketches of its fields, and begin anew."""
        if not self.is_due(now):
            return tuple(seen.values())
        self._look_at_waiting()
        told = dict(seen)
        for stream, stats in self._known.items():
            delta = told.get(stream) or StreamDelta(
                stream=stream, lane=self._lane, count=0, bytes=0, last_message_at=NEVER, last_arrival_at=NEVER
            )
            told[stream] = replace(delta, fields=stats.to_json())
        self._known, self._bytes, self._fields, self._handed_over_at = {}, 0, 0, now
        return tuple(told.values())

    def _chosen(self, stream: str, skipped: int, count: int) -> Iterator[int]:
        """Return which of `count` messages are in the sample, and note how many behind them are not."""
        if stream not in self._firsts:
            if len(self._firsts) >= REMEMBERED:
                self._firsts.clear()  # all begin anew: who makes up streams without end is bounded below
                self._skipped.clear()
            self._firsts[stream] = FIRST
        first = min(self._firsts[stream], count)
        self._firsts[stream] -= first
        then = range(max(skipped, first), count, EVERY)
        self._skipped[stream] = then[-1] + EVERY - count if then else 0
        return chain(range(first), then)

    def _look_at_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for stream, line, at in waiting:
            self._look_at(stream, line, at)

    def _look_at(self, stream: str, line: bytes, at: int) -> None:
        if self._fields >= MAX_FIELDS or (stream not in self._known and len(self._known) >= MAX_STREAMS):
            return
        try:
            message = parse(line)
        except UnreadableMessageError:
            return  # whoever maps it says so
        stats = self._known.setdefault(stream, FieldStats())
        before = stats.tracked_fields
        stats.add(message, at)
        self._fields += stats.tracked_fields - before
