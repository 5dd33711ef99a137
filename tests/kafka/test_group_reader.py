"""A reader that stands where the log was cut off goes on with what is left of it."""

import asyncio
from collections.abc import Mapping

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from app.group_reader import GroupReader
from tests.kafka.conftest import MakeTopic


async def test_what_is_left_is_read_where_the_position_is_gone(kafka: str, make_topic: MakeTopic) -> None:
    where = TopicPartition(await make_topic("cut-off"), 0)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for number in range(10):
            await producer.send_and_wait(where.topic, b"%d" % number, partition=0)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    await admin.delete_records({where: RecordsToDelete(before_offset=5)})
    await admin.close()

    async def assigned(_numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        return {where: 2}

    async def revoked(_numbers: frozenset[int]) -> None:
        pass

    reader = GroupReader(kafka, [where.topic], "cut-off", "cut-off-1", assigned=assigned, revoked=revoked)
    found: list[bytes] = []
    async with reader.running(), asyncio.timeout(30):
        while len(found) < 5:
            async with reader.turn():
                polled = await reader.read(wait_ms=200)
                found += [each.value for each in polled.get(where, ())]
    assert found == [b"5", b"6", b"7", b"8", b"9"]
