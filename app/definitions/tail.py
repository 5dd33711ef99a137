"""All of `definitions.events`, from its beginning and then live. It has no consumer group and commits nothing.

Who follows it is handed every event in order, each once; a broker that is away is waited for.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.kafka.clients import Cluster
from projections.jobs.event_checks import UnreadableEventError, read_definition_event
from schemas.definitions import PARTITION, DefinitionEvent
from schemas.topics import DEFINITIONS_EVENTS

RETRY_DELAY_SECONDS: Final = 0.5
POLL_MS: Final = 1_000
POLL_RECORDS: Final = 1_000

Take = Callable[[int, DefinitionEvent | None], None]  # the record's offset, and its event if it has one

_log = logging.getLogger(__name__)


class DefinitionsTail:
    """Hands events to `take` as they are committed; a record without an event, too, so that offsets are known."""

    def __init__(self, cluster: Cluster, take: Take) -> None:
        self.position = 0  # the next offset to be taken
        self._cluster = cluster
        self._take = take
        self._caught_up = asyncio.Event()
        self._following = False
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the topic is followed right now, and was read to its end once."""
        return self._following and self._caught_up.is_set()

    @property
    def complete(self) -> bool:
        """Whether the topic was read to its end once."""
        return self._caught_up.is_set()

    def start(self) -> None:
        """Begin to follow; it goes on by itself until `stop`, also when Kafka is away for a while."""
        self._task = asyncio.create_task(self._follow(), name="definitions tail")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def caught_up(self) -> None:
        """Wait until all that there was at the start is taken; raises what ended the following, if anything did."""
        if self._task is None:
            raise RuntimeError("the tail was not started")
        waiting = asyncio.create_task(self._caught_up.wait())
        try:
            await asyncio.wait((waiting, self._task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._task.done():
            self._task.result()

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
        consumer = self._cluster.consumer(isolation="read_committed")
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
                    self._hand_over(record)
        finally:
            await consumer.stop()

    def _hand_over(self, record: Any) -> None:
        if record.offset < self.position:
            return
        self.position = record.offset + 1
        self._take(record.offset, event_in(record.offset, record.value))


def event_in(offset: int, value: bytes | None) -> DefinitionEvent | None:
    """Return the event in a record; None, and a line in the log, when there is none."""
    try:
        return read_definition_event(value)
    except UnreadableEventError as error:
        _log.warning("%s/%d@%d is passed over: %s", DEFINITIONS_EVENTS.name, PARTITION, offset, error)
        return None
