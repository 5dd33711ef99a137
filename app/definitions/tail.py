"""`definitions.events`: read once up to an offset, or followed live. No consumer group; nothing is committed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from app.kafka.clients import Cluster
from app.kafka.partition_reader import PartitionReader
from projections.jobs.event_checks import UnreadableEventError, read_definition_event
from schemas.definitions import PARTITION, DefinitionEvent
from schemas.topics import DEFINITIONS_EVENTS

RETRY_DELAY_SECONDS: Final = 0.5
CATCH_UP_SECONDS: Final = 60.0
POLL_MS: Final = 1_000
POLL_RECORDS: Final = 1_000

Subscriber = Callable[[int, DefinitionEvent | None], None]  # the record's offset, and its event if it has one

_log = logging.getLogger(__name__)


class NoSuchOffsetError(ValueError):
    """`definitions.events` ends before that offset: records were lost, or this is another cluster."""


class DefinitionsTail:
    """Follows the topic from its beginning, through losses of the broker, and hands each record to all subscribers.

    Subscribers get every record in order, each once, in the order of subscription: all of them are at one offset.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.position = 0  # the offset of the next record
        self.cluster = cluster
        self._subscribers: list[Subscriber] = []
        self._caught_up = asyncio.Event()
        self._following = False
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the topic is followed right now and was read to its end once."""
        return self._following and self._caught_up.is_set()

    @property
    def complete(self) -> bool:
        """Whether the topic was read to its end once."""
        return self._caught_up.is_set()

    def subscribe(self, subscriber: Subscriber) -> None:
        """Hand all records to `subscriber`, too; call it before `start`."""
        self._subscribers.append(subscriber)

    def start(self) -> None:
        """Begin to follow. It continues until `stop` and reconnects when Kafka was unreachable."""
        self._task = asyncio.create_task(self._follow(), name="definitions tail")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def caught_up(self, seconds: float = CATCH_UP_SECONDS) -> None:
        """Wait until all records that existed at the start are read; raise what ended the following, if anything.

        Raises:
            KafkaTimeoutError: the end was not reached within `seconds`.

        """
        if self._task is None:
            raise RuntimeError("the tail was not started")
        waiting = asyncio.create_task(self._caught_up.wait())
        try:
            await asyncio.wait((waiting, self._task), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._task.done():
            self._task.result()
        if not self._caught_up.is_set():
            raise KafkaTimeoutError(f"{DEFINITIONS_EVENTS.name} could not be read to its end in {seconds:.0f} seconds")

    async def _follow(self) -> None:
        while True:
            try:
                await self._follow_once()
            except (KafkaError, OSError) as error:
                _log.warning("%s can't be followed, trying again: %r", DEFINITIONS_EVENTS.name, error)
            finally:
                self._following = False
            await asyncio.sleep(RETRY_DELAY_SECONDS)

    async def _follow_once(self) -> None:
        where = TopicPartition(DEFINITIONS_EVENTS.name, PARTITION)
        consumer = self.cluster.consumer(isolation="read_committed")
        try:
            await consumer.start()
            consumer.assign([where])
            end = (await consumer.end_offsets([where]))[where]
            consumer.seek(where, self.position)
            self._following = True
            while True:
                if not self._caught_up.is_set() and await consumer.position(where) >= end:
                    self._caught_up.set()
                polled = await consumer.getmany(where, timeout_ms=POLL_MS, max_records=POLL_RECORDS)
                for record in polled.get(where, ()):
                    self._deliver(record)
        finally:
            await consumer.stop()

    def _deliver(self, record: Any) -> None:
        if record.offset < self.position:
            return
        self.position = record.offset + 1
        event = _event_in(record.offset, record.value)
        for subscriber in self._subscribers:
            subscriber(record.offset, event)


async def read_events(
    cluster: Cluster, start: int = 0, end: int | None = None
) -> AsyncIterator[tuple[int, DefinitionEvent | None]]:
    """Yield the records from `start` up to `end`, by default up to the present end: offset, and the event if any.

    Raises:
        NoSuchOffsetError: the topic ends before `end`.
        KafkaError, OSError: it can't be read now.

    """
    async with PartitionReader(cluster, DEFINITIONS_EVENTS.name, PARTITION, start) as log:
        if end is not None:
            if end > log.end:
                raise NoSuchOffsetError(f"{DEFINITIONS_EVENTS.name} ends at offset {log.end}, before {end}")
            log.end = end
        async for record in log.records():
            yield record.offset, _event_in(record.offset, record.value)


def _event_in(offset: int, value: bytes | None) -> DefinitionEvent | None:
    """Return the event in a record; log a warning and return None when there is none."""
    try:
        return read_definition_event(value)
    except UnreadableEventError as error:
        _log.warning("%s/%d@%d is skipped: %s", DEFINITIONS_EVENTS.name, PARTITION, offset, error)
        return None
