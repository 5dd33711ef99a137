"""The consumer of a memory cluster, with and without a group."""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from aiokafka import TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalOperation,
    IllegalStateError,
    KafkaConnectionError,
    KafkaTimeoutError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import OffsetAndTimestamp

from app.kafka.clients import Isolation
from app.kafka.memory.broker import MemoryBroker
from app.kafka.memory.group import MemoryGroup
from app.kafka.memory.log import MemoryRecord

UNLIMITED_RECORDS = 2**31


class MemoryConsumer:
    """Reads straight from the logs: nothing is prefetched."""

    def __init__(
        self,
        broker: MemoryBroker,
        topics: Iterable[str] = (),
        isolation: Isolation = "read_committed",
        group: str | None = None,
        instance_id: str | None = None,
    ) -> None:
        self.topics = frozenset(topics)
        self.member_id = instance_id or str(uuid4())
        self.is_static = instance_id is not None
        self.is_stopped = False
        self._is_started = False
        self._broker = broker
        self._isolation = isolation
        self._group: MemoryGroup | None = None if group is None else broker.groups[group]
        self._listener: Any = None
        self._is_member = False
        self._is_fenced = False
        self._is_reassigning = False
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._highwater: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Connect; assign all partitions of the topics."""
        if not self._broker.available:
            raise KafkaConnectionError("the memory cluster is unavailable")
        for topic in self.topics:
            if not self._broker.partitions_of(topic):
                raise UnknownTopicOrPartitionError(topic)
        self._is_started = True
        self._broker.connections += 1
        self._assign(partition for topic in self.topics for partition in self._broker.partitions_of(topic))

    async def stop(self) -> None:
        """Disconnect, and leave the group."""
        self._broker.connections -= self._is_started and not self.is_stopped
        self.is_stopped = True
        if self._group is not None and self._is_member:
            self._group.leave(self)
        self._broker.notify()

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these partitions, from the group's offsets or the beginning."""
        if self._is_member:
            raise IllegalStateError("the consumer is subscribed")
        self._assign(partitions)

    def subscribe(self, topics: Iterable[str], *, listener: Any) -> None:
        """Join the group."""
        if self._group is None:
            raise IllegalOperation("the consumer has no group")
        self.topics, self._listener = frozenset(topics), listener
        self._is_member = self._is_reassigning = True
        self._group.join(self)

    def unsubscribe(self) -> None:
        """Read nothing."""
        self._assign(())

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that are read."""
        return frozenset(self._positions)

    def pause(self, *partitions: TopicPartition) -> None:
        """Return no records of these partitions."""
        self._paused |= self._assigned(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        """Return records of paused partitions again."""
        self._paused -= self._assigned(partitions)
        self._broker.notify()

    def paused(self) -> frozenset[TopicPartition]:
        """Return the paused partitions."""
        return frozenset(self._paused)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue at an offset."""
        self._assigned([partition])
        self._positions[partition] = offset
        self._broker.notify()

    async def position(self, partition: TopicPartition) -> int:
        """Return the next offset to read."""
        self._assigned([partition])
        return self._positions[partition]

    def highwater(self, partition: TopicPartition) -> int | None:
        """Return the end offset as of the last read."""
        return self._highwater.get(partition)

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, list[Any]]:
        """Return records; wait for the first of them, and for the end of a rebalance however long it takes."""
        if max_records is not None and max_records < 1:
            raise ValueError("max_records must be positive")
        await asyncio.sleep(0)
        now = asyncio.get_running_loop().time
        until = now() + timeout_ms / 1000
        while True:
            while self._is_reassigning and not self.is_stopped:
                await self._broker.changed()
            if self.is_stopped:
                raise ConsumerStoppedError
            assert self._is_started, "the consumer is not started"
            polled = self._read(partitions, max_records or UNLIMITED_RECORDS)
            if polled or now() >= until:
                return polled
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._broker.changed()

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the first offset of each partition."""
        self._check_available()
        return {partition: self._broker.log(partition).begin for partition in partitions}

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the end of each partition."""
        self._check_available()
        return {partition: self._broker.log(partition).end_for(self._isolation) for partition in partitions}

    async def offsets_for_times(self, timestamps: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, Any]:
        """Return the first record at or after a time; None where there is none."""
        self._check_available()
        records = {partition: self._broker.log(partition).first_at(time) for partition, time in timestamps.items()}
        return {
            partition: record and OffsetAndTimestamp(record.offset, record.timestamp)
            for partition, record in records.items()
        }

    async def committed(self, partition: TopicPartition) -> int | None:
        """Return the group's committed offset, as soon as the cluster is available."""
        assert self._is_started, "the consumer is not started"
        await self._broker.until_available()
        if self._group is None:
            raise IllegalOperation("the consumer has no group")
        return self._group.offsets.get(partition)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit the group's offsets, as soon as the cluster is available."""
        assert self._is_started, "the consumer is not started"
        await self._broker.until_available()
        if self._group is None:
            raise IllegalOperation("the consumer has no group")
        self._assigned(offsets)
        if self._is_fenced:
            raise CommitFailedError
        self._group.offsets |= offsets

    async def revoke(self) -> None:
        """Begin a rebalance: the listener stops using the partitions."""
        self._is_reassigning = True
        await self._listener.on_partitions_revoked(set(self._positions))

    async def accept(self, partitions: Iterable[TopicPartition]) -> None:
        """End a rebalance. Reading starts before the listener has called `seek`, as with aiokafka."""
        self._assign(partitions)
        self._is_reassigning = False
        self._broker.notify()
        await self._listener.on_partitions_assigned(set(self._positions))

    def fence(self) -> None:
        """Lose the membership to another consumer with the same instance id."""
        self._is_fenced = True
        self._is_member = False

    def _check_available(self) -> None:
        assert self._is_started, "the consumer is not started"
        if not self._broker.available:
            raise KafkaTimeoutError("the memory cluster is unavailable")

    def _assign(self, partitions: Iterable[TopicPartition]) -> None:
        committed = {} if self._group is None else self._group.offsets
        self._positions = {
            partition: committed.get(partition, self._broker.log(partition).begin) for partition in partitions
        }
        self._paused = set()

    def _assigned(self, partitions: Iterable[TopicPartition]) -> set[TopicPartition]:
        for partition in partitions:
            if partition not in self._positions:
                raise IllegalStateError(f"{partition} is not assigned")
        return set(partitions)

    def _read(self, partitions: Sequence[TopicPartition], max_records: int) -> dict[TopicPartition, list[MemoryRecord]]:
        polled: dict[TopicPartition, list[MemoryRecord]] = {}
        for partition in self._positions if self._broker.available else ():
            if partition in self._paused or (partitions and partition not in partitions):
                continue
            log = self._broker.log(partition)
            start = self._positions[partition]
            if not log.begin <= start <= log.end:
                start = log.begin  # retention has deleted the next record, or the log was truncated
            records, self._positions[partition] = log.read(start, self._isolation, max_records)
            self._highwater[partition] = log.end
            if records:
                polled[partition] = records
                max_records -= len(records)
            if not max_records:
                break
        return polled
