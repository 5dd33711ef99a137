"""Writes small uploads: concurrent ones share requests, and every replica acks them.

A transaction would cost 30 ms. After a failure, `missing` reads the log instead, to find the records to repeat.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.kafka.clients import Cluster, Producer
from app.kafka.partition_reader import PartitionReader, end_offset
from app.kafka.producer_record import ProducerRecord, send
from app.kafka.reconnecting_producer import ReconnectingProducer
from schemas.messages import MessageBatch
from schemas.wire.codec import decode

SEND_TIMEOUT_SECONDS: Final = 10.0
LINGER_MS: Final = 5


class NotSentError(Exception):
    """Kafka is not reachable yet; nothing was written."""


class NotConfirmedError(Exception):
    """Kafka did not confirm in time: it is unknown whether the records are written."""


class IngestProducer:
    """The producer of small uploads; it connects in the background."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._producer = ReconnectingProducer("messages", self._make)
        self._written: dict[tuple[str, int], int] = {}  # the latest offset written, by topic and partition

    def _make(self) -> Producer:
        timeout_ms = int(SEND_TIMEOUT_SECONDS * 1000)
        return self._cluster.producer(compression="zstd", linger_ms=LINGER_MS, request_timeout_ms=timeout_ms)

    def start(self) -> None:
        """Connect in the background."""
        self._producer.start()

    async def stop(self) -> None:
        """Send queued records and disconnect."""
        await self._producer.stop()

    async def write(self, records: Sequence[ProducerRecord]) -> None:
        """Write records, and return once every replica has them.

        Raises:
            NotSentError: no broker is connected yet.
            NotConfirmedError: it is unknown whether they are written.

        """
        producer = self._producer.ready
        if producer is None:
            raise NotSentError(NotSentError.__doc__)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_SECONDS):
                for metadata in await send(producer, records):
                    self._written[metadata.topic, metadata.partition] = metadata.offset
        except (KafkaError, TimeoutError) as error:
            raise NotConfirmedError(NotConfirmedError.__doc__) from error

    async def offset_before(self, topic: str, partition: int) -> int:
        """Return a recent offset that is not after any record written from now on.

        Raises:
            NotSentError: no broker is reachable.

        """
        offset = self._written.get((topic, partition))
        if offset is None:
            try:
                offset = await end_offset(self._cluster, TopicPartition(topic, partition))
            except (KafkaError, OSError) as error:
                raise NotSentError(NotSentError.__doc__) from error
            self._written[topic, partition] = offset
        return offset

    async def missing(self, records: Sequence[ProducerRecord], start: int) -> list[ProducerRecord]:
        """Return the records of one upload that are not in their partition, at or after offset `start`."""
        keys = {record.key for record in records}
        written: set[tuple[str, int]] = set()
        for topic, partition in {(record.topic, record.partition) for record in records}:
            assert partition is not None
            async with PartitionReader(self._cluster, topic, partition, start) as log:
                async for entry in log.records():
                    if entry.key in keys:
                        written.add(_identity(entry.value))
        return [record for record in records if _identity(record.value or b"") not in written]


def _identity(value: bytes) -> tuple[str, int]:
    batch = decode(value)
    assert isinstance(batch, MessageBatch)
    return batch.batch_id, batch.first
