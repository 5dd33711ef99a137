"""Micro-batches: an agent processes all queued records together, and acknowledges them once the results are durable.

Agents handle expected exceptions; all others escape and trip the latch. Don't use `stream.take`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, Protocol

BATCH_RECORDS: Final = 1000
LOOP_ITERATIONS: Final = 4  # of the event loop, between checks of the queue


class FaustMessage(Protocol):
    """The origin of a record."""

    topic: str
    partition: int
    offset: int
    timestamp: float  # seconds since 1970 UTC
    headers: Any  # a sequence of (str, bytes)


class AgentEvent(Protocol):
    """A Faust event. Key and value are the raw bytes of the record."""

    key: bytes | None
    value: bytes | None

    @property
    def message(self) -> FaustMessage:
        """The origin of the record."""
        ...

    def ack(self) -> bool:
        """Acknowledge the record."""
        ...


async def batches(stream: Any, limit: int = BATCH_RECORDS) -> AsyncIterator[list[AgentEvent]]:
    """Yield all queued events, at least one and at most `limit`, in order within each partition.

    Don't wait for more events: a rebalance waits for every accepted event, so holding one back until another arrives
    would deadlock.
    """
    manual = stream.noack()
    queue = manual.channel.queue
    async for event in manual.events():
        await _wait_for_queue(queue, limit)
        batch = [event]
        while len(batch) < limit and not queue.empty():
            following = queue.get_nowait()
            if _accept(stream.app, following.message):
                batch.append(following)
        yield batch


def ack(batch: Iterable[AgentEvent]) -> None:
    """Acknowledge the events. Call it when all their results are published and written."""
    for event in batch:
        event.ack()


async def _wait_for_queue(queue: Any, limit: int) -> None:
    """Let Faust enqueue already fetched records, as long as the queue grows.

    The fetching task enqueues some records per iteration of the event loop. On a busy machine a broker ack also takes
    few iterations, so batches would stay small.
    """
    size = -1
    while size < queue.qsize() < limit:
        size = queue.qsize()
        for _ in range(LOOP_ITERATIONS):
            await asyncio.sleep(0)


def _accept(app: Any, message: Any) -> bool:
    """Handle a message like a Faust stream: drop it if it is from an earlier assignment, otherwise track its ack."""
    if message.generation_id != app.consumer_generation_id or not app.flow_control.is_active():
        return False
    if not message.tracked:
        message.tracked = True
        app.consumer.unacked.add(message)
    return True
