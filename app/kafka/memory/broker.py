"""The state that all clients of a memory cluster share: logs, transactions, groups, and whether it is reachable."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Literal

from aiokafka import TopicPartition
from aiokafka.errors import IllegalOperation, ProducerFenced, UnknownTopicOrPartitionError

from app.kafka.memory.group import MemoryGroup
from app.kafka.memory.log import PartitionLog, Transaction


class MemoryBroker:
    """One broker; `clock` returns milliseconds since 1970 UTC."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.connections = 0  # clients that are started and not stopped
        self.topics: dict[str, list[PartitionLog]] = {}
        self.groups: dict[str, MemoryGroup] = defaultdict(lambda: MemoryGroup(self.partitions_of, self.notify))
        self._producers: dict[str, TransactionalSession] = {}
        self._available = True
        self._withheld_acks: list[Callable[[], None]] | None = None
        self._changed = asyncio.Event()

    @property
    def available(self) -> bool:
        """Whether requests are answered."""
        return self._available

    @available.setter
    def available(self, available: bool) -> None:
        self._available = available
        self.notify()

    async def until_available(self) -> None:
        """Wait for the end of an outage."""
        while not self._available:
            await self.changed()

    def notify(self) -> None:
        """Wake the clients that wait for a change."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()

    def partitions_of(self, topic: str) -> list[TopicPartition]:
        """Return the partitions of a topic; none when it does not exist."""
        return [TopicPartition(topic, log.partition) for log in self.topics.get(topic, ())]

    def log(self, partition: TopicPartition) -> PartitionLog:
        """Return the log of a partition."""
        number: int = partition.partition
        logs = self.topics.get(partition.topic, [])
        if not 0 <= number < len(logs):
            raise UnknownTopicOrPartitionError(str(partition))
        return logs[number]

    def logs(self) -> Iterator[PartitionLog]:
        """Yield all logs."""
        for logs in self.topics.values():
            yield from logs

    def acknowledge(self, ack: Callable[[], None]) -> None:
        """Ack a record soon, or once acks are no longer withheld."""
        if self._withheld_acks is None:
            asyncio.get_running_loop().call_soon(ack)
        else:
            self._withheld_acks.append(ack)

    def withhold_acks(self) -> None:
        """Write records without acking them, until `release_acks`."""
        self._withheld_acks = []

    def release_acks(self) -> None:
        """Ack the records that are written."""
        acks, self._withheld_acks = self._withheld_acks or [], None
        for ack in acks:
            ack()

    def init_producer(self, transactional_id: str) -> "TransactionalSession":
        """Fence the producer that had the id before, and abort its open transaction."""
        before = self._producers.get(transactional_id)
        if before is not None:
            before.fence()
        session = self._producers[transactional_id] = TransactionalSession(self.logs, self.notify)
        return session


class TransactionalSession:
    """The broker's state of a transactional producer: its transaction, and whether it is fenced."""

    def __init__(self, logs: Callable[[], Iterator[PartitionLog]], notify: Callable[[], None]) -> None:
        self._logs = logs
        self._notify = notify
        self._is_fenced = False
        self._transaction: Transaction | None = None

    def begin(self) -> None:
        """Begin a transaction."""
        if self._transaction is not None:
            raise IllegalOperation("the last transaction has not ended")
        self._transaction = Transaction()

    def open_transaction(self) -> Transaction:
        """Return the transaction.

        Raises:
            ProducerFenced: another producer has the id.
            IllegalOperation: no transaction has begun.

        """
        if self._is_fenced:
            raise ProducerFenced
        if self._transaction is None:
            raise IllegalOperation("no transaction has begun")
        return self._transaction

    def end(self, status: Literal["committed", "aborted"]) -> None:
        """End the transaction."""
        transaction, self._transaction = self.open_transaction(), None
        transaction.status = status
        for log in self._logs():
            log.end_transaction(transaction)
        self._notify()

    def fence(self) -> None:
        """Abort the transaction, and refuse everything from now on."""
        if self._transaction is not None:
            self.end("aborted")
        self._is_fenced = True
