"""The group consumer with aiokafka's fetcher; the contract of the port tests the rest."""

import asyncio
import statistics
import time
from collections.abc import Mapping

from aiokafka import AIOKafkaProducer, TopicPartition

from app.kafka.clients import KafkaCluster
from app.kafka.group_consumer import GroupConsumer
from tests.integration.conftest import MakeTopic


async def ignore(_numbers: frozenset[int]) -> None:
    pass


async def test_background_records_do_not_delay_urgent_ones(kafka: KafkaCluster, make_topic: MakeTopic) -> None:
    urgent = TopicPartition(await make_topic("urgent"), 0)
    background = TopicPartition(await make_topic("background"), 0)

    async def on_assigned(_numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        return {urgent: 0, background: 100}

    consumer = GroupConsumer(
        kafka,
        [urgent.topic, background.topic],
        "urgent-and-background",
        "urgent-and-background-1",
        on_assigned=on_assigned,
        on_revoked=ignore,
        background=[background.topic],
    )
    delays: list[float] = []
    values: list[bytes] = []
    async with AIOKafkaProducer(**kafka.connection()) as producer, consumer.running(), asyncio.timeout(60):
        await asyncio.gather(*[await producer.send(background.topic, b"%d" % n, partition=0) for n in range(300)])
        while len(values) < 200:
            async with consumer.guarded():
                polled = await consumer.read(urgent, background, wait_ms=100, max_records=50)
                values += [record.value for record in polled.get(background, ())]
        for number in range(300, 330):
            async with consumer.guarded():
                await producer.send_and_wait(background.topic, b"%d" % number, partition=0)
                assert not await consumer.read(urgent, wait_ms=20), "this read prefetches the background record"
                started = time.monotonic()
                await producer.send_and_wait(urgent.topic, b"now", partition=0)
                while not await consumer.read(urgent, wait_ms=1_000):
                    pass
                delays.append(time.monotonic() - started)
                values += [record.value for record in (await consumer.read(background, wait_ms=1_000))[background]]
    assert values == [b"%d" % number for number in range(100, 330)], "every record, from the start offset"
    assert statistics.median(delays) < 0.05, "a read of both topics would wait for 0.1 s"
