"""Reads one partition of a topic as it is committed, to the end there is at the moment of opening. Joins no group."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

POLL_MS: Final = 200
STALLED_SECONDS: Final = 60.0


class LogRecord(NamedTuple):
    """One record; an empty value for a tombstone."""

    offset: int
    key: bytes | None
    value: bytes


class LogReader:
    """The committed records of one partition at or behind `start`. Use it as an async context manager.

    Whatever goes wrong is a `KafkaError` or an `OSError`.
    """

    def __init__(self, bootstrap_servers: str, topic: str, partition: int, start: int = 0) -> None:
        self.end = 0  # the offset that reading stops before
        self._start = start
        self._where = TopicPartition(topic, partition)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
        )

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
            self._consumer.assign([self._where])
            self.end = (await self._consumer.end_offsets([self._where]))[self._where]
        except BaseException:
            await self._consumer.stop()
            raise
        self._consumer.seek(self._where, self._start)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._consumer.stop()

    async def records(self) -> AsyncIterator[LogRecord]:
        """Yield the records in order.

        Raises:
            KafkaTimeoutError: nothing came for a minute: the broker is away, or the log was cut off meanwhile.

        """
        now = asyncio.get_running_loop().time
        reached, moved_at = self._start, now()
        while (position := await self._consumer.position(self._where)) < self.end:
            if position > reached:
                reached, moved_at = position, now()
            elif now() - moved_at > STALLED_SECONDS:
                raise KafkaTimeoutError(f"{self._where} gives nothing behind offset {reached}, up to {self.end}")
            polled = await self._consumer.getmany(self._where, timeout_ms=POLL_MS)
            for record in polled.get(self._where, ()):
                if record.offset < self.end:
                    yield LogRecord(record.offset, record.key, record.value or b"")
                    moved_at = now()


async def committed_offsets(bootstrap_servers: str, group: str, topic: str, partitions: Iterable[int]) -> list[int]:
    """Return the offset that a consumer group goes on from in each of the partitions; 0 where it has committed none."""
    places = [TopicPartition(topic, each) for each in partitions]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, group_id=group, enable_auto_commit=False)
    try:
        await consumer.start()
        consumer.assign(places)  # which makes nobody a member of the group
        return [await consumer.committed(each) or 0 for each in places]
    finally:
        await consumer.stop()
