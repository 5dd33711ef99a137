"""Create missing topics, refuse those that differ from their declaration, and describe them.

Nothing is altered or deleted: on a cluster with other users that is a person's decision.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from app.kafka.clients import KafkaCluster, started
from app.kafka.retries import retry
from schemas.topics import Topic

TIMEOUT_SECONDS: Final = 30.0
REQUEST_TIMEOUT_MS: Final = 10_000


class TopicsError(Exception):
    """The topics can't be used. The message says what to do."""


class ClusterUnreachable(TopicsError):
    """Kafka is unreachable or refuses clients: check that it runs, ENTREPOT_BOOTSTRAP_SERVERS and ENTREPOT_KAFKA_…."""


class TopicsNotReady(TopicsError):
    """The cluster did not create the topics in time: check its log, then start again."""


class TopicRefused(TopicsError):
    """The cluster refuses to create a topic: create it as declared, or fix the cause that the cluster names."""


class TopicMismatch(TopicsError):
    """Topics differ from their declaration; nothing was changed."""

    def __init__(self, differences: Sequence["TopicDifference"]) -> None:
        super().__init__("\n".join([str(TopicMismatch.__doc__), *(f"- {difference}" for difference in differences)]))
        self.differences = tuple(differences)


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """One setting of one topic that differs from its declaration."""

    topic: str
    setting: str
    actual: str
    expected: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.actual}, expected {self.expected}. {self.advice}"

    @property
    def advice(self) -> str:
        """How to fix it."""
        if self.setting == "partitions":
            return "It is fixed once data exists: set ENTREPOT_PARTITIONS to the value that the data was written with."
        change = f"--entity-type topics --entity-name {self.topic} --add-config {self.setting}={self.expected}"
        return f"Change it on the cluster: kafka-configs --alter {change}"


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """The first retained offset of a partition, and the next one to be written. Transaction markers have offsets."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One declared topic as the cluster describes it; a missing one has no partitions."""

    topic: Topic
    partitions: int = 0
    leaderless: int = 0  # partitions that can't be written or read now
    replicas: int = 0  # of the partition that has the fewest
    config: Mapping[str, str] | None = None  # the declared settings, as the cluster has them
    offsets: tuple[PartitionOffsets, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether the cluster has it."""
        return self.partitions > 0

    def differences(self, partitions: int) -> tuple[TopicDifference, ...]:
        """Return the settings that differ from the declaration; none for a missing topic."""
        if not self.exists:
            return ()
        actual = {"partitions": str(self.partitions), **(self.config or {})}
        declared = {"partitions": str(partitions), **self.topic.config()}
        return tuple(
            TopicDifference(self.topic.name, setting, actual.get(setting, "unknown"), expected)
            for setting, expected in declared.items()
            if actual.get(setting) != expected
        )


async def ensure_topics(
    cluster: KafkaCluster, topics: Iterable[Topic], partitions: int, replication_factor: int
) -> None:
    """Create missing topics and verify the others; return once every partition has a leader.

    Raises `TopicMismatch`, `TopicRefused`, or after 30 seconds `TopicsNotReady` or `ClusterUnreachable`.
    """
    declared = tuple(topics)

    async def ensure() -> None:
        if not await _ensured(cluster, declared, partitions, replication_factor):
            raise TopicsNotReady(TopicsNotReady.__doc__)

    await retry(ensure, (ClusterUnreachable, TopicsNotReady), give_up_after=TIMEOUT_SECONDS)


async def describe_topics(cluster: KafkaCluster, topics: Iterable[Topic]) -> tuple[TopicRow, ...]:
    """Return each declared topic as it is now, with offsets; raises `ClusterUnreachable`."""
    async with _connected(cluster) as admin:
        rows = await _find(admin, tuple(topics))
        try:
            return await _with_offsets(cluster, rows)
        except KafkaError as error:
            raise await _unreachable(cluster, error) from error


async def _ensured(cluster: KafkaCluster, topics: tuple[Topic, ...], partitions: int, replication_factor: int) -> bool:
    async with _connected(cluster) as admin:
        rows = await _find(admin, topics)
        if differences := [difference for row in rows for difference in row.differences(partitions)]:
            raise TopicMismatch(differences)
        if missing := [row.topic for row in rows if not row.exists]:
            await _create(admin, missing, partitions, replication_factor)
            return False  # check again: the broker learns of new topics a moment after its controller
        return not any(row.leaderless for row in rows)


async def _create(admin: Any, topics: Sequence[Topic], partitions: int, replication_factor: int) -> None:
    """Create topics; one that another process has created meanwhile is verified like any other."""
    requested = [NewTopic(topic.name, partitions, replication_factor, topic_configs=topic.config()) for topic in topics]
    response = await admin.create_topics(requested, timeout_ms=REQUEST_TIMEOUT_MS)
    for name, code, message in response.topic_errors:
        if code in (0, TopicAlreadyExistsError.errno):
            continue
        cause = for_code(code)
        error = TopicsNotReady if cause.retriable else TopicRefused
        raise error(f"{name}: {cause.__name__}: {message or cause.description}. {error.__doc__}")


async def _find(admin: Any, topics: tuple[Topic, ...]) -> tuple[TopicRow, ...]:
    # All topics are described: a cluster that creates on demand would create missing ones that are named.
    described = await admin.describe_topics()
    existing = {topic["topic"]: topic["partitions"] for topic in described if topic["error_code"] == 0}
    configs = await _configs(admin, [topic for topic in topics if topic.name in existing])
    return tuple(_row(topic, existing.get(topic.name, []), configs.get(topic.name, {})) for topic in topics)


def _row(topic: Topic, partitions: Sequence[Mapping[str, Any]], config: Mapping[str, str]) -> TopicRow:
    return TopicRow(
        topic,
        partitions=len(partitions),
        leaderless=sum(partition["leader"] < 0 for partition in partitions),
        replicas=min((len(partition["replicas"]) for partition in partitions), default=0),
        config=config,
    )


async def _configs(admin: Any, topics: Sequence[Topic]) -> dict[str, dict[str, str]]:
    """Return the declared settings of existing topics, as the cluster has them."""
    if not topics:
        return {}
    requested = [ConfigResource(ConfigResourceType.TOPIC, topic.name, topic.config()) for topic in topics]
    configs = {}
    for response in await admin.describe_configs(requested):
        for code, message, _, name, entries in response.resources:
            if code:
                raise TopicsNotReady(f"{name}: {message or for_code(code).__name__}. {TopicsNotReady.__doc__}")
            configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs


async def _with_offsets(cluster: KafkaCluster, rows: tuple[TopicRow, ...]) -> tuple[TopicRow, ...]:
    by_topic = {row.topic.name: [TopicPartition(row.topic.name, n) for n in range(row.partitions)] for row in rows}
    partitions = [partition for partitions in by_topic.values() for partition in partitions]
    if not partitions:
        return rows
    async with started(
        cluster.consumer(isolation="read_uncommitted", request_timeout_ms=REQUEST_TIMEOUT_MS)
    ) as consumer:
        begin, end = await asyncio.gather(consumer.beginning_offsets(partitions), consumer.end_offsets(partitions))
    offsets = {partition: PartitionOffsets(begin[partition], end[partition]) for partition in partitions}
    return tuple(replace(row, offsets=tuple(map(offsets.__getitem__, by_topic[row.topic.name]))) for row in rows)


@asynccontextmanager
async def _connected(cluster: KafkaCluster) -> AsyncIterator[Any]:
    """Yield an admin client; raise `ClusterUnreachable` for Kafka errors."""
    admin = cluster.admin(REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        yield admin
    except KafkaError as error:
        raise await _unreachable(cluster, error) from error
    finally:
        await admin.close()


async def _unreachable(cluster: KafkaCluster, error: KafkaError) -> ClusterUnreachable:
    reason = await cluster.refusal(REQUEST_TIMEOUT_MS / 1000) or type(error).__name__
    return ClusterUnreachable(f"{cluster.bootstrap_servers}: {reason}. {ClusterUnreachable.__doc__}")
