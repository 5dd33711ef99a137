"""Reads one partition of a topic as it is committed, to the end there is at the moment of opening. Joins no group."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Final, NamedTuple, Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from app.kafka.clients import Cluster, started

POLL_MS: Final = 200
STALLED_SECONDS: Final = 60.0


class LogRecord(NamedTuple):
    """One record; an empty value for a tombstone."""

    offset: int
    key: bytes | None
    value: bytes


class PartitionReader:
    """The committed records of one partition at or behind `start`. Use it as an async context manager.

    `start` is an offset, from the end when it is negative; or a moment, compared with the records' times. Transactions
    that are open at the moment of opening are waited for: behind their records there can be committed ones.
    Whatever goes wrong is a `KafkaError` or an `OSError`.
    """

    def __init__(self, cluster: Cluster, topic: str, partition: int, start: int | datetime = 0) -> None:
        self.end = 0  # the offset that reading stops before
        self._cluster = cluster
        self._start = 0
        self._asked = start
        self._where = TopicPartition(topic, partition)
        self._consumer = cluster.consumer(isolation="read_committed")

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
            self._consumer.assign([self._where])
            self.end = await end_offset(self._cluster, self._where)
            self._start = await self._resolved(self._asked)
        except BaseException:
            await self._consumer.stop()
            raise
        self._consumer.seek(self._where, self._start)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._consumer.stop()

    async def _resolved(self, start: int | datetime) -> int:
        if isinstance(start, datetime):
            found = await self._consumer.offsets_for_times({self._where: int(start.timestamp() * 1000)})
            return found[self._where].offset if found[self._where] else self.end
        if start >= 0:
            return start
        first: int = (await self._consumer.beginning_offsets([self._where]))[self._where]
        return max(first, self.end + start)

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


async def end_offset(cluster: Cluster, where: TopicPartition) -> int:
    """Return the offset behind the last record of a partition, committed or not.

    What a consumer that reads committed records calls the end lies before the first transaction that is still open.
    """
    async with started(cluster.consumer(isolation="read_uncommitted")) as consumer:
        return (await consumer.end_offsets([where]))[where]


async def committed_offsets(cluster: Cluster, group: str, topic: str, partitions: Iterable[int]) -> list[int]:
    """Return the offset that a consumer group goes on from in each of the partitions; 0 where it has committed none."""
    places = [TopicPartition(topic, each) for each in partitions]
    async with started(cluster.group_consumer(group)) as consumer:
        consumer.assign(places)  # joins no group
        return [await consumer.committed(place) or 0 for place in places]
