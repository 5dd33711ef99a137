"""The most recent messages of a stream: how far back they are read, and in which order they come."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from app.lanes import recent_messages as module
from app.lanes.recent_messages import RecentMessages, recent_messages
from schemas.messages import MessageBatch
from schemas.wire.codec import encode

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
REALTIME, BACKFILL = "messages.realtime", "messages.backfill"


def single(number: int, minute: int = 0, stream: str = "people") -> ProducerRecord:
    """One message; its number is in its payload."""
    at = int((NOON + timedelta(minutes=minute)).timestamp() * 1000)
    return ProducerRecord(REALTIME, json.dumps({"n": number}).encode(), None, 0, (("stream", stream.encode()),), at)


def packed(count: int, minute: int = 0) -> ProducerRecord:
    batch = MessageBatch(
        batch_id="job/1", stream="people", source="", job_id="job", run=1,
        ingested_at=NOON + timedelta(minutes=minute), first=0, count=count,
        payload=b"".join(b'{"n":%d}\n' % number for number in range(count)),
    )  # fmt: skip
    return ProducerRecord(BACKFILL, encode(batch), None, 0, (("stream", b"people"),))


async def cluster_of(*records: ProducerRecord) -> MemoryCluster:
    cluster = MemoryCluster({REALTIME: 2, BACKFILL: 2})
    async with BatchProducer(cluster) as producer:
        await producer.write(records)
    return cluster


async def read(cluster: MemoryCluster, max_messages: int) -> RecentMessages:
    recent = await recent_messages(cluster, 2, "people", max_messages)
    assert cluster.connections == 0
    return recent


def numbers(recent: RecentMessages) -> list[Any]:
    return [json.loads(message.line)["n"] for message in recent.newest()]


async def test_the_newest_come_first_from_all_partitions_and_lanes() -> None:
    cluster = await cluster_of(single(1, 1), single(2, 3), packed(2, 2), packed(1, 4))
    recent = await read(cluster, 4)
    assert numbers(recent) == [0, 2, 1, 0]
    assert recent.newest()[0].message_id == "job/1/0"


async def test_no_more_is_read_than_needed() -> None:
    recent = await read(await cluster_of(*(single(number, number) for number in range(30))), 1)
    assert numbers(recent) == [29]
    assert recent.records == 1
    recent = await read(await cluster_of(*(single(number, number) for number in range(30))), 2)
    assert numbers(recent) == [29, 28]
    assert recent.records == 10, "each record is read once"


async def test_other_streams_and_invalid_records_are_skipped() -> None:
    invalid = ProducerRecord(REALTIME, b"\x00invalid", None, 0)
    records = [single(1), *(single(number, stream="others") for number in range(200)), invalid]
    recent = await read(await cluster_of(*records), 5)
    assert numbers(recent) == [1]
    assert recent.records == len(records)


async def test_messages_far_from_the_end_are_not_found() -> None:
    recent = await read(await cluster_of(single(1), *[single(2, stream="others")] * 1_000), 1)
    assert numbers(recent) == []
    assert recent.records == 1_000


async def test_messages_are_found_whatever_else_is_busy() -> None:
    others = [single(2, stream="others")] * 2_000
    cluster = await cluster_of(single(1, 1), *others, single(3, 3), *others)
    recent = await recent_messages(cluster, 2, "people", 5, {(REALTIME, 0): 2_001, (BACKFILL, 1): 77})
    assert numbers(recent) == [3], "the older one is too far from the last one"
    recent = await recent_messages(cluster, 2, "people", 5, {(REALTIME, 0): 0})
    assert numbers(recent) == [1]


async def test_deleted_records_are_not_waited_for() -> None:
    cluster = await cluster_of(*(single(number) for number in range(5)))
    cluster.delete_records(TopicPartition(REALTIME, 0), 3)
    assert (await read(cluster, 100)).records == 2


async def test_bytes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 1)
    assert (await read(await cluster_of(*(single(number) for number in range(50))), 100)).records == 1


async def test_an_unreachable_cluster_is_an_error() -> None:
    cluster = await cluster_of(single(1))
    cluster.set_available(available=False)
    with pytest.raises(KafkaConnectionError):
        await recent_messages(cluster, 2, "people", 1)
