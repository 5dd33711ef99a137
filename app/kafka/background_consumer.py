"""Reads low-priority topics on a connection of its own, from the partitions that a group consumer was assigned.

aiokafka fetches nothing new from a broker for up to 100 ms while fetched records wait to be read. Topics that are read
only when the others have nothing are therefore fetched separately.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import TopicPartition

from app.kafka.clients import Cluster
from schemas.topics import MAX_RECORD_BYTES

FETCH_BYTES: Final = 2 * 1024 * 1024  # of all partitions together, or one record: decompressing more delays others


class BackgroundConsumer:
    """Reads nothing of a partition until `seek` says where to start."""

    def __init__(self, cluster: Cluster, topics: Iterable[str]) -> None:
        self.topics = frozenset(topics)
        self._consumer = cluster.consumer(
            isolation="read_committed", partition_bytes=MAX_RECORD_BYTES, fetch_bytes=FETCH_BYTES
        )

    async def start(self) -> None:
        """Connect, if there are topics."""
        if self.topics:
            await self._consumer.start()

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    def assign(self, numbers: Iterable[int]) -> None:
        """Read these partitions of all topics, and no others; each needs a new `seek`."""
        partitions = [TopicPartition(topic, number) for number in numbers for topic in self.topics]
        if partitions:
            self._consumer.assign(partitions)
            self._consumer.pause(*partitions)
        else:
            self._consumer.unsubscribe()

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read a partition from an offset."""
        self._consumer.seek(partition, offset)
        self._consumer.resume(partition)

    async def read(
        self, partitions: Sequence[TopicPartition], wait_ms: int, max_records: int | None
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return what was fetched; wait for the first records."""
        return await self._consumer.getmany(*partitions, timeout_ms=wait_ms, max_records=max_records)
