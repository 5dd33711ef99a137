"""The end of `jobs.events`, followed live: answers whoever waits for a command, and feeds those who listen.

It has no consumer group and commits nothing; every API process follows all partitions by itself.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.kafka.clients import Cluster, Consumer
from app.records.command_waiters import CommandWaiters
from app.records.events import event_in
from schemas.events import JobEvent
from schemas.topics import JOBS_EVENTS, MAX_RECORD_BYTES

QUEUE: Final = 1_000
RETRY_DELAY_SECONDS: Final = 0.5
POLL_MS: Final = 1_000

_log = logging.getLogger(__name__)

Answer = asyncio.Future[tuple[JobEvent, ...]]
Positions = Mapping[int, int]  # the next offset to read, by partition


@dataclass(frozen=True, slots=True)
class TailedEvent:
    """An event and where its record stands."""

    partition: int
    offset: int
    event: JobEvent


@dataclass(slots=True, eq=False)
class EventSubscription:
    """Someone who follows events from `start` on. Whoever reads too slowly is `dropped`, and may come back."""

    start: Positions
    queue: asyncio.Queue[TailedEvent | None] = field(default_factory=lambda: asyncio.Queue(QUEUE))
    dropped: bool = False

    def offer(self, tailed: TailedEvent) -> None:
        """Hand over an event without waiting."""
        if self.dropped:
            return
        if self.queue.qsize() >= QUEUE - 1:
            self.end()
        else:
            self.queue.put_nowait(tailed)

    def end(self) -> None:
        """Let the listener know that nothing more comes."""
        self.dropped = True
        self.queue.put_nowait(None)


class EventTail:
    """The tail of the topic, from the moment that it was started on."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._positions: dict[int, int] = {}
        self._awaited: CommandWaiters[JobEvent] = CommandWaiters()
        self._listeners: set[EventSubscription] = set()
        self._task: asyncio.Task[None] | None = None
        self._following = asyncio.Event()

    @property
    def alive(self) -> bool:
        """Whether the topic is followed right now."""
        return self._following.is_set()

    @property
    def positions(self) -> Positions:
        """The next offset of every partition."""
        return dict(self._positions)

    def start(self) -> None:
        """Begin to follow; it goes on by itself until `stop`, also when Kafka is away for a while."""
        self._task = asyncio.create_task(self._follow(), name="event tail")

    async def stop(self) -> None:
        """Stop following, and let every listener go."""
        for each in tuple(self._listeners):
            each.end()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def following(self) -> None:
        """Wait until the topic is followed."""
        await self._following.wait()

    def expect(self, command_id: str) -> AbstractContextManager[Answer]:
        """Give a future of the events that a command leads to; to be entered before the command is sent."""
        return self._awaited.expect(command_id)

    @contextlib.contextmanager
    def listen(self) -> Iterator[EventSubscription]:
        """Follow the events from now on."""
        listener = EventSubscription(self.positions)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def _follow(self) -> None:
        while True:
            try:
                await self._follow_once()
            except (KafkaError, OSError) as error:
                _log.warning("jobs.events can't be followed, trying again: %r", error)
            finally:
                self._following.clear()
            await asyncio.sleep(RETRY_DELAY_SECONDS)

    async def _follow_once(self) -> None:
        consumer = events_consumer(self._cluster)
        try:
            await consumer.start()
            for each in sorted(consumer.assignment()):
                known = self._positions.get(each.partition)
                if known is None:
                    await consumer.seek_to_end(each)
                    self._positions[each.partition] = await consumer.position(each)
                else:
                    consumer.seek(each, known)
            self._following.set()
            while True:
                self._take(await consumer.getmany(timeout_ms=POLL_MS))
        finally:
            await consumer.stop()

    def _take(self, found: Mapping[TopicPartition, Sequence[Any]]) -> None:
        answers: dict[str, list[JobEvent]] = defaultdict(list)
        for place, records in found.items():
            for record in records:
                self._positions[place.partition] = record.offset + 1
                event = event_in(record.value)
                if event is None:
                    continue
                if event.actor.startswith("user:"):
                    answers[event.command_id].append(event)
                for listener in self._listeners:
                    listener.offer(TailedEvent(record.partition, record.offset, event))
        for command_id, events in answers.items():
            self._awaited.answer(command_id, tuple(events))


def events_consumer(cluster: Cluster) -> Consumer:
    """Return a consumer of all of `jobs.events`, not started."""
    return cluster.consumer(JOBS_EVENTS.name, isolation="read_committed", partition_bytes=MAX_RECORD_BYTES)
