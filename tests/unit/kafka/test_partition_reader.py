"""The partition reader: what the contract of the port leaves open."""

from collections.abc import AsyncIterator
from itertools import count

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.partition_reader import STALL_TIMEOUT_SECONDS, LogRecord, PartitionReader
from app.kafka.producer_record import ProducerRecord
from tests.clock import ManualMonotonic


@pytest.fixture
async def cluster() -> AsyncIterator[MemoryCluster]:
    cluster = MemoryCluster({"topic": 1})
    async with BatchProducer(cluster) as producer:
        await producer.write(
            ProducerRecord("topic", value, key, 0) for key, value in ((b"a", b"1"), (b"a", None), (None, b"3"))
        )
    yield cluster
    assert cluster.connections == 0


async def test_records_have_offset_key_and_value(cluster: MemoryCluster) -> None:
    async with PartitionReader(cluster, "topic", 0) as log:
        assert log.end == 3
        expected = [LogRecord(0, b"a", b"1"), LogRecord(1, b"a", b""), LogRecord(2, None, b"3")]
        assert [record async for record in log.records()] == expected


async def test_a_lower_end_can_be_set(cluster: MemoryCluster) -> None:
    async with PartitionReader(cluster, "topic", 0, 1) as log:
        log.end = 2
        assert [record.offset async for record in log.records()] == [1]


async def test_an_empty_partition_has_no_records() -> None:
    async with PartitionReader(MemoryCluster({"topic": 1}), "topic", 0) as log:
        assert [record async for record in log.records()] == []


async def test_a_stalled_read_fails(cluster: MemoryCluster) -> None:
    steps = count(step=STALL_TIMEOUT_SECONDS / 2)
    async with PartitionReader(cluster, "topic", 0, monotonic=lambda: next(steps)) as log:
        cluster.set_available(available=False)
        with pytest.raises(KafkaTimeoutError):
            await anext(log.records())


async def test_a_slow_reader_is_not_stalled(cluster: MemoryCluster) -> None:
    monotonic = ManualMonotonic()
    async with PartitionReader(cluster, "topic", 0, monotonic=monotonic) as log:
        offsets = []
        async for record in log.records():
            offsets.append(record.offset)
            monotonic.now += 2 * STALL_TIMEOUT_SECONDS
        assert offsets == [0, 1, 2]


async def test_a_reader_that_can_not_connect_fails(cluster: MemoryCluster) -> None:
    cluster.set_available(available=False)
    with pytest.raises(KafkaConnectionError):
        async with PartitionReader(cluster, "topic", 0):
            pytest.fail("it is not connected")
