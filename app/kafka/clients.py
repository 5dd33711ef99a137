"""The port to Kafka: the only module that creates consumers, producers and admin clients.

`KafkaCluster` connects to a broker; `app.kafka.memory` is its twin in memory, for tests. Both pass the same contract
tests.
"""

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import BrokerResponseError, KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from app.settings import SaslMechanism, SecurityProtocol
from schemas.topics import MAX_RECORD_BYTES

SESSION_TIMEOUT_MS: Final = 10_000
HEARTBEAT_INTERVAL_MS: Final = 3_000
BATCH_BYTES: Final = 1024 * 1024
METADATA_MAX_AGE_MS: Final = 60_000

Isolation = Literal["read_committed", "read_uncommitted"]
BatchCompression = Literal["zstd"]  # not lz4: aiokafka uses its slowest level, which has a tenth of the speed


class Client(Protocol):
    """A consumer or producer, with a connection from `start` to `stop`."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect and release all resources; also of a client whose start failed."""


class Consumer(Client, Protocol):
    """The part of aiokafka's consumer that is used here."""

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read exactly these partitions, independently of a group."""

    def subscribe(self, topics: Iterable[str], *, listener: Any) -> None:
        """Join the group, which assigns partitions of the topics; `listener` is called at rebalances."""

    def unsubscribe(self) -> None:
        """Read no partitions."""

    def assignment(self) -> AbstractSet[TopicPartition]:
        """Return the assigned partitions, including paused ones."""

    def pause(self, *partitions: TopicPartition) -> None:
        """Fetch nothing of these partitions."""

    def resume(self, *partitions: TopicPartition) -> None:
        """Fetch paused partitions again."""

    def paused(self) -> AbstractSet[TopicPartition]:
        """Return the paused partitions."""

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue a partition at an offset."""

    async def position(self, partition: TopicPartition) -> int:
        """Return the offset of the next record to read; transaction markers that were read are skipped."""

    def highwater(self, partition: TopicPartition) -> int | None:
        """Return the end offset that the last fetch reported; None before the first fetch."""

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, list[Any]]:
        """Return fetched records of the partitions, by default of all; wait up to `timeout_ms` for the first."""

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the first offset that each partition still has."""

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the end offset of each partition; with `read_committed`, that of the first open transaction."""

    async def offsets_for_times(self, timestamps: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, Any]:
        """Return the first offset and its time at or after a time in milliseconds since 1970; None if there is none."""

    async def committed(self, partition: TopicPartition) -> int | None:
        """Return the group's committed offset; None if there is none."""

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit the group's offsets."""


class Producer(Client, Protocol):
    """The part of aiokafka's producer that is used here."""

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
        """Add a record to the next batch; the future is done once the broker has acked the record."""

    async def begin_transaction(self) -> None:
        """Begin a transaction."""

    async def commit_transaction(self) -> None:
        """Commit the transaction."""

    async def abort_transaction(self) -> None:
        """Abort the transaction."""


class Cluster(Protocol):
    """Creates clients of one cluster. The caller starts and stops them."""

    def consumer(
        self,
        *topics: str,
        isolation: Isolation,
        partition_bytes: int = 1024 * 1024,
        fetch_bytes: int = 50 * 1024 * 1024,
        fetch_wait_ms: int = 500,
        request_timeout_ms: int = 40_000,
    ) -> Consumer:
        """Return a consumer without a group. It is assigned all partitions of `topics` when it starts."""

    def group_consumer(self, group: str, instance_id: str | None = None) -> Consumer:
        """Return a consumer of committed records that can join a group, and read and commit its offsets."""

    def producer(self, *, compression: BatchCompression | None, linger_ms: int, request_timeout_ms: int) -> Producer:
        """Return an idempotent producer whose records are acked by every replica."""

    def transactional_producer(self, transactional_id: str, timeout_ms: int) -> Producer:
        """Return a transactional producer. Its start fences any other producer with this id."""


@dataclass(frozen=True, slots=True)
class Security:
    """How clients encrypt their connections and authenticate. Without a CA file, the system's CAs are trusted."""

    protocol: SecurityProtocol = "PLAINTEXT"
    mechanism: SaslMechanism = "PLAIN"
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None

    @property
    def has_sasl(self) -> bool:
        """Whether clients authenticate with a user and a password."""
        return self.protocol.startswith("SASL_")

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return a context that verifies the servers; None without encryption."""
        return ssl.create_default_context(cafile=self.ca_file) if self.protocol.endswith("SSL") else None


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """The cluster at `bootstrap_servers`, through aiokafka.

    If retention has deleted the next record, consumers continue with the first one that is left.
    """

    bootstrap_servers: str
    security: Security = Security()

    def connection(self) -> dict[str, Any]:
        """Return the arguments of an aiokafka client that locate the cluster and authenticate."""
        security = self.security
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": security.protocol,
            "ssl_context": security.ssl_context(),
        }
        if security.has_sasl:
            arguments |= {
                "sasl_mechanism": security.mechanism,
                "sasl_plain_username": security.user,
                "sasl_plain_password": security.password,
            }
        return arguments

    def consumer(
        self,
        *topics: str,
        isolation: Isolation,
        partition_bytes: int = 1024 * 1024,
        fetch_bytes: int = 50 * 1024 * 1024,
        fetch_wait_ms: int = 500,
        request_timeout_ms: int = 40_000,
    ) -> Consumer:
        """Return a consumer without a group."""
        consumer: Consumer = AIOKafkaConsumer(
            *topics,
            **self.connection(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level=isolation,
            max_partition_fetch_bytes=partition_bytes,
            fetch_max_bytes=fetch_bytes,
            fetch_max_wait_ms=fetch_wait_ms,
            request_timeout_ms=request_timeout_ms,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
        )
        return consumer

    def group_consumer(self, group: str, instance_id: str | None = None) -> Consumer:
        """Return a consumer of committed records with a group."""
        consumer: Consumer = AIOKafkaConsumer(
            **self.connection(),
            group_id=group,
            group_instance_id=instance_id,
            partition_assignment_strategy=(RangePartitionAssignor,),  # the same numbers of every topic
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=MAX_RECORD_BYTES,
        )
        return consumer

    def producer(self, *, compression: BatchCompression | None, linger_ms: int, request_timeout_ms: int) -> Producer:
        """Return an idempotent producer whose records are acked by every replica."""
        producer: Producer = AIOKafkaProducer(
            **self.connection(),
            acks="all",
            enable_idempotence=True,
            compression_type=compression,
            linger_ms=linger_ms,
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_RECORD_BYTES,
            request_timeout_ms=request_timeout_ms,
        )
        return producer

    def transactional_producer(self, transactional_id: str, timeout_ms: int) -> Producer:
        """Return a transactional producer."""
        producer: Producer = AIOKafkaProducer(
            **self.connection(),
            transactional_id=transactional_id,
            transaction_timeout_ms=timeout_ms,
            compression_type="zstd",
            max_request_size=MAX_RECORD_BYTES,
            request_timeout_ms=timeout_ms,
        )
        return producer

    def admin(self, request_timeout_ms: int) -> Any:
        """Return an admin client. It has no twin: topics and groups are managed by a real cluster only."""
        return AIOKafkaAdminClient(**self.connection(), request_timeout_ms=request_timeout_ms)

    async def refusal(self, timeout_seconds: float) -> str:
        """Return why no server accepts a connection of this client; empty if one does."""
        arguments = self.connection()
        reason = ""
        for host, port, _ in collect_hosts(arguments.pop("bootstrap_servers")):
            try:
                connection = await create_conn(host, port, request_timeout_ms=int(timeout_seconds * 1000), **arguments)
                try:
                    await connection.send(MetadataRequest([]))  # closes the connection if the server requires SASL
                finally:
                    connection.close()
            except (KafkaError, OSError, UnicodeError) as error:
                reason = describe_refusal(error)
            else:
                return ""
        return reason


def describe_refusal(error: Exception) -> str:
    """Describe why a server refused a connection. The client's own messages have class names and memory addresses."""
    match error:
        case TimeoutError():
            return "timed out"
        case KafkaConnectionError():
            return "the server closed the connection: it may require other ENTREPOT_KAFKA_… settings"
        case BrokerResponseError():
            message = error.args[0] if error.args else None
            return (message if isinstance(message, str) else error.description).rstrip(".")
        case ssl.SSLError():
            return f"TLS: {error.reason}"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number)
    return str(error) or type(error).__name__


# aiokafka warns at every connection with SASL_PLAINTEXT: the embedded broker is on loopback, else it is a setting.
logging.getLogger("aiokafka.conn").addFilter(lambda record: "in the clear" not in str(record.msg))

C = TypeVar("C", bound=Client)


@asynccontextmanager
async def started(client: C) -> AsyncIterator[C]:
    """Start a client, and stop it at the end, even if its start failed."""
    try:
        await client.start()
        yield client
    finally:
        await client.stop()
