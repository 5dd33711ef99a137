"""The profiles role on a cluster in memory: partitions are opened, kept up to date, announced, and left as flushed."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from app.definitions.rules import RulesReader
from app.definitions.tail import DefinitionsTail
from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from app.process import utc_now
from app.profile_store.partition_store import PartitionStore, Shard
from app.profile_store.stores import Storage
from app.profiles.lookup_client import PartitionUnavailable, ProfilesClient
from app.profiles.lookup_server import LookupServer
from app.profiles.open_partitions import OpenPartitions
from app.profiles.role import GRACE_SECONDS, GROUP, POLL_INTERVAL, GenerationWatch, ProfilesWorker
from app.settings import Settings
from app.store.data_plane import Generations, PlaneStore
from app.store.read_store import ReadStore
from projections.profiles.identity_node import Node
from projections.profiles.partitioning import partition_of_key
from projections.profiles.update_codec import encode_messages
from projections.profiles.updates import NodeMessages
from schemas.topics import DEFINITIONS_EVENTS, MESSAGES_REJECTED, UPDATES
from schemas.updates import NodeBatch
from schemas.wire.codec import encode

PARTITIONS = 2
KEYS = [next(key for n in range(99) if partition_of_key(key := f"00:id:{n}", PARTITIONS) == p) for p in range(2)]
DEADLINE_SECONDS = 20


class BreakableProducer(BatchProducer):
    """Loses its broker when a test says so."""

    is_broken = False

    async def write(self, records: Iterable[ProducerRecord]) -> None:
        records = list(records)
        if records and self.is_broken:
            raise KafkaTimeoutError
        await super().write(records)


class AnnouncingServer(LookupServer):
    """Notes the offset of each partition at its announcement."""

    def __init__(self, host: str, plane: PlaneStore, partitions: OpenPartitions) -> None:
        super().__init__(host, plane, partitions)
        self.partitions = partitions
        self.announced: dict[Shard, int] = {}

    async def announce(self, shard: Shard) -> None:
        partition = self.partitions.get(shard)
        assert partition
        self.announced[shard] = partition.next_offset("realtime")
        await super().announce(shard)


class Running:
    """A worker, and what it works with."""

    def __init__(
        self, cluster: MemoryCluster, store: ReadStore, producer: BreakableProducer, server: "AnnouncingServer"
    ) -> None:
        self.cluster = cluster
        self.store = store
        self.producer = producer
        self.server = server
        self.stop = asyncio.Event()
        self.working: asyncio.Task[None]

    async def send(self, key: str, city: str, generation: int = 0) -> None:
        """Send an update of a profile."""
        await send(self.cluster, key, city, generation)

    async def send_messages(self, number: int, messages: NodeMessages) -> None:
        await send_update(self.cluster, number, NodeBatch(payload=encode_messages(messages)))

    async def city(self, key: str) -> str | None:
        node = await self.node(key)
        return None if node is None else str(node.registers["latest:city"][3])

    async def cities(self, key: str) -> set[str]:
        """Return all cities that a profile had."""
        node = await self.node(key)
        assert node
        return {json.loads(city) for city in node.registers["union:city"]}

    async def node(self, key: str) -> Node | None:
        """Look a profile up as the API does, as soon as its owner responds."""
        async with ProfilesClient(self.store.plane, PARTITIONS) as client, asyncio.timeout(DEADLINE_SECONDS):
            while True:
                try:
                    return await (await client.reader()).root(key)
                except PartitionUnavailable:
                    await asyncio.sleep(0.01)

    async def until(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not is_so():
                assert not self.working.done(), self.working
                await asyncio.sleep(0.01)

    async def answered(self, generation: int = 0, count: int = PARTITIONS) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(await self.store.plane.owned(generation)) < count:
                assert not self.working.done(), self.working
                await asyncio.sleep(0.01)

    def committed(self, number: int) -> int:
        return self.cluster.offsets(GROUP).get(TopicPartition(UPDATES["realtime"].name, number), 0)


async def send(cluster: MemoryCluster, key: str, city: str, generation: int = 0) -> None:
    registers = {"latest:city": [1, "b", 0, city], "union:city": {json.dumps(city): [1, "b", 0]}}
    joins = [(key, (key, 0), registers, {})]
    payload = encode_messages(NodeMessages(joins=joins))  # type: ignore[arg-type]  # lists, as JSON has them
    update = NodeBatch(payload=payload, generation=generation)
    await send_update(cluster, partition_of_key(key, PARTITIONS), update)


async def send_update(cluster: MemoryCluster, number: int, update: NodeBatch) -> None:
    async with BatchProducer(cluster) as producer:
        await producer.write([ProducerRecord(UPDATES["realtime"].name, encode(update), partition=number)])


@pytest.fixture
def cluster() -> MemoryCluster:
    topics = {topic.name: PARTITIONS for topic in (*UPDATES.values(), MESSAGES_REJECTED)}
    return MemoryCluster({**topics, DEFINITIONS_EVENTS.name: 1})


@asynccontextmanager
async def running(
    folder: Path,
    cluster: MemoryCluster,
    clock: Callable[[], float] = time.monotonic,
    flush_clock: Callable[[], float] | None = None,
    snapshot_clock: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[Running]:
    settings = Settings(data_dir=folder, partitions=PARTITIONS)
    async with AsyncExitStack() as stack:
        store = await ReadStore.open(settings.database())
        stack.push_async_callback(store.close)
        tail = DefinitionsTail(cluster)
        rules = RulesReader(tail)
        tail.start()
        stack.push_async_callback(tail.stop)
        await tail.caught_up()
        producer = await stack.enter_async_context(BreakableProducer(cluster))
        partitions = OpenPartitions(producer, PARTITIONS, utc_now, flush_clock or clock)
        server = AnnouncingServer("127.0.0.1", store.plane, partitions)
        await stack.enter_async_context(server)
        storage = Storage(settings, snapshot_clock)
        worker = ProfilesWorker(cluster, settings, storage, rules, partitions, server, store.plane, clock)
        made = Running(cluster, store, producer, server)
        made.working = asyncio.create_task(worker.run(made.stop))
        try:
            yield made
        finally:
            made.stop.set()
            await asyncio.gather(made.working, return_exceptions=True)


async def test_updates_become_profiles_that_a_look_up_finds(tmp_path: Path, cluster: MemoryCluster) -> None:
    async with running(tmp_path, cluster) as worker:
        await worker.answered()
        for key in KEYS:
            assert await worker.city(key) is None
            await worker.send(key, "Graz")
        await worker.until(lambda: all(worker.committed(number) == 1 for number in range(PARTITIONS)))
        for key in KEYS:
            assert await worker.city(key) == "Graz"


async def test_a_stopped_worker_has_flushed_all_and_the_next_one_resumes_there(
    tmp_path: Path, cluster: MemoryCluster
) -> None:
    async with running(tmp_path, cluster) as worker:
        await worker.answered()
        await worker.send(KEYS[0], "Graz")
        await worker.until(lambda: worker.committed(partition_of_key(KEYS[0], PARTITIONS)) == 1)
    store = PartitionStore.open(tmp_path / "profiles" / "0.0")
    assert store.offsets()[UPDATES["realtime"].name] == 1
    store.close()
    cluster.expire_sessions()
    async with running(tmp_path, cluster) as worker:
        assert await worker.city(KEYS[0]) == "Graz"
        await worker.send(KEYS[0], "Wels")
        await worker.until(lambda: worker.committed(0) == 2)
        assert await worker.city(KEYS[0]) == "Wels"


async def test_a_stopping_worker_flushes_first(tmp_path: Path, cluster: MemoryCluster) -> None:
    async with running(tmp_path, cluster, flush_clock=lambda: 0.0) as worker:  # no flush is ever due
        await worker.send(KEYS[0], "Graz")
        while await worker.city(KEYS[0]) is None:
            await asyncio.sleep(0.01)
        assert worker.committed(0) == 0
    store = PartitionStore.open(tmp_path / "profiles" / "0.0")
    assert store.offsets()[UPDATES["realtime"].name] == 1
    store.close()


async def test_a_new_owner_answers_when_it_has_read_as_far_as_the_last_one(
    tmp_path: Path, cluster: MemoryCluster
) -> None:
    async with running(tmp_path, cluster) as worker:
        for _ in range(50):
            await worker.send(KEYS[0], "Graz")
        await worker.until(lambda: worker.committed(0) == 50)
    shutil.rmtree(tmp_path / "profiles")
    cluster.expire_sessions()
    async with running(tmp_path, cluster) as worker:
        await worker.until(lambda: len(worker.server.announced) == PARTITIONS)
        assert worker.server.announced == {Shard(0, 0): 50, Shard(0, 1): 0}


async def test_a_broker_that_fails_at_a_flush_ends_the_worker_and_nothing_of_the_batch_is_kept(
    tmp_path: Path, cluster: MemoryCluster
) -> None:
    number, topic = partition_of_key(max(KEYS), PARTITIONS), UPDATES["realtime"].name
    async with running(tmp_path, cluster) as worker:
        await worker.answered()
        worker.producer.is_broken = True
        link = NodeMessages(links=[(max(KEYS), min(KEYS), ("09:x:x", 0))])
        await worker.send_messages(number, link)
        with pytest.raises(KafkaTimeoutError):
            await worker.working
    store = PartitionStore.open(tmp_path / "profiles" / f"0.{number}")
    assert store.offsets().get(topic, 0) == 0
    store.close()
    cluster.expire_sessions()
    async with running(tmp_path, cluster) as worker:
        await worker.until(lambda: len(cluster.records(topic, 1 - number)) == 1)  # it is read again, and sent now


async def test_the_next_generation_is_opened_beside_the_live_one(tmp_path: Path, cluster: MemoryCluster) -> None:
    for number in range(PARTITIONS):
        PartitionStore.open(tmp_path / "profiles" / f"1.{number}").close()
    async with running(tmp_path, cluster) as worker:
        await worker.answered()
        await worker.store.plane.open_next(1)
        await worker.answered(1)
        await worker.send(KEYS[0], "Graz")
        await worker.send(KEYS[0], "Wels", generation=1)
        await worker.until(lambda: worker.committed(0) == 2)
        assert await worker.city(KEYS[0]) == "Graz"
        await worker.store.plane.activate(1, 0)
        assert await worker.city(KEYS[0]) == "Wels"


async def test_a_partition_with_a_lost_log_stays_closed_and_others_work(
    tmp_path: Path, cluster: MemoryCluster, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        await send(cluster, KEYS[0], "Graz")
    cluster.delete_records(TopicPartition(UPDATES["realtime"].name, 0), 2)
    async with running(tmp_path, cluster) as worker:
        await worker.answered(count=1)
        await worker.send(KEYS[1], "Wels")
        await worker.until(lambda: worker.committed(1) == 1)
        assert await worker.store.plane.owned(0) == {1}
        assert "partition 0 of the profiles is unavailable" in caplog.text


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ReadStore]:
    opened = await ReadStore.open(f"sqlite+aiosqlite:///{tmp_path / 'views.db'}")
    yield opened
    await opened.close()


async def test_a_replaced_generation_is_closed_after_a_grace_period(store: ReadStore) -> None:
    now = 1_000.0
    watch = GenerationWatch(store.plane, lambda: now)
    assert await watch.poll() == []
    assert watch.wanted == [0]
    await store.plane.open_next(1)
    assert await watch.poll() == []
    assert watch.wanted == [0], "it was read just now"
    now += POLL_INTERVAL
    assert await watch.poll() == []
    assert (watch.wanted, watch.oldest) == ([0, 1], 0)
    await store.plane.activate(1, 0)
    now += POLL_INTERVAL
    assert await watch.poll() == []
    assert (watch.wanted, watch.oldest) == ([1], 0)
    now += GRACE_SECONDS - POLL_INTERVAL
    assert await watch.poll() == []
    now += POLL_INTERVAL
    assert await watch.poll() == [0]
    now += POLL_INTERVAL
    assert await watch.poll() == []


async def test_a_generation_that_is_live_again_is_not_closed(store: ReadStore) -> None:
    now = 1_000.0
    watch = GenerationWatch(store.plane, lambda: now)
    for live, before in ((1, 0), (0, 1)):
        await store.plane.open_next(live)
        await store.plane.activate(live, before)
        now += POLL_INTERVAL
        assert await watch.poll() == []
    assert watch.wanted == [0]
    now += GRACE_SECONDS
    assert await watch.poll() == [1]


async def test_a_postponed_generation_is_tried_again_at_the_next_poll(store: ReadStore) -> None:
    now = 1_000.0
    watch = GenerationWatch(store.plane, lambda: now)
    await store.plane.open_next(1)
    await watch.poll()
    watch.postpone_next()
    assert watch.wanted == [0]
    assert watch.current == Generations(live=0)
    now += POLL_INTERVAL
    await watch.poll()
    assert watch.wanted == [0, 1]
