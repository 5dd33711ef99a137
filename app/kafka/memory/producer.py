"""The producer of a memory cluster."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

from aiokafka import TopicPartition
from aiokafka.errors import (
    InvalidTimestampError,
    KafkaConnectionError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    ProducerFenced,
)
from aiokafka.partitioner import murmur2
from aiokafka.structs import RecordMetadata

from app.kafka.memory.broker import MemoryBroker, TransactionalSession
from app.kafka.memory.log import Transaction
from schemas.topics import FUTURE_BOUND_MS, MAX_RECORD_BYTES


class MemoryProducer:
    """Appends each record at once and acks it a moment later. While the cluster is unavailable, records time out."""

    def __init__(self, broker: MemoryBroker, transactional_id: str | None = None) -> None:
        self._broker = broker
        self._transactional_id = transactional_id
        self._session: TransactionalSession | None = None
        self._is_started = False

    async def start(self) -> None:
        """Connect; a transactional producer fences the one that had its id before."""
        if not self._broker.available:
            raise KafkaConnectionError("the memory cluster is unavailable")
        self._is_started = True
        self._broker.connections += 1
        if self._transactional_id is not None:
            self._session = self._broker.init_producer(self._transactional_id)

    async def stop(self) -> None:
        """Disconnect; an open transaction stays open, as the broker's."""
        self._broker.connections -= self._is_started
        self._is_started = False

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes]] | None = None,
        timestamp_ms: int | None = None,
    ) -> "asyncio.Future[Any]":
        """Append a record; the future is done once it is acked."""
        assert self._is_started, "the producer is not started"
        if len(key or b"") + len(value or b"") > MAX_RECORD_BYTES:
            raise MessageSizeTooLargeError
        partition = self._partition_for(topic, key) if partition is None else partition
        log = self._broker.log(TopicPartition(topic, partition))
        acked: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            transaction = self._transaction()
        except (KafkaTimeoutError, ProducerFenced) as error:
            self._broker.acknowledge(partial(_fail, acked, error))
            return acked
        timestamp = self._broker.clock() if timestamp_ms is None else timestamp_ms
        if timestamp > self._broker.clock() + FUTURE_BOUND_MS:
            self._broker.acknowledge(partial(_fail, acked, InvalidTimestampError()))
            return acked
        record = log.append(timestamp, key, value, headers or (), transaction)
        source = TopicPartition(topic, partition)
        metadata = RecordMetadata(topic, partition, source, record.offset, timestamp, 0, log.begin)
        self._broker.acknowledge(partial(_succeed, acked, metadata))
        self._broker.notify()
        return acked

    async def begin_transaction(self) -> None:
        """Begin a transaction."""
        assert self._session is not None, "the producer is not transactional, or not started"
        self._session.begin()

    async def commit_transaction(self) -> None:
        """Commit the transaction, as soon as the cluster is available."""
        await self._end_transaction("committed")

    async def abort_transaction(self) -> None:
        """Abort the transaction, as soon as the cluster is available."""
        await self._end_transaction("aborted")

    async def _end_transaction(self, status: Literal["committed", "aborted"]) -> None:
        assert self._session is not None, "the producer is not transactional, or not started"
        await self._broker.until_available()
        self._session.end(status)

    def _transaction(self) -> Transaction | None:
        if not self._broker.available:
            raise KafkaTimeoutError("the memory cluster is unavailable")
        return None if self._session is None else self._session.open_transaction()

    def _partition_for(self, topic: str, key: bytes | None) -> int:
        """Return the partition of Kafka's default partitioner; without a key, the first."""
        count = len(self._broker.partitions_of(topic))
        return 0 if key is None or not count else (murmur2(key) & 0x7FFFFFFF) % count


def _succeed(acked: "asyncio.Future[Any]", metadata: RecordMetadata) -> None:
    if not acked.done():
        acked.set_result(metadata)


def _fail(acked: "asyncio.Future[Any]", error: Exception) -> None:
    if not acked.done():
        acked.set_exception(error)
