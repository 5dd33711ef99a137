"""Small uploads on their way: records written at once and acked by every replica, concurrent ones in shared requests.

There is no transaction, which would cost thirty milliseconds: what may be there already is looked for instead.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.kafka.clients import Cluster, Producer
from app.kafka.partition_reader import PartitionReader, end_offset
from app.kafka.producer_record import ProducerRecord, send
from app.kafka.reconnecting_producer import ReconnectingProducer
from schemas.messages import MessageBatch
from schemas.wire.codec import decode

SEND_SECONDS: Final = 10.0
LINGER_MS: Final = 5


class NotSentError(Exception):
    """Kafka is not reachable yet; nothing was written."""


class NotConfirmedError(Exception):
    """Kafka did not confirm in time: it is not known whether the records are there."""


class IngestProducer:
    """The producer of small uploads."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._producer = ReconnectingProducer("messages", self._make)
        self._reached: dict[tuple[str, int], int] = {}  # an offset that was written, by topic and partition

    def _make(self) -> Producer:
        timeout_ms = int(SEND_SECONDS * 1000)
        return self._cluster.producer(compression="zstd", linger_ms=LINGER_MS, request_timeout_ms=timeout_ms)

    def start(self) -> None:
        """Begin to connect."""
        self._producer.start()

    async def stop(self) -> None:
        """Send what is queued and disconnect."""
        await self._producer.stop()

    async def write(self, records: Sequence[ProducerRecord]) -> None:
        """Write records, and return when every replica has them.

        Raises:
            NotSentError: no broker was reached yet.
            NotConfirmedError: it is not known whether they are there.

        """
        producer = self._producer.ready
        if producer is None:
            raise NotSentError(NotSentError.__doc__)
        try:
            async with asyncio.timeout(SEND_SECONDS):
                for written in await send(producer, records):
                    self._reached[written.topic, written.partition] = written.offset
        except (KafkaError, TimeoutError) as error:
            raise NotConfirmedError(NotConfirmedError.__doc__) from error

    async def place(self, topic: str, partition: int) -> int:
        """Return an offset that lies before all that is written from now on, and not long before.

        Raises:
            NotSentError: no broker can be asked.

        """
        known = self._reached.get((topic, partition))
        if known is None:
            try:
                known = await end_offset(self._cluster, TopicPartition(topic, partition))
            except (KafkaError, OSError) as error:
                raise NotSentError(NotSentError.__doc__) from error
            self._reached[topic, partition] = known
        return known

    async def lacking(self, records: Iterable[ProducerRecord], start: int) -> list[ProducerRecord]:
        """Return those of the records of one upload that are not in their partition, at or behind `start`."""
        wanted = tuple(records)
        there: set[tuple[str, int]] = set()
        for topic, partition in {(each.topic, each.partition) for each in wanted}:
            assert partition is not None
            keys = {each.key for each in wanted}
            async with PartitionReader(self._cluster, topic, partition, start) as log:
                async for record in log.records():
                    if record.key in keys:
                        there.add(_identity(record.value))
        return [each for each in wanted if _identity(each.value or b"") not in there]


def _identity(value: bytes) -> tuple[str, int]:
    word = decode(value)
    assert isinstance(word, MessageBatch)
    return word.batch_id, word.first
