"""Reads topics that can wait, on a connection of its own, from partitions that somebody else's group has given.

aiokafka fetches nothing new from a broker for up to 100 ms while something that it has fetched waits to be taken. So
whoever takes from some topics only when others have nothing reads those with this.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import TopicPartition

from app.kafka.clients import Cluster
from schemas.topics import MAX_RECORD_BYTES

FETCH_BYTES: Final = 2 * 1024 * 1024  # of all partitions together, or one record: unpacking more would be felt


class BackgroundConsumer:
    """Reads nothing of a partition until it is told where to begin."""

    def __init__(self, cluster: Cluster, topics: Iterable[str]) -> None:
        self.topics = frozenset(topics)
        self._consumer = cluster.consumer(
            isolation="read_committed", partition_bytes=MAX_RECORD_BYTES, fetch_bytes=FETCH_BYTES
        )

    async def start(self) -> None:
        """Connect, if there is anything to read."""
        if self.topics:
            await self._consumer.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    def take_over(self, numbers: Iterable[int]) -> None:
        """Read from these partitions of all topics, and from no others; where from has to be told anew."""
        partitions = [TopicPartition(topic, number) for number in numbers for topic in self.topics]
        if partitions:
            self._consumer.assign(partitions)
            self._consumer.pause(*partitions)
        else:
            self._consumer.unsubscribe()

    def seek(self, where: TopicPartition, offset: int) -> None:
        """Read a partition from there."""
        self._consumer.seek(where, offset)
        self._consumer.resume(where)

    async def read(
        self, partitions: Sequence[TopicPartition], wait_ms: int, most: int | None
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return what has arrived, waiting for the first of it."""
        found: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(
            *partitions, timeout_ms=wait_ms, max_records=most
        )
        return found
