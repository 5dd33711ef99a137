"""Which partition is flushed next and when, and what a flush leaves behind when the broker fails."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.process import utc_now
from app.profile_store.partition_store import PartitionStore, Shard
from app.profiles.open_partitions import (
    BUSY_FLUSH_INTERVAL,
    FLUSH_INTERVAL,
    MAX_CHANGED_NODES,
    SLICE_NODES,
    OpenPartitions,
)
from app.profiles.partition import ProfilePartition
from projections.profiles.identity_node import Sender
from projections.profiles.update_codec import encode_messages
from projections.profiles.updates import NodeMessages
from schemas.topics import MESSAGES_REJECTED, UPDATES
from schemas.updates import NodeBatch

PARTITIONS = 3
SENDER: Sender = ("09:other:x", 0)


class Opened:
    """Partitions on real stores, with a cluster in memory and a clock that tests move."""

    def __init__(self, folder: Path, cluster: MemoryCluster, producer: BatchProducer) -> None:
        self.folder = folder
        self.cluster = cluster
        self.now = 1_000.0
        self.slices = 0
        self.partitions = OpenPartitions(producer, PARTITIONS, utc_now, lambda: self.now)
        self.stores: dict[Shard, PartitionStore] = {}

    def open(self, number: int, generation: int = 0) -> ProfilePartition:
        shard = Shard(generation, number)
        self.stores[shard] = PartitionStore.open(self.folder / f"{generation}.{number}")
        self.partitions.open(shard, self.stores[shard], max_nodes=10_000)
        partition = self.partitions.get(shard)
        assert partition
        return partition

    async def between_slices(self) -> None:
        self.slices += 1

    async def flush_due(self, *, is_idle: bool = True) -> list[int]:
        """Return the partitions that became clean."""
        dirty = {shard for shard in self.partitions if not self.is_clean(shard)}
        await self.partitions.flush_due(self.between_slices, is_idle=is_idle)
        return [shard.partition for shard in dirty if self.is_clean(shard)]

    def is_clean(self, shard: Shard) -> bool:
        partition = self.partitions.get(shard)
        return partition is not None and partition.is_clean

    def updates(self) -> int:
        topics = [topic.name for topic in UPDATES.values()]
        return sum(len(self.cluster.records(topic, number)) for topic in topics for number in range(PARTITIONS))


@pytest.fixture
async def opened(tmp_path: Path) -> AsyncIterator[Opened]:
    topics = {topic.name: PARTITIONS for topic in (*UPDATES.values(), MESSAGES_REJECTED)}
    cluster = MemoryCluster(topics)
    async with AsyncExitStack() as stack:
        made = Opened(tmp_path, cluster, await stack.enter_async_context(BatchProducer(cluster)))
        yield made
        for store in made.stores.values():
            store.close()


def change(partition: ProfilePartition, nodes: int = 1) -> None:
    """Change nodes, without messages to other partitions."""
    joins = [(f"00:id:{number}", SENDER, {"latest:city": [1, "b", 0, "Graz"]}, {}) for number in range(nodes)]
    partition.apply_messages(NodeMessages(joins=joins), 1_000)
    partition.drain_outbox()


def link(partition: ProfilePartition) -> None:
    """Change a node that has a message to another one."""
    payload = encode_messages(NodeMessages(links=[("05:cookie:a", "00:id:a", SENDER)]))
    partition.apply("realtime", partition.next_offset("realtime"), NodeBatch(payload=payload), 1_000)


async def test_a_clean_partition_is_never_due(opened: Opened) -> None:
    opened.open(0)
    assert opened.partitions.seconds_until_flush() == float("inf")
    opened.now += 3_600
    assert await opened.flush_due() == []
    assert opened.partitions.seconds_until_flush() == float("inf")


@pytest.mark.parametrize(("is_idle", "interval"), [(True, FLUSH_INTERVAL), (False, BUSY_FLUSH_INTERVAL)])
async def test_a_partition_is_due_an_interval_after_its_last_flush(
    opened: Opened, *, is_idle: bool, interval: float
) -> None:
    partition = opened.open(0)
    for _ in range(2):
        change(partition)
        opened.now += interval * 0.9
        assert await opened.flush_due(is_idle=is_idle) == []
        opened.now += interval * 0.2
        assert await opened.flush_due(is_idle=is_idle) == [0]


async def test_the_time_until_a_flush_is_that_of_the_oldest_dirty_partition(opened: Opened) -> None:
    older = opened.open(0)
    opened.now += FLUSH_INTERVAL / 2
    newer = opened.open(1)
    change(newer)
    assert opened.partitions.seconds_until_flush() == pytest.approx(FLUSH_INTERVAL)
    change(older)
    assert opened.partitions.seconds_until_flush() == pytest.approx(FLUSH_INTERVAL / 2)
    opened.now += 3_600
    assert opened.partitions.seconds_until_flush() == 0


async def test_a_busy_process_flushes_soon_when_another_partition_waits_for_messages(opened: Opened) -> None:
    waiting, other = opened.open(0), opened.open(1)
    change(other)
    link(waiting)
    opened.now += FLUSH_INTERVAL * 1.1
    assert await opened.flush_due(is_idle=False) == [0]
    assert await opened.flush_due(is_idle=False) == []


async def test_many_changes_in_all_partitions_are_flushed_at_once_one_partition_after_another(opened: Opened) -> None:
    first, second = opened.open(0), opened.open(1)
    change(first, MAX_CHANGED_NODES // 2)
    change(second, MAX_CHANGED_NODES // 2 - 1)
    assert await opened.flush_due(is_idle=False) == []
    change(second, MAX_CHANGED_NODES // 2)
    assert len(await opened.flush_due(is_idle=False)) == 1


async def test_the_partition_with_the_oldest_flush_is_next(opened: Opened) -> None:
    partitions = [opened.open(number) for number in range(PARTITIONS)]
    opened.now += 1
    order = []
    for number in (1, 2, 0, 2, 1):
        change(partitions[number])
        order += await opened.flush_due()
        opened.now += 1
    assert order == [1, 2, 0, 2, 1]
    for partition in partitions:
        change(partition)
    for _ in range(PARTITIONS):
        order += await opened.flush_due()
        opened.now += 1
    assert order[5:] == [0, 2, 1]


async def test_offsets_are_those_of_the_last_flush_by_generation(opened: Opened) -> None:
    source = TopicPartition(UPDATES["realtime"].name, 1)
    live, following = opened.open(1), opened.open(1, generation=1)
    live.seek({UPDATES["realtime"].name: 7})
    following.seek({UPDATES["realtime"].name: 5})
    assert opened.partitions.flushed_offsets(0)[source] == 0
    await opened.partitions.flush_all(opened.between_slices)
    assert opened.partitions.flushed_offsets(0)[source] == 7
    assert opened.partitions.flushed_offsets(1)[source] == 5
    assert opened.partitions.flushed_offsets(2) == {}
    live.seek({UPDATES["realtime"].name: 9})
    assert opened.partitions.flushed_offsets(0)[source] == 7
    assert opened.stores[Shard(0, 1)].offsets()[UPDATES["realtime"].name] == 7


async def test_a_large_flush_pauses_between_slices_and_takes_in_what_is_applied_there(opened: Opened) -> None:
    partition, other = opened.open(0), opened.open(1)
    change(partition, 3 * SLICE_NODES)

    async def between_slices() -> None:
        opened.slices += 1
        partition.seek({UPDATES["realtime"].name: opened.slices})
        change(other)

    await opened.partitions.flush_all(between_slices)
    assert opened.slices == 3
    assert opened.stores[Shard(0, 0)].offsets()[UPDATES["realtime"].name] == 3
    assert partition.is_clean
    assert other.is_clean, "it was clean when the flush began"


async def test_a_partition_is_written_only_when_its_messages_are_acked(opened: Opened) -> None:
    partition = opened.open(0)
    link(partition)
    opened.cluster.withhold_acks()
    flushing = asyncio.create_task(opened.partitions.flush_all(opened.between_slices))
    for _ in range(20):
        await asyncio.sleep(0)
    assert opened.updates()
    assert not partition.is_clean
    assert opened.stores[Shard(0, 0)].get_nodes([b"05:cookie:a"]) == [None]
    opened.cluster.release_acks()
    await flushing
    assert partition.is_clean
    assert opened.stores[Shard(0, 0)].get_nodes([b"05:cookie:a"]) != [None]


async def test_a_failed_flush_writes_nothing(opened: Opened) -> None:
    partition = opened.open(0)
    link(partition)
    opened.cluster.set_available(available=False)
    opened.now += 1
    with pytest.raises(KafkaTimeoutError):
        await opened.flush_due()
    assert not partition.is_clean
    assert opened.stores[Shard(0, 0)].get_nodes([b"05:cookie:a"]) == [None]
    assert opened.partitions.seconds_until_flush() == 0
    assert set(opened.partitions.flushed_offsets(0).values()) == {0}


async def test_a_removed_partition_is_not_flushed(opened: Opened) -> None:
    change(opened.open(0))
    change(opened.open(2))
    opened.partitions.remove(Shard(0, 0))
    await opened.partitions.flush_all(opened.between_slices)
    assert Shard(0, 0) not in opened.partitions
    assert opened.partitions.get(Shard(0, 0)) is None
    assert opened.stores[Shard(0, 0)].get_nodes([b"00:id:0"]) == [None]
    assert opened.stores[Shard(0, 2)].get_nodes([b"00:id:0"]) != [None]
    assert opened.partitions.numbers() == [2]


async def test_generations_of_a_partition_are_listed_and_numbers_once(opened: Opened) -> None:
    for generation, number in ((0, 2), (1, 2), (0, 1)):
        opened.open(number, generation)
    assert opened.partitions.numbers() == [1, 2]
    assert [partition.generation for partition in opened.partitions.generations_of(2)] == [0, 1]
    assert set(opened.partitions) == {Shard(0, 2), Shard(1, 2), Shard(0, 1)}
    assert dict(opened.partitions.stores()) == opened.stores
