"""Reads one partition of a topic as it is committed, to the end there is at the moment of opening. Joins no group."""

from collections.abc import AsyncIterator
from typing import Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

POLL_MS: Final = 200


class LogReader:
    """The committed records of one partition at or behind `start`. Use it as an async context manager."""

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

    async def records(self) -> AsyncIterator[tuple[int, bytes]]:
        """Yield (offset, value), in order; an empty value for a tombstone."""
        while await self._consumer.position(self._where) < self.end:
            polled = await self._consumer.getmany(self._where, timeout_ms=POLL_MS)
            for record in polled.get(self._where, ()):
                if record.offset < self.end:
                    yield record.offset, record.value or b""
