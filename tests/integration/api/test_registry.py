"""A standard deserializer decodes the topics with the schema registry of the API."""

import asyncio

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_record_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from app.cli.service.kafka_config import librdkafka_settings
from app.records.partitioning import partition_of
from tests.integration.api.rig import ApiServers

pytestmark = pytest.mark.asyncio(loop_scope="session")


def first_event(api_servers: ApiServers, job_id: str, url: str) -> dict[str, object]:
    with SchemaRegistryClient({"url": f"{url}/registry"}) as registry:
        decode = AvroDeserializer(registry, conf={"subject.name.strategy": topic_record_subject_name_strategy})
        partition = partition_of(job_id, api_servers.service.settings.partitions)
        consumer = Consumer(librdkafka_settings(api_servers.service.broker.cluster) | {"group.id": "stock"})
        consumer.assign([TopicPartition("jobs.events", partition, 0)])
        try:
            while True:
                message = consumer.poll(20)
                assert message is not None
                assert message.error() is None
                if message.key() == job_id.encode():
                    found: dict[str, object] = decode(
                        message.value(), SerializationContext("jobs.events", MessageField.VALUE)
                    )
                    return found
        finally:
            consumer.close()


async def test_a_standard_deserializer_reads_the_events(api_servers: ApiServers) -> None:
    job = await api_servers.client.draft("read by others")
    event = await asyncio.to_thread(first_event, api_servers, job["id"], api_servers.client.url)
    assert (event["job_id"], event["seq"], event["name"]) == (job["id"], 1, "read by others")
