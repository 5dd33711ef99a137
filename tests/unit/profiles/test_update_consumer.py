"""The order in which updates are applied: real time first, backfill never starved, and neither blocks the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from app.process import utc_now
from app.profile_store.partition_store import PartitionStore, Shard
from app.profiles.open_partitions import OpenPartitions
from app.profiles.partition import ProfilePartition
from app.profiles.update_consumer import (
    BUSY_SECONDS,
    IDLE_MS,
    MAX_REALTIME_TURNS,
    REALTIME_RECORDS,
    SLICE_ROWS,
    UpdateConsumer,
)
from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.rules import NO_RULES, Rules
from projections.profiles.update_codec import encode_mapped, encode_messages
from projections.profiles.updates import Group, MappedMessages, NodeMessages
from schemas.topics import UPDATES
from schemas.updates import MappedBatch, NodeBatch, Update
from schemas.wire.codec import encode

REALTIME, BACKFILL = (TopicPartition(UPDATES[lane].name, 0) for lane in ("realtime", "backfill"))


class Source:
    """Records in lists, read from a position for each partition; a test may do something at each read."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster({source.topic: 1 for source in (REALTIME, BACKFILL)})
        self.consumer = self.cluster.consumer(isolation="read_committed")
        self.waits: list[int] = []
        self.at_read: Callable[[], None] = lambda: None

    async def start(self) -> None:
        await self.consumer.start()
        self.consumer.assign([REALTIME, BACKFILL])
        for source in (REALTIME, BACKFILL):
            self.consumer.seek(source, 0)

    async def read(
        self, *partitions: TopicPartition, wait_ms: int, max_records: int | None = None
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        self.at_read()
        self.waits.append(wait_ms)
        polled: Mapping[TopicPartition, Sequence[Any]] = await self.consumer.getmany(
            *partitions, timeout_ms=0, max_records=max_records
        )
        return polled


class Work:
    """One partition in two generations at most, its two update topics, and a consumer of them."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_000.0
        self.rules = NO_RULES
        self.source = Source()
        self.partitions = OpenPartitions(BatchProducer(self.source.cluster), 1, utc_now)
        self.consumer = UpdateConsumer(self.source, lambda _: self.rules, self.partitions, lambda: self.now)
        self.stores = [PartitionStore.open(folder / str(generation)) for generation in range(2)]
        self._sent = {"realtime": 0, "backfill": 0}

    def open(self, generation: int = 0) -> ProfilePartition:
        shard = Shard(generation, 0)
        self.partitions.open(shard, self.stores[generation], max_nodes=100_000)
        partition = self.partitions.get(shard)
        assert partition
        return partition

    async def send(self, lane: str, update: Update | bytes) -> None:
        value = update if isinstance(update, bytes) else encode(update)
        async with BatchProducer(self.source.cluster) as producer:
            await producer.write([ProducerRecord(UPDATES[lane].name, value, partition=0)])

    async def send_rows(self, lane: str, rows: int = 1, records: int = 1) -> None:
        """Send updates, each with so many rows of different people."""
        for _ in range(records):
            start = self._sent[lane]
            self._sent[lane] += 1
            group = Group("orders", ("latest:city",), start, [f"{lane}/{start}"])
            group.rows = [[f"00:id:{lane}{start}-{n}", 1, 0, n, 0, "Graz"] for n in range(rows)]
            payload = encode_mapped(MappedMessages([group]))
            header = MappedBatch(
                topic=f"messages.{lane}",
                partition=0,
                first_offset=start,
                next_offset=start + 1,
                rules_offset=1,
                payload=payload,
            )
            await self.send(lane, header)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    made = Work(tmp_path)
    yield made
    for store in made.stores:
        store.close()


async def test_real_time_is_applied_before_backfill(work: Work) -> None:
    partition = work.open()
    await work.source.start()
    await work.send_rows("backfill")
    await work.send_rows("realtime", records=REALTIME_RECORDS + 1)
    await work.consumer.apply_next(1)
    assert (partition.next_offset("realtime"), partition.next_offset("backfill")) == (REALTIME_RECORDS, 0)
    assert not work.consumer.is_idle
    await work.consumer.apply_next(1)
    assert (partition.next_offset("realtime"), partition.next_offset("backfill")) == (REALTIME_RECORDS + 1, 0)
    await work.consumer.apply_next(1)
    assert partition.next_offset("backfill") == 1
    assert not work.consumer.is_idle


async def test_backfill_gets_a_turn_however_much_real_time_there_is(work: Work) -> None:
    partition = work.open()
    await work.source.start()
    await work.send_rows("backfill", records=3)
    await work.send_rows("realtime", records=REALTIME_RECORDS * 4 * MAX_REALTIME_TURNS)
    applied = []
    for _ in range(2 * MAX_REALTIME_TURNS + 2):
        await work.consumer.apply_next(1)
        applied.append(partition.next_offset("backfill"))
    assert applied == [0] * MAX_REALTIME_TURNS + [1] * (MAX_REALTIME_TURNS + 1) + [2]


async def test_a_consumer_that_only_had_real_time_is_not_idle(work: Work) -> None:
    work.open()
    await work.source.start()
    await work.send_rows("realtime", records=REALTIME_RECORDS * (MAX_REALTIME_TURNS + 1))
    for _ in range(MAX_REALTIME_TURNS + 1):
        await work.consumer.apply_next(1)
        assert not work.consumer.is_idle
    await work.consumer.apply_next(1)
    assert work.consumer.is_idle


async def test_while_real_time_arrives_backfill_is_applied_in_slices(work: Work) -> None:
    partition = work.open()
    await work.source.start()
    await work.send_rows("realtime")
    await work.consumer.apply_next(1)
    work.now += BUSY_SECONDS * 0.9
    await work.send_rows("backfill", rows=3 * SLICE_ROWS)
    await work.send_rows("realtime")  # arrives while the slices are applied
    changed: list[int] = []
    work.source.at_read = lambda: changed.append(partition.changes)
    await work.consumer.apply_next(1)
    assert partition.next_offset("backfill") == 0, "real time first"
    work.source.at_read = lambda: changed.append(partition.changes)
    changed.clear()
    await work.consumer.apply_next(1)
    assert partition.next_offset("backfill") == 1
    assert [SLICE_ROWS * n + 2 for n in range(4)] == sorted(set(changed))


async def test_without_real_time_backfill_is_applied_at_once(work: Work) -> None:
    partition = work.open()
    await work.source.start()
    await work.send_rows("realtime")
    await work.consumer.apply_next(1)
    work.now += BUSY_SECONDS * 1.1
    await work.send_rows("backfill", rows=3 * SLICE_ROWS)
    changed: list[int] = []
    work.source.at_read = lambda: changed.append(partition.changes)
    await work.consumer.apply_next(1)
    assert set(changed) == {1}
    assert partition.changes == 1 + 3 * SLICE_ROWS


async def test_real_time_gets_through_in_the_middle_of_other_work_only_while_it_arrives(work: Work) -> None:
    partition = work.open()
    await work.source.start()
    await work.send_rows("realtime", records=2)
    await work.consumer.yield_to_realtime()
    assert partition.next_offset("realtime") == 0, "none arrived lately"
    await work.consumer.apply_next(1)
    await work.send_rows("realtime")
    await work.consumer.yield_to_realtime()
    assert partition.next_offset("realtime") == 3
    work.now += BUSY_SECONDS
    await work.send_rows("realtime")
    await work.consumer.yield_to_realtime()
    assert partition.next_offset("realtime") == 3


@pytest.mark.parametrize(
    ("max_wait", "wait_ms"), [(0.0, 1), (0.0004, 1), (0.01, 10), (IDLE_MS, IDLE_MS), (float("inf"), IDLE_MS)]
)
async def test_an_idle_consumer_waits_for_updates_until_the_next_flush_is_due(
    work: Work, max_wait: float, wait_ms: int
) -> None:
    work.open()
    await work.source.start()
    await work.consumer.apply_next(max_wait)
    assert work.source.waits == [0, 0, wait_ms]
    assert work.consumer.is_idle


async def test_generations_read_the_same_records_each_from_its_offset(work: Work) -> None:
    live = work.open()
    await work.source.start()
    await work.send_rows("realtime", records=2)
    await work.consumer.apply_next(1)
    following = work.open(1)
    work.source.consumer.seek(REALTIME, 0)
    await work.send_rows("realtime")
    await work.consumer.apply_next(1)
    assert live.next_offset("realtime") == following.next_offset("realtime") == 3
    assert live.changes == 3
    assert following.changes == 0, "the updates are for generation 0"


async def test_invalid_updates_are_skipped_and_logged(work: Work, caplog: pytest.LogCaptureFixture) -> None:
    partition = work.open()
    await work.source.start()
    foreign = MappedBatch(
        topic="jobs.events", partition=0, first_offset=0, next_offset=1, rules_offset=1, payload=b"[]"
    )
    for update in (b"{}", foreign):
        await work.send("realtime", update)
    await work.send_rows("realtime")
    await work.consumer.apply_next(1)
    assert partition.next_offset("realtime") == 3
    assert partition.changes == 1
    assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [
        f"skipping invalid record {REALTIME.topic}-0@{offset}" for offset in (0, 1)
    ]


async def test_the_identity_limit_follows_the_rules(work: Work) -> None:
    partition = work.open()
    await work.source.start()
    await work.send("realtime", b"{}")
    await work.consumer.apply_next(1)
    assert partition.next_offset("realtime") == 1, "also before there are identity rules"
    for limit in (3, 5):
        body = f'{{"kinds": [{{"kind": "id", "rank": 0}}, {{"kind": "cookie", "rank": 1}}], "max_identities": {limit}}}'
        work.rules = Rules(identity=VersionedBody(limit, body))
        joins = [
            ("00:id:a", (f"01:cookie:{n}", 0), {}, {f"01:cookie:{n}\000" + "00:id:a": [1, "b", n]}) for n in range(9)
        ]
        payload = encode_messages(NodeMessages(joins=joins))  # type: ignore[arg-type]  # lists, as JSON has them
        await work.send("realtime", NodeBatch(payload=payload))
        await work.consumer.apply_next(1)
        node = partition.nodes.peek("00:id:a")
        assert node
        assert len(node.edges) == limit
        partition.outgoing_records()
