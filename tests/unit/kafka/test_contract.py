"""The memory cluster keeps the contract of the Kafka port."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiokafka import TopicPartition

from app.kafka.memory.cluster import MemoryCluster
from tests.kafka_contract import *  # noqa: F403  # the tests


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    cluster = MemoryCluster()
    yield cluster
    assert cluster.connections == 0


@pytest.fixture
def make_topic(cluster: MemoryCluster) -> MakeTopic:  # noqa: F405  # the fixture that the imported contract asks for
    async def make(name: str, partitions: int = 1) -> str:
        cluster.create_topic(name, partitions)
        return name

    return make


@pytest.fixture
def delete_records(cluster: MemoryCluster) -> DeleteRecords:  # noqa: F405  # the fixture that the imported contract asks for
    async def delete(partition: TopicPartition, before: int) -> None:
        cluster.delete_records(partition, before)

    return delete


@pytest.fixture
def outage(cluster: MemoryCluster) -> Outage:  # noqa: F405  # the fixture that the imported contract asks for
    @contextmanager
    def away() -> Iterator[None]:
        cluster.set_available(available=False)
        yield
        cluster.set_available(available=True)

    return away
