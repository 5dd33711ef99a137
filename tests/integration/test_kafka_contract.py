"""A real broker keeps the contract of the Kafka port, which the memory cluster is tested by."""

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
