"""Group commit: concurrent submissions share a transaction; after a failure nothing more is accepted."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import MessageSizeTooLargeError

from app.kafka.clients import started
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord, send
from app.kafka.transactions import MAX_GROUP_BYTES, FencedError, GroupCommit, UnknownOutcomeError
from schemas.topics import MAX_RECORD_BYTES

HALF = MAX_GROUP_BYTES // 2


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    cluster = MemoryCluster({"topic": 1})
    yield cluster
    assert cluster.connections == 0


def record(size: int = 1) -> ProducerRecord:
    return ProducerRecord("topic", bytes(size), partition=0)


def offsets(cluster: MemoryCluster) -> list[int]:
    """Return the offsets of committed records; each transaction's marker leaves a gap."""
    return [committed.offset for committed in cluster.records("topic")]


async def test_concurrent_submissions_share_a_transaction(cluster: MemoryCluster) -> None:
    async with GroupCommit(cluster, "writer") as writer:
        await asyncio.gather(writer.submit([record()]), writer.submit([record(), record()]))
        assert offsets(cluster) == [0, 1, 2]
        await writer.submit([record()])
        await writer.submit([record()])
    assert offsets(cluster) == [0, 1, 2, 4, 6]


async def test_a_full_group_leaves_the_rest_to_the_next_transaction(cluster: MemoryCluster) -> None:
    async with GroupCommit(cluster, "writer") as writer:
        await asyncio.gather(*(writer.submit([record(size)]) for size in (HALF, HALF, 1, 1)))
    assert offsets(cluster) == [0, 1, 3, 4], "the marker of the first transaction is at offset 2"


async def test_a_submission_is_never_split(cluster: MemoryCluster) -> None:
    async with GroupCommit(cluster, "writer") as writer:
        await writer.submit([record(HALF), record(HALF), record(HALF)])
    assert offsets(cluster) == [0, 1, 2]


async def test_a_submission_is_done_once_it_is_committed(cluster: MemoryCluster) -> None:
    async with GroupCommit(cluster, "writer") as writer:
        cluster.withhold_acks()
        done = writer.submit([record()])
        await asyncio.wait([done], timeout=0.01)
        assert not done.done()
        assert offsets(cluster) == []
        cluster.release_acks()
        await done
        assert offsets(cluster) == [0]


async def test_a_cancelled_submitter_does_not_affect_the_others(cluster: MemoryCluster) -> None:
    async with GroupCommit(cluster, "writer") as writer:
        cancelled, other = writer.submit([record()]), writer.submit([record()])
        cancelled.cancel()
        await other
        writer.check()


async def test_after_an_unknown_outcome_nothing_is_accepted(cluster: MemoryCluster) -> None:
    async with GroupCommit(cluster, "writer") as writer:
        cluster.set_available(available=False)
        failures = await asyncio.gather(
            writer.submit([record()]), writer.submit([record(MAX_GROUP_BYTES)]), writer.submit([record()]),
            return_exceptions=True,
        )  # fmt: skip
        assert [type(failure) for failure in failures] == [UnknownOutcomeError] * 3, "also of those in the queue"
        cluster.set_available(available=True)
        with pytest.raises(UnknownOutcomeError):
            writer.check()
        with pytest.raises(UnknownOutcomeError):
            await writer.submit([record()])
    assert offsets(cluster) == []


async def test_a_fenced_writer_accepts_nothing(cluster: MemoryCluster) -> None:
    async with GroupCommit(cluster, "writer") as before, GroupCommit(cluster, "writer") as after:
        with pytest.raises(FencedError):
            await before.submit([record()])
        with pytest.raises(FencedError):
            await before.submit([record()])
        await after.submit([record()])
        after.check()
    assert offsets(cluster) == [0]


async def test_a_failure_that_no_submitter_awaits_is_not_logged_as_lost(cluster: MemoryCluster) -> None:
    lost = list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: lost.append(context))
    async with GroupCommit(cluster, "writer") as before, GroupCommit(cluster, "writer"):
        abandoned = before.submit([record()])
        await asyncio.wait([abandoned])
        del abandoned
    del before
    gc.collect()
    assert lost == []


async def test_acks_that_failed_before_a_refused_record_are_not_logged_as_lost(cluster: MemoryCluster) -> None:
    lost = list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: lost.append(context))
    before, after = (cluster.transactional_producer("writer", 1_000) for _ in range(2))
    async with started(before):
        await before.begin_transaction()
        async with started(after):
            with pytest.raises(MessageSizeTooLargeError):
                await send(before, [record(), record(MAX_RECORD_BYTES + 1)])
    await asyncio.sleep(0)
    gc.collect()
    assert lost == []


async def test_a_closed_writer_fails_its_submissions(cluster: MemoryCluster) -> None:
    async with GroupCommit(cluster, "writer") as writer:
        cluster.withhold_acks()
        sent = writer.submit([record()])
        await asyncio.wait([sent], timeout=0.01)
        queued = writer.submit([record()])
    failures = await asyncio.gather(sent, queued, writer.submit([record()]), return_exceptions=True)
    assert [type(failure) for failure in failures] == [UnknownOutcomeError] * 3
    async with GroupCommit(cluster, "writer"):
        pass
    async with started(cluster.consumer(isolation="read_committed")) as consumer:
        end = TopicPartition("topic", 0)
        assert await consumer.end_offsets([end]) == {end: 2}, "the successor aborts the open transaction"
    assert offsets(cluster) == []
