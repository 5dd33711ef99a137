"""The memory cluster: it makes clients, as `KafkaCluster` does, and lets a test switch what happens to them."""

import time
from collections.abc import Callable, Mapping

from aiokafka import TopicPartition

from app.kafka.clients import BatchCompression, Consumer, Isolation, Producer
from app.kafka.memory.broker import MemoryBroker
from app.kafka.memory.consumer import MemoryConsumer
from app.kafka.memory.log import MemoryRecord, PartitionLog
from app.kafka.memory.producer import MemoryProducer


class MemoryCluster:
    """A cluster with these topics and their partition counts. `clock` returns seconds since 1970 UTC."""

    def __init__(self, topics: Mapping[str, int] | None = None, clock: Callable[[], float] = time.time) -> None:
        self._broker = MemoryBroker(lambda: int(clock() * 1000))
        for name, partitions in (topics or {}).items():
            self.create_topic(name, partitions)

    def consumer(
        self,
        *topics: str,
        isolation: Isolation,
        partition_bytes: int = 0,
        fetch_bytes: int = 0,
        fetch_wait_ms: int = 0,
        request_timeout_ms: int = 0,
    ) -> Consumer:
        """Return a consumer without a group."""
        del partition_bytes, fetch_bytes, fetch_wait_ms, request_timeout_ms  # nothing is fetched in memory
        return MemoryConsumer(self._broker, topics, isolation)

    def group_consumer(self, group: str, instance_id: str | None = None) -> Consumer:
        """Return a consumer of committed records with a group."""
        return MemoryConsumer(self._broker, group=group, instance_id=instance_id)

    def producer(
        self,
        *,
        compression: BatchCompression | None,
        linger_ms: int,
        request_timeout_ms: int,
    ) -> Producer:
        """Return a producer."""
        del compression, linger_ms, request_timeout_ms  # records are appended at once
        return MemoryProducer(self._broker)

    def transactional_producer(self, transactional_id: str, timeout_ms: int) -> Producer:
        """Return a transactional producer."""
        del timeout_ms  # transactions do not time out here
        return MemoryProducer(self._broker, transactional_id)

    @property
    def connections(self) -> int:
        """How many clients are started and not stopped."""
        return self._broker.connections

    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic."""
        self._broker.topics[name] = [PartitionLog(name, number) for number in range(partitions)]
        self._broker.notify()

    def delete_records(self, partition: TopicPartition, before: int) -> None:
        """Delete the records before an offset, as retention does."""
        self._broker.log(partition).delete_before(before)

    def records(self, topic: str, partition: int = 0) -> list[MemoryRecord]:
        """Return the committed records of a partition."""
        log = self._broker.log(TopicPartition(topic, partition))
        return log.read(log.begin, "read_committed", log.end + 1)[0]

    def offsets(self, group: str) -> Mapping[TopicPartition, int]:
        """Return the committed offsets of a group."""
        return dict(self._broker.groups[group].offsets)

    def set_available(self, *, available: bool) -> None:
        """Begin or end an outage: connections fail, records time out, and consumers get nothing."""
        self._broker.available = available

    def withhold_acks(self) -> None:
        """Write records without acking them, until `release_acks`."""
        self._broker.withhold_acks()

    def release_acks(self) -> None:
        """Ack all written records."""
        self._broker.release_acks()

    def expire_sessions(self) -> None:
        """Remove stopped static members from their groups."""
        for group in self._broker.groups.values():
            group.expire_sessions()
