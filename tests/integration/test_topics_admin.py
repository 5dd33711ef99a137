"""Declared topics come to be, and what differs is refused with every difference named."""

import asyncio
import socket
from dataclasses import replace
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from app.kafka.topics import (
    ClusterUnreachable,
    Offsets,
    TopicDifference,
    TopicMismatch,
    TopicRefused,
    describe_topics,
    ensure_topics,
)
from schemas.topics import DAY_MS, TOPICS, Topic


@pytest.fixture
def topics() -> tuple[Topic, ...]:
    """Every declared topic, under names that no other test has."""
    suffix = uuid4().hex[:8]
    return tuple(replace(topic, name=f"{topic.name}.{suffix}") for topic in TOPICS.values())


async def test_missing_topics_are_made_as_declared(kafka: str, topics: tuple[Topic, ...]) -> None:
    await ensure_topics(kafka, topics, partitions=3, replication_factor=1)

    for row, topic in zip(await describe_topics(kafka, topics), topics, strict=True):
        assert row.topic == topic
        assert row.config == topic.config()
        assert (row.partitions, row.replicas, row.leaderless) == (3, 1, 0)
        assert row.offsets == (Offsets(0, 0),) * 3
        assert row.differences(3) == ()


async def test_a_second_start_finds_the_topics_and_their_records(kafka: str, topics: tuple[Topic, ...]) -> None:
    await ensure_topics(kafka, topics, partitions=2, replication_factor=1)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        await producer.send_and_wait(topics[0].name, b"kept", partition=1)

    await ensure_topics(kafka, topics, partitions=2, replication_factor=1)

    (row,) = await describe_topics(kafka, topics[:1])
    assert row.offsets == (Offsets(0, 0), Offsets(0, 1))


async def test_only_what_is_missing_is_made(kafka: str, topics: tuple[Topic, ...]) -> None:
    await ensure_topics(kafka, topics[:2], partitions=1, replication_factor=1)

    before = await describe_topics(kafka, topics)
    await ensure_topics(kafka, topics, partitions=1, replication_factor=1)

    assert [row.exists for row in before] == [True, True] + [False] * (len(topics) - 2)
    assert all(row.exists for row in await describe_topics(kafka, topics))


async def test_several_processes_may_make_the_same_topics_at_once(kafka: str, topics: tuple[Topic, ...]) -> None:
    await asyncio.gather(*(ensure_topics(kafka, topics, 2, 1) for _ in range(5)))

    assert [row.partitions for row in await describe_topics(kafka, topics)] == [2] * len(topics)


async def test_every_difference_is_named_with_what_to_do(kafka: str, topics: tuple[Topic, ...]) -> None:
    kept, lost = topics[0], replace(topics[1], retention_ms=DAY_MS, cleanup="compact")
    await ensure_topics(kafka, (kept, lost), partitions=2, replication_factor=1)

    with pytest.raises(TopicMismatch) as refused:
        await ensure_topics(kafka, topics, partitions=4, replication_factor=1)

    assert refused.value.differences == (
        TopicDifference(kept.name, "partitions", found="2", expected="4"),
        TopicDifference(lost.name, "partitions", found="2", expected="4"),
        TopicDifference(lost.name, "cleanup.policy", found="compact", expected="delete"),
        TopicDifference(lost.name, "retention.ms", found=str(DAY_MS), expected="-1"),
    )
    message = str(refused.value)
    assert f"{kept.name}: partitions is 2, expected 4" in message
    assert "ENTREPOT_PARTITIONS" in message
    assert f"--entity-name {lost.name} --add-config retention.ms=-1" in message
    rows = await describe_topics(kafka, topics)
    assert [row.exists for row in rows] == [True, True] + [False] * (len(topics) - 2), "a refusal creates nothing"


async def test_what_the_cluster_refuses_is_said_in_its_own_words(kafka: str, topics: tuple[Topic, ...]) -> None:
    with pytest.raises(TopicRefused, match=rf"{topics[0].name}: InvalidReplicationFactor.*Unable to replicate"):
        await ensure_topics(kafka, topics, partitions=1, replication_factor=3)


async def test_a_cluster_that_does_not_answer_is_named(topics: tuple[Topic, ...]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ClusterUnreachable, match=f"{address}: .*ENTREPOT_BOOTSTRAP_SERVERS"):
            await describe_topics(address, topics)
