"""Read models are rebuilt from the log: on request, and at a start when the database lacks committed events."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import TopicPartition

from app.control.rebuild_views import BATCH, heal_views, rebuild_views
from app.kafka.clients import started
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord, send
from app.settings import Settings
from app.store.models import BehindError
from app.store.read_store import ReadStore
from schemas.topics import JOBS_EVENTS
from tests.unit.store.histories import Partition, history
from tests.unit.store.views import live_rows

GROUP = "entrepot.control"
SEED = 11


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, partitions=2)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[ReadStore]:
    opened = await ReadStore.open(settings.database())
    yield opened
    await opened.close()


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster({JOBS_EVENTS.name: 2})


async def write(cluster: MemoryCluster, values: list[bytes], partition: int = 0) -> None:
    producer = cluster.producer(compression=None, linger_ms=0, request_timeout_ms=1_000)
    async with started(producer):
        await send(producer, [ProducerRecord(JOBS_EVENTS.name, value, partition=partition) for value in values])


async def commit(cluster: MemoryCluster, *offsets: int) -> None:
    """Commit the offset of the control group in each partition."""
    async with started(cluster.group_consumer(GROUP)) as consumer:
        partitions = [TopicPartition(JOBS_EVENTS.name, number) for number in range(len(offsets))]
        consumer.assign(partitions)
        await consumer.commit(dict(zip(partitions, offsets, strict=True)))


def values_of(partition: Partition) -> list[bytes]:
    return [record.value for record in partition.records]


async def test_a_rebuild_gives_the_views_that_the_projector_gives(
    cluster: MemoryCluster, settings: Settings, store: ReadStore
) -> None:
    first, second = history(SEED), history(SEED + 1, commands=20, jobs=2)
    await write(cluster, [*values_of(first), b"garbage"], 0)
    await write(cluster, values_of(second), 1)
    progress: list[tuple[int, int, int]] = []
    count = await rebuild_views(cluster, settings, lambda *step: progress.append(step))
    assert count == len(first.records) + len(second.records)
    assert progress[-1] == (1, len(second.records) - 1, len(second.records))
    for job_id in first.jobs:
        latest = max(record.event.seq for record in first.records if record.event.job_id == job_id)
        assert await store.jobs.applied_seq(job_id) == latest
    before = await live_rows(store)
    assert await rebuild_views(cluster, settings, lambda *_: None) == count
    assert await live_rows(store) == before


async def test_more_events_than_a_batch_are_all_applied(
    cluster: MemoryCluster, settings: Settings, store: ReadStore
) -> None:
    partition = Partition()
    partition.create()
    while len(partition.records) <= BATCH:
        partition.report()
    await write(cluster, values_of(partition))
    assert await rebuild_views(cluster, settings, lambda *_: None) == len(partition.records)
    assert await store.views.next_offset(0) == len(partition.records)


async def test_views_of_another_cluster_are_not_replaced(
    cluster: MemoryCluster, settings: Settings, store: ReadStore
) -> None:
    partition = Partition()
    await store.views.apply(0, partition.create())
    with pytest.raises(BehindError):
        await rebuild_views(cluster, settings, lambda *_: None)
    assert await store.jobs.get("job-1")


@pytest.mark.parametrize(
    ("committed", "is_rebuilt"), [(3, True), (2, True), (0, False)], ids=["all", "some", "nothing committed"]
)
async def test_a_lost_database_is_rebuilt_when_events_of_it_were_committed(
    cluster: MemoryCluster, settings: Settings, store: ReadStore, committed: int, *, is_rebuilt: bool
) -> None:
    partition = Partition()
    partition.create()
    partition.report()
    await write(cluster, values_of(partition)[:3])
    await commit(cluster, committed, 0)
    await heal_views(cluster, settings, GROUP, [0, 0])
    assert (await store.jobs.get("job-1") is not None) == is_rebuilt


async def test_complete_views_are_left_alone(cluster: MemoryCluster, settings: Settings, store: ReadStore) -> None:
    partition = Partition()
    partition.create()
    await write(cluster, values_of(partition))
    await commit(cluster, len(partition.records), 0)
    await heal_views(cluster, settings, GROUP, [len(partition.records), 0])
    assert await store.jobs.get("job-1") is None


async def test_unreadable_records_alone_need_no_rebuild(
    cluster: MemoryCluster, settings: Settings, store: ReadStore
) -> None:
    partition = Partition()
    partition.create()
    await write(cluster, [b"garbage", *values_of(partition)])
    await commit(cluster, 1, 0)
    await heal_views(cluster, settings, GROUP, [0, 0])
    assert await store.jobs.get("job-1") is None


async def test_control_starts_without_a_check_of_the_views(
    cluster: MemoryCluster, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.set_available(available=False)
    await heal_views(cluster, settings, GROUP, [0, 0])
    assert "entrepot views rebuild" in caplog.text
