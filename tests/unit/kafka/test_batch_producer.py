"""The batch producer: a write returns once every record is acked, or raises."""

import asyncio
from collections.abc import Iterator

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError

from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    cluster = MemoryCluster({"topic": 2})
    yield cluster
    assert cluster.connections == 0


def records(*values: bytes, partition: int = 0) -> list[ProducerRecord]:
    return [ProducerRecord("topic", value, partition=partition) for value in values]


async def test_a_write_returns_once_all_records_are_acked(cluster: MemoryCluster) -> None:
    async with BatchProducer(cluster) as producer:
        cluster.withhold_acks()
        writing = asyncio.create_task(producer.write(records(b"a", b"b") + records(b"c", partition=1)))
        await asyncio.wait([writing], timeout=0.01)
        assert [len(cluster.records("topic", partition)) for partition in range(2)] == [2, 1], "all are on their way"
        assert not writing.done()
        cluster.release_acks()
        await writing


async def test_records_of_a_partition_keep_their_order(cluster: MemoryCluster) -> None:
    values = [b"%d" % number for number in range(20)]
    async with BatchProducer(cluster) as producer:
        await producer.write(records(*values[:10]))
        await producer.write(records(*values[10:]))
    assert [record.value for record in cluster.records("topic")] == values


async def test_a_record_that_is_not_acked_fails_the_write(cluster: MemoryCluster) -> None:
    async with BatchProducer(cluster) as producer:
        cluster.set_available(available=False)
        with pytest.raises(KafkaTimeoutError):
            await producer.write(records(b"a"))
        cluster.set_available(available=True)
        await producer.write(records(b"b"))
    assert [record.value for record in cluster.records("topic")] == [b"b"]


async def test_a_write_of_nothing_returns(cluster: MemoryCluster) -> None:
    async with BatchProducer(cluster) as producer:
        await producer.write([])


async def test_a_producer_that_can_not_connect_fails(cluster: MemoryCluster) -> None:
    cluster.set_available(available=False)
    with pytest.raises(KafkaConnectionError):
        async with BatchProducer(cluster):
            pytest.fail("it is not connected")
