"""The contract of the Kafka port, run on a real broker; the memory cluster passes the same tests."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from app.kafka.clients import KafkaCluster
from app.supervisor.broker.server import Broker
from tests.kafka_contract import *  # noqa: F403  # the tests


@pytest.fixture
def cluster(kafka: KafkaCluster) -> KafkaCluster:
    return kafka


@pytest.fixture
def delete_records(cluster: KafkaCluster) -> DeleteRecords:  # noqa: F405  # the fixture that the imported contract asks for
    async def delete(partition: TopicPartition, before: int) -> None:
        admin = cluster.admin(10_000)
        await admin.start()
        try:
            await admin.delete_records({partition: RecordsToDelete(before_offset=before)})
        finally:
            await admin.close()

    return delete


@pytest.fixture
def outage(broker: Broker) -> Outage:  # noqa: F405  # the fixture that the imported contract asks for
    """Stop the broker's process for a while: its connections stay open, and nothing is answered."""

    @contextmanager
    def away() -> Iterator[None]:
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(broker.pid, signal.SIGCONT)

    return away
