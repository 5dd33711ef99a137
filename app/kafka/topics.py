"""Makes the declared topics exist, refuses those that differ, and describes them. Alters and deletes nothing.

Topics on a cluster belong to whoever runs it: what is there and differs is a person's decision, never ours.
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
from app.retries import retry
from schemas.topics import Topic

TIMEOUT_SECONDS: Final = 30.0
REQUEST_MS: Final = 10_000


class TopicsError(Exception):
    """The topics are not as they have to be; the message says what to do."""


class ClusterUnreachable(TopicsError):
    """No Kafka answers: check that the cluster runs, and ENTREPOT_BOOTSTRAP_SERVERS when it is an outside one."""


class TopicsNotReady(TopicsError):
    """The cluster did not finish creating the topics in time: look at its log, then start again."""


class TopicRefused(TopicsError):
    """The cluster refuses to create a topic: create it as declared, or change what the cluster's message names."""


class TopicMismatch(TopicsError):
    """Topics exist that are not as declared; nothing was changed."""

    def __init__(self, differences: Sequence["TopicDifference"]) -> None:
        super().__init__("\n".join([str(TopicMismatch.__doc__), *(f"- {each}" for each in differences)]))
        self.differences = tuple(differences)


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """One setting of one topic that is not as declared."""

    topic: str
    setting: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, expected {self.expected}. {self.advice}"

    @property
    def advice(self) -> str:
        """What a person can do."""
        if self.setting == "partitions":
            return "It is fixed once data exists: start with the ENTREPOT_PARTITIONS that the data was written with."
        change = f"--entity-type topics --entity-name {self.topic} --add-config {self.setting}={self.expected}"
        return f"Change it on the cluster: kafka-configs --alter {change}"


@dataclass(frozen=True, slots=True)
class Offsets:
    """Of one partition: the first record kept, and one behind the last (transaction markers occupy offsets too)."""

    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One declared topic as it was found; a missing one has no partitions."""

    topic: Topic
    partitions: int = 0
    leaderless: int = 0  # partitions that can't be written or read now
    replicas: int = 0  # of the partition that has the fewest
    config: Mapping[str, str] | None = None  # what is declared, as it was found
    offsets: tuple[Offsets, ...] = ()

    @property
    def exists(self) -> bool:
        """Whether the cluster has it."""
        return self.partitions > 0

    def differences(self, partitions: int) -> tuple[TopicDifference, ...]:
        """Every setting that is not as declared; none for a missing topic."""
        if not self.exists:
            return ()
        found = {"partitions": str(self.partitions), **(self.config or {})}
        declared = {"partitions": str(partitions), **self.topic.config()}
        return tuple(
            TopicDifference(self.topic.name, setting, found.get(setting, "unknown"), expected)
            for setting, expected in declared.items()
            if found.get(setting) != expected
        )


async def ensure_topics(
    bootstrap_servers: str, topics: Iterable[Topic], partitions: int, replication_factor: int
) -> None:
    """Create what is missing and verify what exists; return once every partition has a leader.

    Raises `TopicMismatch`, `TopicRefused`, or after 30 seconds `TopicsNotReady` or `ClusterUnreachable`.
    """
    declared = tuple(topics)

    async def ensure() -> None:
        if not await _ensured(bootstrap_servers, declared, partitions, replication_factor):
            raise TopicsNotReady(TopicsNotReady.__doc__)

    await retry(ensure, (ClusterUnreachable, TopicsNotReady), give_up_after=TIMEOUT_SECONDS)


async def describe_topics(bootstrap_servers: str, topics: Iterable[Topic]) -> tuple[TopicRow, ...]:
    """Each declared topic as it is now, offsets included; raises `ClusterUnreachable`."""
    async with _connected(bootstrap_servers) as admin:
        rows = await _find(admin, tuple(topics))
        try:
            return await _with_offsets(bootstrap_servers, rows)
        except KafkaError as error:
            raise _unreachable(bootstrap_servers, error) from error


async def _ensured(bootstrap_servers: str, topics: tuple[Topic, ...], partitions: int, replication_factor: int) -> bool:
    async with _connected(bootstrap_servers) as admin:
        rows = await _find(admin, topics)
        if wrong := [each for row in rows for each in row.differences(partitions)]:
            raise TopicMismatch(wrong)
        if missing := [row.topic for row in rows if not row.exists]:
            await _create(admin, missing, partitions, replication_factor)
            return False  # look again: the broker hears of new topics a moment after its controller
        return not any(row.leaderless for row in rows)


async def _create(admin: Any, topics: Sequence[Topic], partitions: int, replication_factor: int) -> None:
    """Ask for the topics; one that another process made meanwhile is fine: it is verified like any other."""
    asked = [NewTopic(each.name, partitions, replication_factor, topic_configs=each.config()) for each in topics]
    answer = await admin.create_topics(asked, timeout_ms=REQUEST_MS)
    for name, code, message in answer.topic_errors:
        if code in (0, TopicAlreadyExistsError.errno):
            continue
        kind = for_code(code)
        said = f"{name}: {kind.__name__}: {message or kind.description}"
        raise (TopicsNotReady if kind.retriable else TopicRefused)(
            f"{said}. {(TopicsNotReady if kind.retriable else TopicRefused).__doc__}"
        )


async def _find(admin: Any, topics: tuple[Topic, ...]) -> tuple[TopicRow, ...]:
    # All topics are asked for: a cluster that creates on demand would create the missing ones when asked by name.
    there = {each["topic"]: each["partitions"] for each in await admin.describe_topics() if each["error_code"] == 0}
    configs = await _configs(admin, [each for each in topics if each.name in there])
    return tuple(_row(each, there.get(each.name, []), configs.get(each.name, {})) for each in topics)


def _row(topic: Topic, partitions: Sequence[Mapping[str, Any]], config: Mapping[str, str]) -> TopicRow:
    return TopicRow(
        topic,
        partitions=len(partitions),
        leaderless=sum(each["leader"] < 0 for each in partitions),
        replicas=min((len(each["replicas"]) for each in partitions), default=0),
        config=config,
    )


async def _configs(admin: Any, topics: Sequence[Topic]) -> dict[str, dict[str, str]]:
    """What the declared settings of existing topics are now."""
    if not topics:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, each.name, each.config()) for each in topics]
    found = {}
    for answer in await admin.describe_configs(asked):
        for code, message, _, name, entries in answer.resources:
            if code:
                raise TopicsNotReady(f"{name}: {message or for_code(code).__name__}. {TopicsNotReady.__doc__}")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


async def _with_offsets(bootstrap_servers: str, rows: tuple[TopicRow, ...]) -> tuple[TopicRow, ...]:
    parts = {row.topic.name: [TopicPartition(row.topic.name, each) for each in range(row.partitions)] for row in rows}
    every = [each for several in parts.values() for each in several]
    if not every:
        return rows
    cluster = KafkaCluster(bootstrap_servers)
    async with started(cluster.consumer(isolation="read_uncommitted", request_timeout_ms=REQUEST_MS)) as consumer:
        begin, end = await asyncio.gather(consumer.beginning_offsets(every), consumer.end_offsets(every))
    return tuple(
        replace(row, offsets=tuple(Offsets(begin[each], end[each]) for each in parts[row.topic.name])) for row in rows
    )


@asynccontextmanager
async def _connected(bootstrap_servers: str) -> AsyncIterator[Any]:
    """An admin client; what goes wrong on the way to the cluster becomes `ClusterUnreachable`."""
    admin = KafkaCluster(bootstrap_servers).admin(REQUEST_MS)
    try:
        await admin.start()
        yield admin
    except KafkaError as error:
        raise _unreachable(bootstrap_servers, error) from error
    finally:
        await admin.close()


def _unreachable(bootstrap_servers: str, error: KafkaError) -> ClusterUnreachable:
    return ClusterUnreachable(f"{bootstrap_servers}: {type(error).__name__}. {ClusterUnreachable.__doc__}")
