"""The group consumer: sessions, rebalances, background topics and commits, beyond the contract of the port."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError

from app.kafka.background_consumer import BackgroundConsumer
from app.kafka.batch_producer import BatchProducer
from app.kafka.clients import started
from app.kafka.group_consumer import (
    COMMIT_INTERVAL_SECONDS,
    SESSION_TIMEOUT_SECONDS,
    GroupConsumer,
    SessionExpiredError,
)
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from tests.clock import ManualMonotonic

URGENT, BACKGROUND = "urgent", "background"
GROUP = "group"


async def produce(cluster: MemoryCluster, topic: str, *values: bytes, partition: int = 0) -> None:
    async with BatchProducer(cluster) as producer:
        await producer.write(ProducerRecord(topic, value, partition=partition) for value in values)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


class Worker:
    """A member of the group. `starts` are the offsets that it starts at; it fails when asked to."""

    def __init__(self, cluster: MemoryCluster, name: str = "worker", monotonic: ManualMonotonic | None = None) -> None:
        self.monotonic = monotonic or ManualMonotonic()
        self.starts: dict[TopicPartition, int] = {}
        self.numbers: set[int] = set()
        self.revoked: list[frozenset[int]] = []
        self.assigning = asyncio.Event()
        self.may_assign = asyncio.Event()
        self.may_assign.set()
        self.failure: Exception | None = None
        self.consumer = GroupConsumer(
            cluster,
            [URGENT, BACKGROUND],
            GROUP,
            name,
            on_assigned=self._on_assigned,
            on_revoked=self._on_revoked,
            background=[BACKGROUND],
            monotonic=self.monotonic,
        )

    async def _on_assigned(self, numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        self.assigning.set()
        await self.may_assign.wait()
        if self.failure is not None:
            raise self.failure
        self.numbers |= numbers
        return {partition: offset for partition, offset in self.starts.items() if partition.partition in numbers}

    async def _on_revoked(self, numbers: frozenset[int]) -> None:
        self.revoked.append(numbers)
        self.numbers -= numbers

    @asynccontextmanager
    async def running(self) -> AsyncIterator[GroupConsumer]:
        async with self.consumer.running():
            await until(lambda: bool(self.numbers))
            async with self.consumer.guarded():
                yield self.consumer


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    cluster = MemoryCluster({URGENT: 2, BACKGROUND: 2})
    yield cluster
    assert cluster.connections == 0


def values(polled: Mapping[TopicPartition, Any]) -> list[bytes]:
    return [record.value for records in polled.values() for record in records]


# Sessions


@pytest.mark.parametrize(("gap", "expires"), [(SESSION_TIMEOUT_SECONDS, False), (SESSION_TIMEOUT_SECONDS + 1, True)])
async def test_a_member_that_stood_still_leaves(cluster: MemoryCluster, gap: float, *, expires: bool) -> None:
    worker = Worker(cluster)
    async with worker.consumer.running():
        await until(lambda: bool(worker.numbers))
        worker.monotonic.now += gap
        if expires:
            with pytest.raises(SessionExpiredError):
                async with worker.consumer.guarded():
                    pytest.fail("another worker may own the partitions")
        else:
            async with worker.consumer.guarded():
                pass


async def test_long_work_is_no_standstill(cluster: MemoryCluster) -> None:
    worker = Worker(cluster)
    async with worker.consumer.running():
        await until(lambda: bool(worker.numbers))
        for _ in range(2):
            async with worker.consumer.guarded():
                worker.monotonic.now += 10 * SESSION_TIMEOUT_SECONDS


async def test_a_member_without_partitions_may_stand_still(cluster: MemoryCluster) -> None:
    worker = Worker(cluster)
    worker.monotonic.now += 10 * SESSION_TIMEOUT_SECONDS
    async with worker.consumer.guarded():
        pass


async def test_a_long_assignment_is_no_standstill(cluster: MemoryCluster) -> None:
    worker = Worker(cluster)
    worker.may_assign.clear()
    async with worker.consumer.running():
        await worker.assigning.wait()
        worker.monotonic.now += 10 * SESSION_TIMEOUT_SECONDS
        worker.may_assign.set()
        await until(lambda: bool(worker.numbers))
        async with worker.consumer.guarded():
            pass


# Rebalances


async def test_records_before_the_assignment_is_known_are_dropped(cluster: MemoryCluster) -> None:
    """They are read from arbitrary positions, and again from the right ones."""
    await produce(cluster, URGENT, b"0", b"1", b"2")
    worker = Worker(cluster)
    worker.starts = {TopicPartition(URGENT, 0): 1}
    async with worker.consumer.running():
        async with worker.consumer.guarded():
            assert await worker.consumer.read(wait_ms=10) == {}
            assert worker.numbers == set(), "the assignment waits for the end of the block"
        await until(lambda: bool(worker.numbers))
        async with worker.consumer.guarded():
            assert values(await worker.consumer.read(wait_ms=0)) == [b"1", b"2"]


async def test_partitions_of_others_are_not_polled(cluster: MemoryCluster) -> None:
    await produce(cluster, URGENT, b"a")
    worker = Worker(cluster)
    async with worker.consumer.guarded():
        reading = asyncio.create_task(worker.consumer.read(TopicPartition(URGENT, 0), wait_ms=10_000))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not reading.done(), "it leaves time to other tasks"
        reading.cancel()
        assert await worker.consumer.read(TopicPartition(URGENT, 0), wait_ms=1) == {}


async def test_a_rebalance_revokes_all_and_assigns_a_part(cluster: MemoryCluster) -> None:
    one, two = Worker(cluster, "one"), Worker(cluster, "two")
    async with one.consumer.running():
        await until(lambda: one.numbers == {0, 1})
        assert one.consumer.owned == {TopicPartition(topic, n) for topic in (URGENT, BACKGROUND) for n in (0, 1)}
        async with two.consumer.running():
            await until(lambda: one.numbers == {0} and two.numbers == {1})
            assert one.revoked == [frozenset({0, 1})]
            await produce(cluster, URGENT, b"1", partition=1)
            async with one.consumer.guarded():
                assert await one.consumer.read(wait_ms=0) == {}
            async with two.consumer.guarded():
                assert values(await two.consumer.read(wait_ms=0)) == [b"1"]


async def test_a_failed_assignment_is_raised_by_the_next_block(cluster: MemoryCluster) -> None:
    worker = Worker(cluster)
    worker.failure = ZeroDivisionError()
    async with worker.consumer.running():
        await worker.assigning.wait()
        await asyncio.sleep(0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                async with worker.consumer.guarded():
                    pytest.fail("nothing more is done")


# Reading


async def test_an_idle_member_keeps_its_place(cluster: MemoryCluster) -> None:
    await produce(cluster, URGENT, b"0", b"1")
    worker = Worker(cluster)
    async with worker.running() as consumer:
        assert values(await consumer.read(wait_ms=0, max_records=1)) == [b"0"]
        polling = asyncio.create_task(consumer.poll_idle(10_000))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not polling.done(), "it leaves time to other tasks"
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await consumer.poll_idle(0)
        assert values(await consumer.read(wait_ms=0)) == [b"1"]


async def test_background_topics_are_read_when_the_others_have_nothing(cluster: MemoryCluster) -> None:
    urgent, background = TopicPartition(URGENT, 0), TopicPartition(BACKGROUND, 0)
    await produce(cluster, URGENT, b"u0", b"u1")
    await produce(cluster, BACKGROUND, b"b0", b"b1")
    worker = Worker(cluster)
    worker.starts = {urgent: 0, background: 1}
    async with worker.running() as consumer:
        assert values(await consumer.read(urgent, background, wait_ms=0, max_records=1)) == [b"u0"]
        assert values(await consumer.read(background, wait_ms=0)) == [b"b1"]
        assert values(await consumer.read(urgent, background, wait_ms=0)) == [b"u1"]
        await produce(cluster, BACKGROUND, b"b2")
        assert values(await consumer.read(wait_ms=0)) == [], "only when it is asked for"
        assert values(await consumer.read(urgent, background, wait_ms=1_000)) == [b"b2"]
        consumer.seek(background, 0)
        assert values(await consumer.read(background, wait_ms=0, max_records=2)) == [b"b0", b"b1"]


async def test_a_read_of_both_waits_for_the_first_record(cluster: MemoryCluster) -> None:
    urgent, background = TopicPartition(URGENT, 0), TopicPartition(BACKGROUND, 0)
    worker = Worker(cluster)
    worker.starts = {urgent: 0, background: 0}
    async with worker.running() as consumer:
        waiting = asyncio.create_task(consumer.read(urgent, background, wait_ms=1_000))
        await asyncio.sleep(0)
        await produce(cluster, BACKGROUND, b"b")
        assert values(await waiting) == [b"b"]
        reading = asyncio.create_task(consumer.read(urgent, background, wait_ms=1_000))
        await asyncio.wait([reading], timeout=0.03)
        assert not reading.done()
        worker.monotonic.now += 1
        assert await reading == {}


async def test_both_connections_end_with_the_membership(cluster: MemoryCluster) -> None:
    worker = Worker(cluster)
    async with worker.running() as consumer:
        pass
    for topic in (URGENT, BACKGROUND):
        with pytest.raises(ConsumerStoppedError):
            await consumer.read(TopicPartition(topic, 0), wait_ms=0)


async def test_a_background_partition_waits_for_its_offset(cluster: MemoryCluster) -> None:
    await produce(cluster, BACKGROUND, b"b0")
    background = TopicPartition(BACKGROUND, 0)
    async with Worker(cluster).running() as consumer:
        assert await consumer.read(background, wait_ms=0) == {}
        consumer.seek(background, 0)
        assert values(await consumer.read(background, wait_ms=0)) == [b"b0"]


async def test_a_background_consumer_without_topics_is_not_connected(cluster: MemoryCluster) -> None:
    cluster.set_available(available=False)
    consumer = BackgroundConsumer(cluster, ())
    await consumer.start()
    consumer.assign([0])
    await consumer.stop()


async def test_a_background_consumer_reads_the_assigned_numbers_only(cluster: MemoryCluster) -> None:
    zero, one = TopicPartition(BACKGROUND, 0), TopicPartition(BACKGROUND, 1)
    await produce(cluster, BACKGROUND, b"zero", partition=0)
    await produce(cluster, BACKGROUND, b"one", partition=1)
    consumer = BackgroundConsumer(cluster, [BACKGROUND])
    await consumer.start()
    consumer.assign([0, 1])
    consumer.seek(zero, 0)
    consumer.assign([1])
    consumer.seek(one, 0)
    assert values(await consumer.read([zero, one], 0, None)) == [b"one"]
    consumer.assign([])
    consumer.assign([0])
    assert await consumer.read([zero], 0, None) == {}
    await consumer.stop()


# Commits


async def committed(worker: Worker, cluster: MemoryCluster, offset: int) -> None:
    await until(lambda: cluster.offsets(GROUP).get(TopicPartition(URGENT, 0)) == offset)


async def test_offsets_are_committed_once_an_interval(cluster: MemoryCluster) -> None:
    partition = TopicPartition(URGENT, 0)
    worker = Worker(cluster)
    async with worker.running() as consumer:
        consumer.commit_soon({partition: 1})
        await asyncio.sleep(0)
        assert cluster.offsets(GROUP) == {}, "the interval begins at the start"
        worker.monotonic.now += COMMIT_INTERVAL_SECONDS
        consumer.commit_soon({partition: 2})
        await committed(worker, cluster, 2)
        consumer.commit_soon({partition: 3})
        await asyncio.sleep(0)
        assert cluster.offsets(GROUP) == {partition: 2}
        worker.monotonic.now += COMMIT_INTERVAL_SECONDS
        consumer.commit_soon({partition: 4})
        await committed(worker, cluster, 4)
        other = TopicPartition(URGENT, 1)
        assert await consumer.committed([partition, other]) == {partition: 4, other: 0}


async def test_partitions_of_others_are_not_committed(cluster: MemoryCluster) -> None:
    partition, foreign = TopicPartition(URGENT, 0), TopicPartition(URGENT, 7)
    worker = Worker(cluster)
    async with worker.running() as consumer:
        worker.monotonic.now += COMMIT_INTERVAL_SECONDS
        consumer.commit_soon({partition: 5, foreign: 5})
        await committed(worker, cluster, 5)
    assert cluster.offsets(GROUP) == {partition: 5}


async def test_an_unchanged_offset_is_not_committed_again(cluster: MemoryCluster) -> None:
    partition, other = TopicPartition(URGENT, 0), TopicPartition(URGENT, 1)
    worker = Worker(cluster)
    async with worker.running() as consumer:
        worker.monotonic.now += COMMIT_INTERVAL_SECONDS
        consumer.commit_soon({partition: 1})
        await committed(worker, cluster, 1)
        async with cluster_member(cluster) as intruder:
            await intruder.commit({partition: 9})
        worker.monotonic.now += COMMIT_INTERVAL_SECONDS
        consumer.commit_soon({partition: 1, other: 1})
        await until(lambda: other in cluster.offsets(GROUP))
        assert cluster.offsets(GROUP)[partition] == 9


@asynccontextmanager
async def cluster_member(cluster: MemoryCluster) -> AsyncIterator[Any]:
    """A consumer that commits offsets of the group without being its member."""
    async with started(cluster.group_consumer(GROUP)) as consumer:
        consumer.assign([TopicPartition(URGENT, 0)])
        yield consumer


async def test_one_commit_runs_at_a_time(cluster: MemoryCluster) -> None:
    partition = TopicPartition(URGENT, 0)
    worker = Worker(cluster)
    async with worker.running() as consumer:
        cluster.set_available(available=False)
        for offset in (1, 2):
            worker.monotonic.now += COMMIT_INTERVAL_SECONDS
            consumer.commit_soon({partition: offset})
            await asyncio.sleep(0)
        cluster.set_available(available=True)
        await committed(worker, cluster, 1)
        worker.monotonic.now += COMMIT_INTERVAL_SECONDS
        consumer.commit_soon({partition: 3})
        await committed(worker, cluster, 3)


async def test_a_rebalance_cancels_a_commit(cluster: MemoryCluster) -> None:
    """The next owner may have committed a later offset by the time that it would be done."""
    partition = TopicPartition(URGENT, 0)
    one, two = Worker(cluster, "one"), Worker(cluster, "two")
    async with one.consumer.running():
        async with two.consumer.running():
            await until(lambda: one.numbers == {0} and two.numbers == {1})
        cluster.set_available(available=False)
        one.monotonic.now += COMMIT_INTERVAL_SECONDS
        one.consumer.commit_soon({partition: 1})
        await asyncio.sleep(0)
        cluster.expire_sessions()
        await until(lambda: one.numbers == {0, 1})
        cluster.set_available(available=True)
        one.monotonic.now += COMMIT_INTERVAL_SECONDS
        one.consumer.commit_soon({TopicPartition(URGENT, 1): 1})
        await until(lambda: bool(cluster.offsets(GROUP)))
        assert cluster.offsets(GROUP) == {TopicPartition(URGENT, 1): 1}


async def test_a_commit_ends_with_the_membership(cluster: MemoryCluster) -> None:
    worker = Worker(cluster)
    async with worker.running() as consumer:
        cluster.set_available(available=False)
        worker.monotonic.now += COMMIT_INTERVAL_SECONDS
        consumer.commit_soon({TopicPartition(URGENT, 0): 1})
        await asyncio.sleep(0)
    cluster.set_available(available=True)
    await asyncio.sleep(0)
    assert cluster.offsets(GROUP) == {}


async def test_a_failed_commit_is_logged_and_repeated(cluster: MemoryCluster, caplog: pytest.LogCaptureFixture) -> None:
    partition = TopicPartition(URGENT, 0)
    before, after = Worker(cluster), Worker(cluster)
    caplog.set_level("INFO", "app.kafka")
    async with before.consumer.running():
        await until(lambda: bool(before.numbers))
        async with after.consumer.running():  # with the same instance id, so that the first is fenced
            await until(lambda: bool(after.numbers))
            for _ in range(2):
                before.monotonic.now += COMMIT_INTERVAL_SECONDS
                before.consumer.commit_soon({partition: 1})
                count = len(caplog.messages)
                await until(lambda count=count: len(caplog.messages) > count)  # type: ignore[misc]  # mypy infers no type for a default of a lambda
            assert all("CommitFailedError" in message for message in caplog.messages)
    assert cluster.offsets(GROUP) == {}


async def test_beginning_offsets_are_those_that_are_left(cluster: MemoryCluster) -> None:
    await produce(cluster, URGENT, b"0", b"1")
    partition = TopicPartition(URGENT, 0)
    cluster.delete_records(partition, 1)
    async with Worker(cluster).running() as consumer:
        assert await consumer.beginning_offsets([partition]) == {partition: 1}
