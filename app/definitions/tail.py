"""`definitions.events`: read once up to an offset, or followed live. No consumer group; nothing is committed."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from app.kafka.clients import Cluster
from app.kafka.partition_reader import PartitionReader
from app.kafka.tail import Tail
from app.process import Monotonic
from app.sentences.sentence import sentence_of
from projections.jobs.event_checks import UnreadableEventError, read_definition_event
from schemas.definitions import PARTITION, DefinitionEvent
from schemas.topics import DEFINITIONS_EVENTS

Subscriber = Callable[[int, DefinitionEvent | None], None]  # the record's offset, and its event if it has one

_log = logging.getLogger(__name__)


class NoSuchOffsetError(ValueError):
    """`definitions.events` ends before that offset: records were lost, or this is another cluster."""


class DefinitionsTail(Tail):
    """Follows the topic from its beginning and hands each record to all subscribers.

    Subscribers get every record in order, each once, in the order of subscription: all of them are at one offset.
    """

    def __init__(self, cluster: Cluster, monotonic: Monotonic = time.monotonic) -> None:
        super().__init__(cluster, DEFINITIONS_EVENTS.name, self._deliver, start="beginning", monotonic=monotonic)
        self.position = 0  # the offset of the next record
        self.cluster = cluster
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """Hand all records to `subscriber`, too; call it before `start`."""
        self._subscribers.append(subscriber)

    def _deliver(self, records: Sequence[Any]) -> None:
        for record in records:
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
        _log.warning("%s/%d@%d is skipped: %s", DEFINITIONS_EVENTS.name, PARTITION, offset, sentence_of(error))
        return None
