"""The tail: failures that end it, and those that it survives."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError

from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from app.kafka.tail import MAX_AGE_SECONDS, Tail


class Taker:
    """Keeps the values; `arrived` is set by each batch."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.arrived = asyncio.Event()

    def __call__(self, records: Sequence[Any]) -> None:
        self.values += [record.value for record in records]
        self.arrived.set()


async def produce(cluster: MemoryCluster, *values: bytes) -> None:
    async with BatchProducer(cluster) as producer:
        await producer.write(ProducerRecord("topic", value, partition=0) for value in values)


async def test_a_tail_connects_when_the_cluster_is_there_again() -> None:
    cluster, take = MemoryCluster({"topic": 1}), Taker()
    await produce(cluster, b"a")
    cluster.set_available(available=False)
    tail = Tail(cluster, "topic", take, start="beginning")
    tail.start()
    try:
        await asyncio.sleep(0)
        assert not tail.alive
        with pytest.raises(KafkaTimeoutError):
            await tail.caught_up(0.01)
        cluster.set_available(available=True)
        await tail.caught_up()
        assert tail.alive
        assert take.values == [b"a"]
    finally:
        await tail.stop()
    assert tail.complete
    assert not tail.alive


async def test_a_tail_is_complete_once_all_that_was_there_is_taken() -> None:
    cluster, take = MemoryCluster({"topic": 1}), Taker()
    await produce(cluster, *[b"x"] * 2_500)
    tail = Tail(cluster, "topic", take, start="beginning")
    tail.start()
    try:
        await take.arrived.wait()
        assert len(take.values) == 1_000, "other tasks have their turn in between"
        assert not tail.complete
        await tail.caught_up()
        assert len(take.values) == 2_500
    finally:
        await tail.stop()


async def test_a_restarted_tail_continues_where_it_was() -> None:
    cluster, take = MemoryCluster({"topic": 1}), Taker()
    await produce(cluster, b"a")
    tail = Tail(cluster, "topic", take, start="end")
    tail.start()
    await tail.caught_up()
    await tail.stop()
    await produce(cluster, b"b")
    tail.start()
    try:
        await take.arrived.wait()
        assert take.values == [b"b"]
        assert tail.positions == {0: 2}
    finally:
        await tail.stop()


async def test_the_age_is_counted_from_the_last_answer_about_the_end_of_the_topic() -> None:
    cluster, now = MemoryCluster({"topic": 1}), 100.0
    tail = Tail(cluster, "topic", Taker(), start="beginning", monotonic=lambda: now)
    assert tail.age == math.inf
    tail.start()
    try:
        await tail.caught_up()
        assert tail.age == 0
        cluster.set_available(available=False)
        now += MAX_AGE_SECONDS
        assert tail.alive
        now += 0.1
        assert tail.complete
        assert not tail.alive
    finally:
        await tail.stop()


async def test_an_error_of_the_taker_ends_the_tail(caplog: pytest.LogCaptureFixture) -> None:
    cluster = MemoryCluster({"topic": 1})
    await produce(cluster, b"a")

    def take(_records: Sequence[Any]) -> None:
        raise ZeroDivisionError

    tail = Tail(cluster, "topic", take, start="beginning")
    tail.start()
    with pytest.raises(ZeroDivisionError):
        await tail.caught_up()
    assert not tail.alive
    assert "topic is not followed any more" in caplog.messages
    await tail.stop()


async def test_a_tail_that_is_not_started_can_be_stopped() -> None:
    tail = Tail(MemoryCluster({"topic": 1}), "topic", Taker(), start="end")
    with pytest.raises(RuntimeError):
        await tail.caught_up()
    await tail.stop()
