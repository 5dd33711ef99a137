"""A cluster in memory with the topics of definitions, and a way to write events to it."""

from collections.abc import Awaitable, Callable

import pytest

from app.kafka.clients import started
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord, send
from schemas.definitions import PARTITION, DefinitionEvent
from schemas.topics import DEFINITIONS_EVENTS
from schemas.wire.codec import encode

Write = Callable[..., Awaitable[None]]


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster({DEFINITIONS_EVENTS.name: 2})


@pytest.fixture
def write(cluster: MemoryCluster) -> Write:
    async def written(*events: DefinitionEvent | bytes) -> None:
        values = [event if isinstance(event, bytes) else encode(event) for event in events]
        producer = cluster.producer(compression=None, linger_ms=0, request_timeout_ms=1_000)
        async with started(producer):
            await send(
                producer, [ProducerRecord(DEFINITIONS_EVENTS.name, value, partition=PARTITION) for value in values]
            )

    return written
