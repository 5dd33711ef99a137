"""Small uploads: what is known of their records after a failure."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from app.api.services.idempotent_writer import (
    CLAIM_TIMEOUT,
    CLEANUP_INTERVAL,
    IdempotentWriter,
    InProgressError,
    ReusedKeyError,
)
from app.api.services.ingest_producer import IngestProducer, NotConfirmedError, NotSentError
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from app.store.idempotency import RETENTION, IdempotencyRecord
from app.store.read_store import ReadStore
from schemas.messages import MessageBatch
from schemas.wire.codec import encode

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
TOPIC = "messages.realtime"


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster({TOPIC: 2})


@pytest.fixture
async def producer(cluster: MemoryCluster) -> AsyncIterator[IngestProducer]:
    producer = IngestProducer(cluster)
    producer.start()
    await connected(producer)
    yield producer
    await producer.stop()
    assert cluster.connections == 0


async def connected(producer: IngestProducer) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                return await producer.write([])
            except NotSentError:
                await asyncio.sleep(0.01)


def record(first: int, upload: str = "upload", partition: int = 0) -> ProducerRecord:
    """One record of an upload; `first` is the index of its first message."""
    batch = MessageBatch(
        batch_id=f"{upload}/0", stream="people", source="", job_id=upload, run=0, ingested_at=NOON, first=first,
        count=1, payload=b"{}\n",
    )  # fmt: skip
    return ProducerRecord(TOPIC, encode(batch), key=upload.encode(), partition=partition)


async def test_nothing_is_sent_before_a_broker_is_connected(cluster: MemoryCluster) -> None:
    cluster.set_available(available=False)
    producer = IngestProducer(cluster)
    producer.start()
    try:
        await asyncio.sleep(0)
        with pytest.raises(NotSentError):
            await producer.write([record(0)])
        with pytest.raises(NotSentError):
            await producer.offset_before(TOPIC, 0)
        cluster.set_available(available=True)
        await connected(producer)
        await producer.write([record(0)])
        assert len(cluster.records(TOPIC)) == 1
    finally:
        await producer.stop()
    assert cluster.connections == 0


async def test_a_record_without_an_ack_is_not_confirmed(cluster: MemoryCluster, producer: IngestProducer) -> None:
    cluster.set_available(available=False)
    with pytest.raises(NotConfirmedError):
        await producer.write([record(0)])


async def test_the_offset_is_before_all_later_records(cluster: MemoryCluster, producer: IngestProducer) -> None:
    await producer.write([record(0), record(1), record(0, partition=1)])
    assert await producer.offset_before(TOPIC, 0) == 1
    assert await producer.offset_before(TOPIC, 1) == 0
    other = IngestProducer(cluster)
    assert await other.offset_before(TOPIC, 0) == 2
    await producer.write([record(2)])
    assert await other.offset_before(TOPIC, 0) == 2, "the cluster is asked once"


async def test_missing_records_are_found_in_the_log(cluster: MemoryCluster, producer: IngestProducer) -> None:
    await producer.write([record(0), record(1, "other"), record(2), record(3, partition=1)])
    upload = [record(0), record(1), record(2), record(3, partition=1), record(4, partition=1)]
    assert await producer.missing(upload, 0) == [upload[1], upload[4]]
    assert await producer.missing(upload[:3], 1) == [upload[0], upload[1]], "offsets before the start are not read"
    assert await producer.missing([], 0) == []


# Idempotency keys


def claim(digest: bytes = b"digest", at: datetime = NOON) -> IdempotencyRecord:
    return IdempotencyRecord(upload_id="upload", digest=digest, claimed_at=at, next_offset=0, answer=b"answer")


@pytest.fixture
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ReadStore]:
    opened = await ReadStore.open(f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('store') / 'views.db'}")
    yield opened
    await opened.close()


async def test_a_repeated_request_is_written_once(
    cluster: MemoryCluster, producer: IngestProducer, store: ReadStore
) -> None:
    writer = IdempotentWriter(store, producer, lambda: NOON)
    first = claim()
    assert await writer.write(first, [record(0)], [record(1)]) is first
    repeated = claim()
    answered = await writer.write(repeated, [record(0)], [record(1)])
    assert answered is not repeated
    assert answered.answer == b"answer"
    with pytest.raises(ReusedKeyError):
        await writer.write(claim(b"another"), [record(0)], [])
    assert len(cluster.records(TOPIC)) == 2


async def test_an_abandoned_request_is_completed(
    cluster: MemoryCluster, producer: IngestProducer, store: ReadStore
) -> None:
    """Its server was killed after it had written a part of the records."""
    await store.requests.claim(claim())
    await producer.write([record(0)])
    writer = IdempotentWriter(store, producer, lambda: NOON + CLAIM_TIMEOUT)
    await writer.write(claim(at=NOON + CLAIM_TIMEOUT), [record(0), record(1)], [record(9)])
    assert [entry.value for entry in cluster.records(TOPIC)] == [record(0).value, record(1).value]


async def test_a_request_in_progress_is_waited_for(
    cluster: MemoryCluster, producer: IngestProducer, store: ReadStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.services.idempotent_writer.WAIT_TIMEOUT_SECONDS", 0.0)
    await store.requests.claim(claim())
    writer = IdempotentWriter(store, producer, lambda: NOON + CLAIM_TIMEOUT / 2)
    with pytest.raises(InProgressError):
        await writer.write(claim(), [record(0)], [])
    assert cluster.records(TOPIC) == []


async def test_a_request_that_was_not_sent_can_be_repeated(cluster: MemoryCluster, store: ReadStore) -> None:
    unconnected = IngestProducer(cluster)
    with pytest.raises(NotSentError):
        await IdempotentWriter(store, unconnected, lambda: NOON).write(claim(), [record(0)], [])
    assert await store.requests.claim(again := claim()) is again


async def test_an_unconfirmed_request_can_be_repeated_at_once(
    cluster: MemoryCluster, producer: IngestProducer, store: ReadStore
) -> None:
    writer = IdempotentWriter(store, producer, lambda: NOON)
    cluster.set_available(available=False)
    with pytest.raises(NotConfirmedError):
        await writer.write(claim(), [record(0)], [])
    cluster.set_available(available=True)
    await writer.write(claim(), [record(0)], [])
    assert len(cluster.records(TOPIC)) == 1


async def test_expired_requests_are_removed_once_an_hour(producer: IngestProducer, store: ReadStore) -> None:
    now = NOON
    writer = IdempotentWriter(store, producer, lambda: now)
    await store.requests.claim(replace(claim(), upload_id="old", claimed_at=NOON - RETENTION - CLEANUP_INTERVAL))
    await store.requests.claim(replace(claim(), upload_id="aging", claimed_at=NOON - RETENTION))
    await writer.write(claim(), [record(0)], [])
    assert await is_stored(store, "aging")
    assert not await is_stored(store, "old")
    now += CLEANUP_INTERVAL / 2
    await writer.write(claim(), [record(0)], [])
    assert await is_stored(store, "aging")
    now += CLEANUP_INTERVAL / 2
    await writer.write(claim(), [record(0)], [])
    assert not await is_stored(store, "aging")


async def is_stored(store: ReadStore, upload_id: str) -> bool:
    probe = replace(claim(b"probe"), upload_id=upload_id)
    if await store.requests.claim(probe) is not probe:
        return True
    await store.requests.discard(upload_id)
    return False
