"""Reads back what is committed in one partition, from an offset to the end there is now."""

from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

POLL_MS: Final = 200


async def read_tail(bootstrap_servers: str, topic: str, partition: int, start: int) -> list[tuple[int, bytes]]:
    """Return (offset, value) of all committed records at or behind `start`, in order."""
    where = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await consumer.start()
    try:
        consumer.assign([where])
        end = (await consumer.end_offsets([where]))[where]
        consumer.seek(where, start)
        found: list[tuple[int, bytes]] = []
        while await consumer.position(where) < end:
            records = await consumer.getmany(where, timeout_ms=POLL_MS)
            found += [(each.offset, each.value or b"") for each in records.get(where, ())]
        return found
    finally:
        await consumer.stop()
