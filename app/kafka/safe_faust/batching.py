"""Micro-batches: an agent takes what has arrived, works on all of it, and acknowledges it once that is durable.

Agents handle exceptions they know and let all others escape; those trip the latch. They use no `stream.take`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, Protocol

BATCH_RECORDS: Final = 1000
TURNS: Final = 4  # of the event loop, between looks at the queue


class Message(Protocol):
    """Where a record came from."""

    topic: str
    partition: int
    offset: int
    timestamp: float  # seconds since 1970 UTC
    headers: Any  # a sequence of (str, bytes)


class Event(Protocol):
    """What Faust hands to an agent; keys and values are the raw bytes of the record."""

    key: bytes | None
    value: bytes | None
    message: Message

    def ack(self) -> bool:
        """Count the record as done."""
        ...


async def batches(stream: Any, limit: int = BATCH_RECORDS) -> AsyncIterator[list[Event]]:
    """Yield what is queued, at least one event and at most `limit`, in order within each partition.

    Between the first event and the yield nothing is waited for: a rebalance waits for every event taken, and an event
    held back until one more comes would make the two wait for each other.
    """
    manual = stream.noack()
    queue = manual.channel.queue
    async for event in manual.events():
        await _gathered(queue, limit)
        batch = [event]
        while len(batch) < limit and not queue.empty():
            following = queue.get_nowait()
            if _taken(stream.app, following.message):
                batch.append(following)
        yield batch


def ack(batch: Iterable[Event]) -> None:
    """Acknowledge the events; call it when all that they caused is published and written."""
    for event in batch:
        event.ack()


async def _gathered(queue: Any, limit: int) -> None:
    """Let Faust hand over what it has fetched already, as long as that makes the queue grow.

    The fetching task hands over some records in a turn of the loop. On a busy machine the broker's ack needs few turns
    as well, and batches would stay small.
    """
    size = -1
    while size < queue.qsize() < limit:
        size = queue.qsize()
        for _ in range(TURNS):
            await asyncio.sleep(0)


def _taken(app: Any, message: Any) -> bool:
    """Do what Faust's stream does with a message: drop those of an earlier assignment, wait for the ack of others."""
    if message.generation_id != app.consumer_generation_id or not app.flow_control.is_active():
        return False
    if not message.tracked:
        message.tracked = True
        app.consumer.unacked.add(message)
    return True
