"""Reading a partition to its end, whoever else is writing there."""

import asyncio
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

from app.kafka.clients import KafkaCluster
from app.kafka.partition_reader import PartitionReader
from tests.integration.conftest import MakeTopic


async def values(kafka: str, topic: str, start: int | datetime = 0) -> list[bytes]:
    async with PartitionReader(KafkaCluster(kafka), topic, 0, start) as log:
        return [each.value async for each in log.records()]


async def test_what_was_committed_behind_an_open_transaction_is_read_too(kafka: str, make_topic: MakeTopic) -> None:
    topic = await make_topic("behind-open")
    dead = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id="dead", transaction_timeout_ms=2_000)
    async with (
        dead,
        AIOKafkaProducer(bootstrap_servers=kafka, transactional_id="alive") as alive,
    ):
        await dead.begin_transaction()
        await dead.send_and_wait(topic, b"never committed", partition=0)
        async with alive.transaction():
            await alive.send_and_wait(topic, b"committed", partition=0)
        reading = asyncio.create_task(values(kafka, topic))
        await asyncio.wait({reading}, timeout=0.5)
        assert not reading.done(), "it can't know yet what comes first"
        await dead.abort_transaction()
        assert await reading == [b"committed"]


async def test_it_begins_at_an_offset_at_a_moment_or_so_many_before_the_end(kafka: str, make_topic: MakeTopic) -> None:
    topic = await make_topic("where-to-begin")
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for second in range(5):
            await producer.send_and_wait(topic, b"%d" % second, partition=0, timestamp_ms=1_000_000 + 1000 * second)
    assert await values(kafka, topic, 3) == [b"3", b"4"]
    assert await values(kafka, topic, -1) == [b"4"]
    assert await values(kafka, topic, -99) == [b"0", b"1", b"2", b"3", b"4"]
    assert await values(kafka, topic, datetime.fromtimestamp(1003, UTC)) == [b"3", b"4"]
    assert await values(kafka, topic, datetime.fromtimestamp(9999, UTC)) == []
