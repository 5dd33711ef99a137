"""Reads the committed records of one partition, up to the end that it has at the moment of opening. Joins no group."""

import time
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from typing import Final, NamedTuple, Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from app.kafka.clients import Cluster, started
from app.process import Monotonic

POLL_MS: Final = 200
STALL_TIMEOUT_SECONDS: Final = 60.0


class LogRecord(NamedTuple):
    """One record; an empty value for a tombstone."""

    offset: int
    key: bytes | None
    value: bytes


class PartitionReader:
    """The committed records of one partition at or after `start`. Use it as an async context manager.

    `start` is an offset, counted from the end when it is negative; or a time, compared with the records' timestamps.
    Transactions that are open at the moment of opening are waited for: committed records may follow theirs.
    Failures are `KafkaError` or `OSError`.
    """

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        partition: int,
        start: int | datetime = 0,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self.end = 0  # the offset that reading stops before
        self._cluster = cluster
        self._start = start
        self._monotonic = monotonic
        self._first = 0
        self._partition = TopicPartition(topic, partition)
        self._consumer = cluster.consumer(isolation="read_committed")

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
            self._consumer.assign([self._partition])
            self.end = await end_offset(self._cluster, self._partition)
            self._first = await self._resolve(self._start)
        except BaseException:
            await self._consumer.stop()
            raise
        self._consumer.seek(self._partition, self._first)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._consumer.stop()

    async def _resolve(self, start: int | datetime) -> int:
        if isinstance(start, datetime):
            offsets = await self._consumer.offsets_for_times({self._partition: int(start.timestamp() * 1000)})
            return offsets[self._partition].offset if offsets[self._partition] else self.end
        if start >= 0:
            return start
        beginning = (await self._consumer.beginning_offsets([self._partition]))[self._partition]
        return max(beginning, self.end + start)

    async def records(self) -> AsyncIterator[LogRecord]:
        """Yield the records in order.

        Raises:
            KafkaTimeoutError: nothing arrived for a minute: the broker is unreachable, or the log was truncated.

        """
        now = self._monotonic
        reached, moved_at = self._first, now()
        while (position := await self._consumer.position(self._partition)) < self.end:
            if position > reached:
                reached, moved_at = position, now()
            elif now() - moved_at > STALL_TIMEOUT_SECONDS:
                raise KafkaTimeoutError(f"{self._partition} returns nothing after offset {reached}, up to {self.end}")
            polled = await self._consumer.getmany(self._partition, timeout_ms=POLL_MS)
            for record in polled.get(self._partition, ()):
                if record.offset < self.end:
                    yield LogRecord(record.offset, record.key, record.value or b"")
                    moved_at = now()


async def end_offset(cluster: Cluster, partition: TopicPartition) -> int:
    """Return the offset after the last record of a partition, committed or not.

    For a consumer of committed records the end is before the first transaction that is still open.
    """
    async with started(cluster.consumer(isolation="read_uncommitted")) as consumer:
        return (await consumer.end_offsets([partition]))[partition]


async def committed_offsets(cluster: Cluster, group: str, topic: str, numbers: Iterable[int]) -> list[int]:
    """Return the offset that a consumer group has committed for each of the partitions; 0 where there is none."""
    partitions = [TopicPartition(topic, number) for number in numbers]
    async with started(cluster.group_consumer(group)) as consumer:
        consumer.assign(partitions)  # joins no group
        return [await consumer.committed(partition) or 0 for partition in partitions]
