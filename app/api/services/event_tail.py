"""Follows `jobs.events` live: resolves the commands that requests wait for, and feeds event subscriptions.

Every API process follows all partitions.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from app.kafka.clients import Cluster, Consumer
from app.kafka.tail import Tail
from app.records.command_waiters import CommandWaiters
from app.records.events import decode_event
from schemas.events import JobEvent
from schemas.topics import JOBS_EVENTS, MAX_RECORD_BYTES

MAX_QUEUED_EVENTS: Final = 1_000
MAX_REMEMBERED: Final = 2_000  # events of commands; a repeated request sends the same command

Answer = asyncio.Future[tuple[JobEvent, ...]]
Positions = Mapping[int, int]  # the next offset to read, by partition


@dataclass(frozen=True, slots=True)
class TailedEvent:
    """An event and the position of its record."""

    partition: int
    offset: int
    event: JobEvent


@dataclass(slots=True, eq=False)
class EventSubscription:
    """A bounded queue of events from `start` on. A slow reader is `dropped`: its queue ends with None."""

    start: Positions
    queue: asyncio.Queue[TailedEvent | None] = field(default_factory=lambda: asyncio.Queue(MAX_QUEUED_EVENTS))
    dropped: bool = False

    def offer(self, tailed: TailedEvent) -> None:
        """Add an event; drop the reader when the queue is full."""
        if self.dropped:
            return
        if self.queue.qsize() >= MAX_QUEUED_EVENTS - 1:
            self.end()
        else:
            self.queue.put_nowait(tailed)

    def end(self) -> None:
        """Add nothing more."""
        self.dropped = True
        self.queue.put_nowait(None)


class EventTail(Tail):
    """The tail of the topic, from its end at the start of this process."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster, JOBS_EVENTS.name, self._dispatch, start="end")
        self._waiters: CommandWaiters[JobEvent] = CommandWaiters(MAX_REMEMBERED)
        self._subscriptions: set[EventSubscription] = set()

    async def stop(self) -> None:
        """Stop following, and end every subscription."""
        for subscription in tuple(self._subscriptions):
            subscription.end()
        await super().stop()

    def expect(self, command_id: str) -> AbstractContextManager[Answer]:
        """Return a future of the events that a command leads to; enter it before the command is sent."""
        return self._waiters.expect(command_id)

    @contextlib.contextmanager
    def listen(self) -> Iterator[EventSubscription]:
        """Subscribe to the events from now on."""
        subscription = EventSubscription(self.positions)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    def _dispatch(self, records: Sequence[Any]) -> None:
        answers: dict[str, list[JobEvent]] = defaultdict(list)
        for record in records:
            event = decode_event(record.value)
            if event is None:
                continue
            if event.actor.startswith("user:"):
                answers[event.command_id].append(event)
            for subscription in self._subscriptions:
                subscription.offer(TailedEvent(record.partition, record.offset, event))
        for command_id, events in answers.items():
            self._waiters.answer(command_id, tuple(events))


def events_consumer(cluster: Cluster) -> Consumer:
    """Return a consumer of all of `jobs.events`, not started."""
    return cluster.consumer(JOBS_EVENTS.name, isolation="read_committed", partition_bytes=MAX_RECORD_BYTES)
