"""The contract of the Kafka port. `tests/unit/kafka` runs it on the memory cluster, `tests/integration` on a broker.

Both define the fixtures `cluster`, `make_topic`, `delete_records` and `outage`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    ConsumerStoppedError,
    IllegalOperation,
    IllegalStateError,
    MessageSizeTooLargeError,
    ProducerFenced,
)

from app.kafka.batch_producer import BatchProducer
from app.kafka.clients import Cluster, Consumer, Isolation, Producer, started
from app.kafka.group_consumer import GroupConsumer
from app.kafka.partition_reader import PartitionReader, committed_offsets, end_offset
from app.kafka.producer_record import ClockSkewError, ProducerRecord, send
from app.kafka.tail import Tail
from app.kafka.transactions import FencedError, GroupCommit
from app.records.partitioning import partition_of
from schemas.topics import FUTURE_BOUND_MS, MAX_RECORD_BYTES

TIMEOUT_SECONDS = 30
POLL_MS = 200


class MakeTopic(Protocol):
    async def __call__(self, name: str, partitions: int = 1) -> str: ...


DeleteRecords = Callable[[TopicPartition, int], Awaitable[None]]
Outage = Callable[[], AbstractContextManager[None]]  # the cluster answers nothing inside


async def produce(cluster: Cluster, topic: str, *values: bytes, partition: int = 0) -> None:
    async with BatchProducer(cluster) as producer:
        await producer.write(ProducerRecord(topic, value, partition=partition) for value in values)


async def poll(consumer: Consumer, count: int, *partitions: TopicPartition) -> list[Any]:
    """Return the next `count` records."""
    records: list[Any] = []
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while len(records) < count:
            polled = await consumer.getmany(*partitions, timeout_ms=POLL_MS, max_records=count - len(records))
            records += [record for batch in polled.values() for record in batch]
    return records


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def reading(
    cluster: Cluster, *partitions: TopicPartition, isolation: Isolation = "read_committed"
) -> AsyncIterator[Consumer]:
    async with started(cluster.consumer(isolation=isolation)) as consumer:
        consumer.assign(partitions)
        yield consumer


def transactional(cluster: Cluster, name: str) -> Any:
    return started(cluster.transactional_producer(name, 10_000))


async def add(producer: Producer, topic: str, value: bytes) -> None:
    await send(producer, [ProducerRecord(topic, value, partition=0)])


# Producers and consumers


async def test_a_record_is_read_as_it_was_sent(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-record")
    record = ProducerRecord(topic, b"value", b"key", 0, (("name", b"header"), ("name", b"again")), 1_000_000)
    async with started(cluster.producer(compression=None, linger_ms=0, request_timeout_ms=10_000)) as producer:
        first, second = await send(producer, [record, ProducerRecord(topic, None, b"tombstone", 0)])
        assert (first.topic, first.partition, first.offset, second.offset) == (topic, 0, 0, 1)
    async with reading(cluster, TopicPartition(topic, 0)) as consumer:
        one, two = await poll(consumer, 2)
        assert (one.topic, one.partition, one.offset) == (topic, 0, 0)
        assert (one.key, one.value, one.timestamp) == (b"key", b"value", 1_000_000)
        assert tuple(one.headers) == (("name", b"header"), ("name", b"again"))
        assert (two.key, two.value) == (b"tombstone", None)


async def test_the_key_determines_the_partition(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-keys", 3)
    keys = [f"key-{number}" for number in range(10)]
    async with started(cluster.producer(compression="zstd", linger_ms=0, request_timeout_ms=10_000)) as producer:
        written = await send(producer, [ProducerRecord(topic, b"", key.encode()) for key in keys])
    assert [metadata.partition for metadata in written] == [partition_of(key, 3) for key in keys]


async def test_a_too_large_record_is_refused(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-too-large")
    async with BatchProducer(cluster) as producer:
        with pytest.raises(MessageSizeTooLargeError):
            await producer.write([ProducerRecord(topic, bytes(MAX_RECORD_BYTES + 1), partition=0)])


async def test_a_consumer_of_topics_reads_all_their_partitions(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-all-partitions", 2)
    await produce(cluster, topic, b"zero", partition=0)
    await produce(cluster, topic, b"one", partition=1)
    async with started(cluster.consumer(topic, isolation="read_committed")) as consumer:
        assert consumer.assignment() == {TopicPartition(topic, 0), TopicPartition(topic, 1)}
        assert {record.value for record in await poll(consumer, 2)} == {b"zero", b"one"}


async def test_a_consumer_waits_for_records_up_to_its_timeout(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-waits")
    async with reading(cluster, TopicPartition(topic, 0)) as consumer:
        assert await consumer.getmany(timeout_ms=10) == {}
        waiting = asyncio.create_task(consumer.getmany(timeout_ms=TIMEOUT_SECONDS * 1000))
        await produce(cluster, topic, b"late")
        assert [record.value for record in (await waiting)[TopicPartition(topic, 0)]] == [b"late"]


async def test_a_consumer_continues_at_the_offset_it_seeks(cluster: Cluster, make_topic: MakeTopic) -> None:
    partition = TopicPartition(await make_topic("contract-seek"), 0)
    await produce(cluster, partition.topic, *(b"%d" % number for number in range(5)))
    async with reading(cluster, partition) as consumer:
        consumer.seek(partition, 3)
        assert [record.value for record in await poll(consumer, 1)] == [b"3"]
        assert await consumer.position(partition) == 4
        assert consumer.highwater(partition) == 5
        consumer.seek(partition, 1)
        assert await consumer.position(partition) == 1
        assert [record.offset for record in await poll(consumer, 4)] == [1, 2, 3, 4]


async def test_paused_partitions_return_nothing(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-pause", 2)
    paused, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    async with reading(cluster, paused, other) as consumer:
        consumer.pause(paused)
        assert consumer.paused() == {paused}
        await produce(cluster, topic, b"paused", partition=0)
        await produce(cluster, topic, b"other", partition=1)
        assert [record.value for record in await poll(consumer, 1)] == [b"other"]
        assert await consumer.getmany(timeout_ms=POLL_MS) == {}
        consumer.resume(paused)
        assert consumer.paused() == set()
        assert [record.value for record in await poll(consumer, 1)] == [b"paused"]


async def test_a_poll_can_be_limited_to_some_partitions(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-some", 2)
    await produce(cluster, topic, b"zero", partition=0)
    await produce(cluster, topic, b"one", partition=1)
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    async with reading(cluster, zero, one) as consumer:
        assert [record.value for record in await poll(consumer, 1, one)] == [b"one"]
        assert [record.value for record in await poll(consumer, 1, zero)] == [b"zero"]


async def test_an_assignment_replaces_the_previous_one(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-assign", 2)
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await produce(cluster, topic, b"a", b"b", partition=0)
    async with reading(cluster, zero) as consumer:
        assert len(await poll(consumer, 2)) == 2
        consumer.pause(zero)
        consumer.assign([zero, one])
        assert consumer.paused() == set()
        assert [record.value for record in await poll(consumer, 2)] == [b"a", b"b"], "from the beginning again"
        consumer.unsubscribe()
        assert consumer.assignment() == set()
        consumer.assign([one])
        for use in (consumer.pause, consumer.resume, lambda partition: consumer.seek(partition, 0)):
            with pytest.raises(IllegalStateError):
                use(zero)
        with pytest.raises(IllegalStateError):
            await consumer.position(zero)


async def test_deleted_records_are_skipped(
    cluster: Cluster, make_topic: MakeTopic, delete_records: DeleteRecords
) -> None:
    partition = TopicPartition(await make_topic("contract-deleted"), 0)
    await produce(cluster, partition.topic, *(b"%d" % number for number in range(5)))
    await delete_records(partition, 3)
    async with reading(cluster, partition) as consumer:
        assert await consumer.beginning_offsets([partition]) == {partition: 3}
        for missing in (1, 99):
            consumer.seek(partition, missing)
            assert [record.offset for record in await poll(consumer, 2)] == [3, 4]


async def test_offsets_are_found_by_time(cluster: Cluster, make_topic: MakeTopic) -> None:
    partition = TopicPartition(await make_topic("contract-times"), 0)
    async with BatchProducer(cluster) as producer:
        await producer.write(
            ProducerRecord(partition.topic, b"", partition=0, timestamp_ms=1000 * second) for second in range(1, 4)
        )
    async with reading(cluster, partition) as consumer:
        (position,) = (await consumer.offsets_for_times({partition: 1_001})).values()
        assert (position.offset, position.timestamp) == (1, 2_000)
        assert await consumer.offsets_for_times({partition: 3_001}) == {partition: None}


async def test_a_stopped_consumer_reads_nothing(cluster: Cluster, make_topic: MakeTopic) -> None:
    partition = TopicPartition(await make_topic("contract-stopped"), 0)
    async with reading(cluster, partition) as consumer:
        await consumer.position(partition)
    with pytest.raises(ConsumerStoppedError):
        await consumer.getmany(timeout_ms=10)


# Transactions


async def test_a_transaction_is_visible_once_it_is_committed(cluster: Cluster, make_topic: MakeTopic) -> None:
    partition = TopicPartition(await make_topic("contract-commit"), 0)
    async with (
        transactional(cluster, "contract-commit") as producer,
        reading(cluster, partition) as committed,
        reading(cluster, partition, isolation="read_uncommitted") as uncommitted,
    ):
        await producer.begin_transaction()
        await add(producer, partition.topic, b"one")
        assert [record.value for record in await poll(uncommitted, 1)] == [b"one"]
        assert await committed.getmany(timeout_ms=POLL_MS) == {}
        assert await committed.end_offsets([partition]) == {partition: 0}
        assert await end_offset(cluster, partition) == 1
        await producer.commit_transaction()
        assert [record.value for record in await poll(committed, 1)] == [b"one"]
        assert await committed.getmany(timeout_ms=POLL_MS) == {}
        assert await committed.position(partition) == 2, "behind the marker"
        assert await committed.end_offsets([partition]) == {partition: 2}


async def test_an_aborted_transaction_is_never_visible(cluster: Cluster, make_topic: MakeTopic) -> None:
    partition = TopicPartition(await make_topic("contract-abort"), 0)
    async with transactional(cluster, "contract-abort") as producer, reading(cluster, partition) as consumer:
        await producer.begin_transaction()
        await add(producer, partition.topic, b"aborted")
        await produce(cluster, partition.topic, b"without a transaction")
        assert await consumer.getmany(timeout_ms=POLL_MS) == {}, "it waits for the open transaction"
        await producer.abort_transaction()
        await producer.begin_transaction()
        await add(producer, partition.topic, b"committed")
        await producer.commit_transaction()
        assert [record.value for record in await poll(consumer, 2)] == [b"without a transaction", b"committed"]


async def test_a_transactional_producer_sends_in_transactions_only(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-no-transaction")
    async with transactional(cluster, "contract-no-transaction") as producer:
        with pytest.raises(IllegalOperation):
            await add(producer, topic, b"")


async def test_a_record_from_the_future_is_a_matter_of_clocks(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-clock-skew")
    later = int(time.time() * 1000) + FUTURE_BOUND_MS + 60_000
    async with BatchProducer(cluster) as producer:
        with pytest.raises(ClockSkewError):
            await producer.write([ProducerRecord(topic, b"", partition=0, timestamp_ms=later)])
        await producer.write([ProducerRecord(topic, b"", partition=0)])


async def test_a_new_producer_fences_the_previous_one(cluster: Cluster, make_topic: MakeTopic) -> None:
    partition = TopicPartition(await make_topic("contract-fence"), 0)
    async with transactional(cluster, "contract-fence") as before, reading(cluster, partition) as consumer:
        await before.begin_transaction()
        await add(before, partition.topic, b"open")
        async with transactional(cluster, "contract-fence") as after:
            await after.begin_transaction()
            await add(after, partition.topic, b"after")
            await after.commit_transaction()
            with pytest.raises(ProducerFenced):
                await add(before, partition.topic, b"fenced")
            assert [record.value for record in await poll(consumer, 1)] == [b"after"]


async def test_a_group_commit_is_fenced_by_its_successor(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-group-commit")
    record = ProducerRecord(topic, b"", partition=0)
    async with GroupCommit(cluster, "contract-group-commit") as before:
        await before.submit([record, record])
        async with GroupCommit(cluster, "contract-group-commit") as after:
            await after.submit([record])
            with pytest.raises(FencedError):
                await before.submit([record])
            with pytest.raises(FencedError):
                before.check()
    async with PartitionReader(cluster, topic, 0) as log:
        assert [entry.offset async for entry in log.records()] == [0, 1, 3]


# Groups


class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Records the rebalance callbacks of a member."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int]]] = []

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.calls.append(("revoked", sorted({partition.partition for partition in revoked})))

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.calls.append(("assigned", sorted({partition.partition for partition in assigned})))

    @property
    def numbers(self) -> list[int]:
        return self.calls[-1][1] if self.calls else []


@asynccontextmanager
async def member(
    cluster: Cluster, group: str, *topics: str, instance_id: str | None = None
) -> AsyncIterator[tuple[Consumer, Listener]]:
    listener = Listener()
    async with started(cluster.group_consumer(group, instance_id)) as consumer:
        consumer.subscribe(topics, listener=listener)
        yield consumer, listener


async def test_members_share_the_partitions(cluster: Cluster, make_topic: MakeTopic) -> None:
    topics = [await make_topic(f"contract-members-{number}", 4) for number in range(2)]
    async with member(cluster, "contract-members", *topics) as (one, of_one):
        await until(lambda: of_one.numbers == [0, 1, 2, 3])
        async with member(cluster, "contract-members", *topics) as (two, of_two):
            await until(lambda: len(of_one.numbers) == len(of_two.numbers) == 2)
            assert sorted(of_one.numbers + of_two.numbers) == [0, 1, 2, 3]
            assert len(one.assignment()) == len(two.assignment()) == 4, "the same numbers of both topics"
            assert of_one.calls[:3] == [("revoked", []), ("assigned", [0, 1, 2, 3]), ("revoked", [0, 1, 2, 3])]
        await until(lambda: of_one.numbers == [0, 1, 2, 3])


async def test_a_static_member_gets_its_partitions_back(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic, group = await make_topic("contract-static", 2), "contract-static"
    async with member(cluster, group, topic, instance_id="other") as (_, of_other):
        async with member(cluster, group, topic, instance_id="static") as (_, listener):
            await until(lambda: len(of_other.numbers) == len(listener.numbers) == 1)
            assigned = listener.numbers
        calls = len(of_other.calls)
        async with member(cluster, group, topic, instance_id="static") as (_, listener):
            await until(lambda: listener.numbers == assigned)
            assert listener.calls == [("revoked", []), ("assigned", assigned)]
            assert len(of_other.calls) == calls, "no rebalance for the others"


async def test_a_group_continues_at_its_committed_offsets(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic, group = await make_topic("contract-offsets", 2), "contract-offsets"
    zero, one = TopicPartition(topic, 0), TopicPartition(topic, 1)
    await produce(cluster, topic, b"a", b"b", b"c", partition=0)
    assert await committed_offsets(cluster, group, topic, range(2)) == [0, 0]
    async with member(cluster, group, topic) as (consumer, listener):
        await until(lambda: listener.numbers == [0, 1])
        assert await consumer.committed(one) is None
        await consumer.commit({zero: 2})
        assert await consumer.committed(zero) == 2
        with pytest.raises(IllegalStateError):
            await consumer.commit({TopicPartition(topic, 2): 1})
    assert await committed_offsets(cluster, group, topic, range(2)) == [2, 0]
    async with member(cluster, group, topic) as (consumer, listener):
        await until(lambda: listener.numbers == [0, 1])
        assert [record.value for record in await poll(consumer, 1)] == [b"c"]


class Worker:
    """A group consumer that polls continuously; `numbers` are its partitions."""

    def __init__(self, cluster: Cluster, topic: str, name: str) -> None:
        self.numbers: set[int] = set()
        self.consumer = GroupConsumer(
            cluster, [topic], topic, name, on_assigned=self._assigned, on_revoked=self._revoked
        )

    async def _assigned(self, numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        self.numbers |= numbers
        return {}

    async def _revoked(self, numbers: frozenset[int]) -> None:
        self.numbers -= numbers

    async def work(self, *, reads: bool) -> None:
        async with self.consumer.running():
            while True:
                async with self.consumer.guarded():
                    await (self.consumer.read(wait_ms=10) if reads else self.consumer.poll_idle(10))


@pytest.mark.parametrize("reads", [True, False])
async def test_a_busy_member_takes_part_in_a_rebalance(cluster: Cluster, make_topic: MakeTopic, *, reads: bool) -> None:
    topic = await make_topic(f"contract-busy-{reads}", 2)
    one, two = Worker(cluster, topic, "one"), Worker(cluster, topic, "two")
    async with asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(one.work(reads=reads))]
        await until(lambda: one.numbers == {0, 1})
        working.append(tasks.create_task(two.work(reads=reads)))
        await until(lambda: len(one.numbers) == len(two.numbers) == 1)
        assert one.numbers | two.numbers == {0, 1}
        for task in working:
            task.cancel()


async def test_a_failed_member_does_not_revoke_its_partitions(cluster: Cluster, make_topic: MakeTopic) -> None:
    """A half-applied batch must not be flushed by the revocation callback."""
    topic = await make_topic("contract-failed", 2)
    one, two = Worker(cluster, topic, "one"), Worker(cluster, topic, "two")
    async with one.consumer.running():
        await until(lambda: one.numbers == {0, 1})
        with pytest.raises(ZeroDivisionError):
            async with one.consumer.guarded():
                raise ZeroDivisionError
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(two.work(reads=True))
            await until(lambda: bool(two.numbers))
            assert one.numbers == {0, 1}
            with pytest.raises(ZeroDivisionError):
                async with one.consumer.guarded():
                    pass
            working.cancel()


async def test_a_group_consumer_starts_at_the_offsets_of_its_callback(
    cluster: Cluster, make_topic: MakeTopic, delete_records: DeleteRecords
) -> None:
    """Where retention has deleted the record, it starts at the first remaining one."""
    urgent, background = await make_topic("contract-urgent"), await make_topic("contract-background")
    await produce(cluster, urgent, *(b"u%d" % number for number in range(5)))
    await produce(cluster, background, *(b"b%d" % number for number in range(5)))
    starts = {TopicPartition(urgent, 0): 1, TopicPartition(background, 0): 3}
    await delete_records(TopicPartition(urgent, 0), 2)

    async def on_assigned(_numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        return starts

    async def on_revoked(_numbers: frozenset[int]) -> None:
        pass

    consumer = GroupConsumer(
        cluster,
        [urgent, background],
        "contract-starts",
        "contract-starts-1",
        on_assigned=on_assigned,
        on_revoked=on_revoked,
        background=[background],
    )
    values: list[bytes] = []
    async with consumer.running(), asyncio.timeout(TIMEOUT_SECONDS):
        while len(values) < 5:
            async with consumer.guarded():
                polled = await consumer.read(*starts, wait_ms=POLL_MS)
                values += [record.value for records in polled.values() for record in records]
    assert sorted(values) == [b"b3", b"b4", b"u2", b"u3", b"u4"]


# Readers


async def values_of(cluster: Cluster, topic: str, start: int | datetime = 0) -> list[bytes]:
    async with PartitionReader(cluster, topic, 0, start) as log:
        return [record.value async for record in log.records()]


async def test_a_reader_waits_for_open_transactions(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-open")
    async with transactional(cluster, "contract-open") as producer:
        await producer.begin_transaction()
        await add(producer, topic, b"never committed")
        await produce(cluster, topic, b"behind it")
        async with PartitionReader(cluster, topic, 0) as log:
            await produce(cluster, topic, b"after the opening")
            records = log.records()
            reading = asyncio.ensure_future(anext(records))
            await asyncio.wait([reading], timeout=0.1)
            assert not reading.done(), "the next committed record is not determined yet"
            await producer.abort_transaction()
            assert [(await reading).value, *[record.value async for record in records]] == [b"behind it"]


async def test_a_reader_starts_at_an_offset_or_a_time(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-reader")
    async with BatchProducer(cluster) as producer:
        await producer.write(
            ProducerRecord(topic, b"%d" % second, partition=0, timestamp_ms=1_000_000 + 1000 * second)
            for second in range(5)
        )
    assert await values_of(cluster, topic, 3) == [b"3", b"4"]
    assert await values_of(cluster, topic, -1) == [b"4"]
    assert await values_of(cluster, topic, -99) == [b"0", b"1", b"2", b"3", b"4"]
    assert await values_of(cluster, topic, datetime.fromtimestamp(1003, UTC)) == [b"3", b"4"]
    assert await values_of(cluster, topic, datetime.fromtimestamp(9999, UTC)) == []


@asynccontextmanager
async def tailing(tail: Tail) -> AsyncIterator[None]:
    tail.start()
    try:
        await tail.caught_up()
        yield
    finally:
        await tail.stop()


async def test_a_tail_reads_all_from_the_beginning(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-tail", 2)
    await produce(cluster, topic, b"a", b"b", partition=0)
    await produce(cluster, topic, b"c", partition=1)
    values: list[bytes] = []

    def take(records: Sequence[Any]) -> None:
        values.extend(record.value for record in records)

    async with tailing(tail := Tail(cluster, topic, take, start="beginning")):
        assert sorted(values) == [b"a", b"b", b"c"]
        assert tail.alive
        await produce(cluster, topic, b"d", partition=1)
        await until(lambda: len(values) == 4)
        assert tail.positions == {0: 2, 1: 2}
    assert not tail.alive


async def test_a_tail_can_start_at_the_end(cluster: Cluster, make_topic: MakeTopic) -> None:
    topic = await make_topic("contract-tail-end", 2)
    await produce(cluster, topic, b"old")
    values: list[bytes] = []

    def take(records: Sequence[Any]) -> None:
        values.extend(record.value for record in records)

    async with tailing(tail := Tail(cluster, topic, take, start="end")):
        assert tail.positions == {0: 1, 1: 0}
        await produce(cluster, topic, b"new")
        await until(lambda: values == [b"new"])


async def test_a_tail_waits_for_its_topic(cluster: Cluster, make_topic: MakeTopic) -> None:
    tail = Tail(cluster, "contract-tail-late", lambda _records: None, start="beginning")
    tail.start()
    try:
        await asyncio.sleep(0)
        assert not tail.complete
        await make_topic("contract-tail-late")
        await tail.caught_up()
    finally:
        await tail.stop()


async def test_a_tail_knows_that_the_cluster_is_away(cluster: Cluster, make_topic: MakeTopic, outage: Outage) -> None:
    topic = await make_topic("contract-tail-outage")
    taken = 0

    def take(records: Sequence[Any]) -> None:
        nonlocal taken
        taken += len(records)

    async with tailing(tail := Tail(cluster, topic, take, start="beginning", monotonic=lambda: 3 * time.monotonic())):
        await until(lambda: tail.alive)
        with outage():
            await until(lambda: not tail.alive)
            assert tail.complete, "what it has is only old"
        await until(lambda: tail.alive)
        await produce(cluster, topic, b"after the outage")
        await until(lambda: taken == 1)
