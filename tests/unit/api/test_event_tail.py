"""The event tail: which waiters it resolves, what subscriptions get, and when they are dropped."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.api.jobs.events import missed
from app.api.services.event_tail import MAX_QUEUED_EVENTS, EventSubscription, EventTail, TailedEvent
from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from schemas.events import JobEvent, JobKilled, JobRestored
from schemas.topics import JOBS_EVENTS
from schemas.wire.codec import encode

ENVELOPE = {
    "event_id": "event", "job_id": "job", "seq": 1, "occurred_at": datetime(2026, 5, 4, 12, tzinfo=UTC),
    "command_id": "command", "command_offset": 0, "actor": "user:ada", "rules": 1,
}  # fmt: skip
KILLED = JobKilled(**ENVELOPE)  # type: ignore[arg-type]  # fields of several types
RESTORED = JobRestored(**ENVELOPE)  # type: ignore[arg-type]  # fields of several types


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster({JOBS_EVENTS.name: 2})


@pytest.fixture
async def tail(cluster: MemoryCluster) -> AsyncIterator[EventTail]:
    tail = EventTail(cluster)
    tail.start()
    await tail.caught_up()
    yield tail
    await tail.stop()
    assert cluster.connections == 0


async def write(cluster: MemoryCluster, *events: JobEvent | bytes, partition: int = 0) -> None:
    values = [event if isinstance(event, bytes) else encode(event) for event in events]
    async with BatchProducer(cluster) as producer:
        await producer.write(ProducerRecord(JOBS_EVENTS.name, value, partition=partition) for value in values)


async def taken(tail: EventTail, offset: int, partition: int = 0) -> None:
    async with asyncio.timeout(10):
        while tail.positions[partition] < offset:
            await asyncio.sleep(0)


def drain(subscription: EventSubscription) -> list[TailedEvent | None]:
    return [subscription.queue.get_nowait() for _ in range(subscription.queue.qsize())]


async def test_a_command_is_resolved_with_all_its_events(cluster: MemoryCluster, tail: EventTail) -> None:
    with tail.expect("command") as future, tail.expect("other") as other:
        await write(cluster, KILLED, replace(KILLED, command_id="third"), RESTORED)
        assert await asyncio.wait_for(future, 10) == (KILLED, RESTORED)
        assert not other.done()
    with tail.expect("command") as late:
        assert late.done()


async def test_commands_of_the_service_are_not_remembered(cluster: MemoryCluster, tail: EventTail) -> None:
    await write(cluster, replace(KILLED, actor="runner"))
    await taken(tail, 1)
    with tail.expect("command") as future:
        assert not future.done()


async def test_a_subscription_gets_the_events_from_its_start(cluster: MemoryCluster, tail: EventTail) -> None:
    await write(cluster, KILLED)
    await taken(tail, 1)
    with tail.listen() as subscription, tail.listen() as other:
        assert subscription.start == {0: 1, 1: 0}
        await write(cluster, b"unreadable", RESTORED)
        await write(cluster, KILLED, partition=1)
        await taken(tail, 3)
        await taken(tail, 1, partition=1)
        events = drain(subscription)
        assert sorted(events, key=lambda event: event.partition if event else 9) == [
            TailedEvent(0, 2, RESTORED),
            TailedEvent(1, 0, KILLED),
        ]
        assert drain(other) == events
    await write(cluster, KILLED)
    await taken(tail, 4)
    assert drain(subscription) == []


async def test_a_slow_reader_is_dropped(cluster: MemoryCluster, tail: EventTail) -> None:
    with tail.listen() as slow, tail.listen() as fast:
        await write(cluster, *[KILLED] * (MAX_QUEUED_EVENTS - 1))
        await taken(tail, MAX_QUEUED_EVENTS - 1)
        assert not slow.dropped
        drain(fast)
        await write(cluster, KILLED, KILLED)
        await taken(tail, MAX_QUEUED_EVENTS + 1)
        assert slow.dropped
        events = drain(slow)
        assert len(events) == MAX_QUEUED_EVENTS
        assert events[-1] is None
        assert events[-2] == TailedEvent(0, MAX_QUEUED_EVENTS - 2, KILLED)
        assert len(drain(fast)) == 2
        assert not fast.dropped


async def test_subscriptions_end_with_the_tail(cluster: MemoryCluster) -> None:
    tail = EventTail(cluster)
    tail.start()
    await tail.caught_up()
    with tail.listen() as subscription:
        await tail.stop()
        assert subscription.dropped
        assert drain(subscription) == [None]


async def test_events_before_the_start_are_read_from_the_log(cluster: MemoryCluster) -> None:
    await write(cluster, KILLED, b"unreadable", RESTORED, KILLED)
    await write(cluster, KILLED, RESTORED, partition=1)
    events = [event async for event in missed(cluster, {0: 1, 1: 2}, {0: 3, 1: 2})]
    assert events == [TailedEvent(0, 2, RESTORED)]
    assert [event async for event in missed(cluster, {0: 3}, {0: 3, 1: 2})] == []
    assert cluster.connections == 0
