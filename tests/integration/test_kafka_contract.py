"""The contract of the Kafka port, run on a real broker; the memory cluster passes the same tests."""

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete

from app.kafka.clients import KafkaCluster
from tests.kafka_contract import *  # noqa: F403  # the tests


@pytest.fixture
def cluster(kafka: str) -> KafkaCluster:
    return KafkaCluster(kafka)


@pytest.fixture
def delete_records(cluster: KafkaCluster) -> DeleteRecords:  # noqa: F405
    async def delete(partition: TopicPartition, before: int) -> None:
        admin = cluster.admin(10_000)
        await admin.start()
        try:
            await admin.delete_records({partition: RecordsToDelete(before_offset=before)})
        finally:
            await admin.close()

    return delete
