"""Declared topics are created; a cluster that differs is refused with a list of all differences."""

import asyncio
import socket
from dataclasses import replace
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from app.kafka.clients import KafkaCluster
from app.kafka.topics import (
    ClusterUnreachable,
    PartitionOffsets,
    TopicDifference,
    TopicMismatch,
    TopicRefused,
    describe_topics,
    ensure_topics,
)
from schemas.topics import DAY_MS, TOPICS, Topic


@pytest.fixture
def topics() -> tuple[Topic, ...]:
    """Return every declared topic under a name that is unique to the test."""
    suffix = uuid4().hex[:8]
    return tuple(replace(topic, name=f"{topic.name}.{suffix}") for topic in TOPICS.values())


async def test_missing_topics_are_created_as_declared(kafka: KafkaCluster, topics: tuple[Topic, ...]) -> None:
    await ensure_topics(kafka, topics, partitions=3, replication_factor=1)

    for row, topic in zip(await describe_topics(kafka, topics), topics, strict=True):
        assert row.topic == topic
        assert row.config == topic.config()
        assert (row.partitions, row.replicas, row.leaderless) == (3, 1, 0)
        assert row.offsets == (PartitionOffsets(0, 0),) * 3
        assert row.differences(3) == ()


async def test_a_second_start_preserves_topics_and_records(kafka: KafkaCluster, topics: tuple[Topic, ...]) -> None:
    await ensure_topics(kafka, topics, partitions=2, replication_factor=1)
    async with AIOKafkaProducer(**kafka.connection()) as producer:
        await producer.send_and_wait(topics[0].name, b"kept", partition=1)

    await ensure_topics(kafka, topics, partitions=2, replication_factor=1)

    (row,) = await describe_topics(kafka, topics[:1])
    assert row.offsets == (PartitionOffsets(0, 0), PartitionOffsets(0, 1))


async def test_only_missing_topics_are_created(kafka: KafkaCluster, topics: tuple[Topic, ...]) -> None:
    await ensure_topics(kafka, topics[:2], partitions=1, replication_factor=1)

    before = await describe_topics(kafka, topics)
    await ensure_topics(kafka, topics, partitions=1, replication_factor=1)

    assert [row.exists for row in before] == [True, True] + [False] * (len(topics) - 2)
    assert all(row.exists for row in await describe_topics(kafka, topics))


async def test_topics_can_be_created_concurrently(kafka: KafkaCluster, topics: tuple[Topic, ...]) -> None:
    await asyncio.gather(*(ensure_topics(kafka, topics, 2, 1) for _ in range(5)))

    assert [row.partitions for row in await describe_topics(kafka, topics)] == [2] * len(topics)


async def test_every_difference_is_listed_with_its_fix(kafka: KafkaCluster, topics: tuple[Topic, ...]) -> None:
    retained, expiring = topics[0], replace(topics[1], retention_ms=DAY_MS, cleanup="compact")
    await ensure_topics(kafka, (retained, expiring), partitions=2, replication_factor=1)

    with pytest.raises(TopicMismatch) as refused:
        await ensure_topics(kafka, topics, partitions=4, replication_factor=1)

    assert refused.value.differences == (
        TopicDifference(retained.name, "partitions", actual="2", expected="4"),
        TopicDifference(expiring.name, "partitions", actual="2", expected="4"),
        TopicDifference(expiring.name, "cleanup.policy", actual="compact", expected="delete"),
        TopicDifference(expiring.name, "retention.ms", actual=str(DAY_MS), expected="-1"),
    )
    message = str(refused.value)
    assert f"{retained.name}: partitions is 2, expected 4" in message
    assert "ENTREPOT_PARTITIONS" in message
    assert f"--entity-name {expiring.name} --add-config retention.ms=-1" in message
    rows = await describe_topics(kafka, topics)
    assert [row.exists for row in rows] == [True, True] + [False] * (len(topics) - 2), "a refusal creates nothing"


async def test_a_refusal_by_the_cluster_contains_its_message(kafka: KafkaCluster, topics: tuple[Topic, ...]) -> None:
    with pytest.raises(TopicRefused, match=rf"{topics[0].name}: InvalidReplicationFactor.*Unable to replicate"):
        await ensure_topics(kafka, topics, partitions=1, replication_factor=3)


async def test_an_unreachable_cluster_is_named(topics: tuple[Topic, ...]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ClusterUnreachable, match=f"{address}: Connection refused.*ENTREPOT_BOOTSTRAP_SERVERS"):
            await describe_topics(KafkaCluster(address), topics)
