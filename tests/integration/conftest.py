"""Real brokers: one shared by all tests, and fresh ones for tests that stop or kill theirs."""

import asyncio
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from app.kafka.clients import KafkaCluster
from app.kafka.patches import apply_all
from app.supervisor.broker.server import Broker

apply_all()  # as roles do: tests have clients, too

FreshBroker = Callable[[], Awaitable[Broker]]


class MakeTopic(Protocol):
    """Create a topic and return its name once all partitions have a leader."""

    async def __call__(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> str: ...


# A test's broker lives for seconds: the optimizing compiler and loading classes would take most of its processor time.
JVM_OPTIONS = "-XX:TieredStopAtLevel=1"
CLASSES = Path(__file__).parents[2] / ".pytest_cache" / "kafka-classes.jsa"


# Files that take a minute, longest first. They start first, so that no process is left with one at the end.
LONGEST = (
    "test_profile_recovery.py",
    "test_exactly_once.py",
    "test_up.py",
    "test_rebuild.py",
    "test_bad_messages.py",
    "test_rebuild_report.py",
    "test_profiles.py",
    "test_pages.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files by length; unit tests come last, because they can fill any gap."""
    first = {Path(__file__).with_name(name): place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


def pytest_configure(config: pytest.Config) -> None:
    """Have all brokers share an archive of loaded classes. Java ignores one of other jars or another Java."""
    if hasattr(config, "workerinput"):
        return  # inherits the environment
    if not CLASSES.exists():
        asyncio.run(archive_classes(CLASSES))
    os.environ["JDK_JAVA_OPTIONS"] = f'{JVM_OPTIONS} "-XX:SharedArchiveFile={CLASSES}"'


async def archive_classes(path: Path) -> None:
    """Start and stop a broker whose JVM archives the classes that it has loaded."""
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(".new")
    os.environ["JDK_JAVA_OPTIONS"] = f'{JVM_OPTIONS} "-XX:ArchiveClassesAtExit={new}"'
    with tempfile.TemporaryDirectory(prefix="entrepot-") as folder:
        async with await Broker.start(Path(folder)):
            pass
    if new.exists():  # Java writes none when it has to be killed; brokers then start without it
        new.replace(path)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Start one broker for all tests that create their own topics, in an event loop that outlives the tests."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="broker")
    thread.start()
    try:
        start = Broker.start(tmp_path_factory.mktemp("broker"))
        running = asyncio.run_coroutine_threadsafe(start, loop).result(120)
        yield running
        asyncio.run_coroutine_threadsafe(running.stop(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.fixture(scope="session")
def kafka(broker: Broker) -> KafkaCluster:
    """The shared broker, for clients."""
    return broker.cluster


async def emptied(broker: Broker) -> Broker:
    """Delete all topics of a broker, and wait until it has forgotten the offsets that groups committed for them.

    Groups stay, with their static members and assignments: a service has to have as many partitions as the one before.
    """
    admin = AIOKafkaAdminClient(**broker.cluster.connection())
    await admin.start()
    try:
        async with asyncio.timeout(30):
            while topics := [topic for topic in await admin.list_topics() if not topic.startswith("__")]:
                await admin.delete_topics(topics)
            for group, _ in await admin.list_consumer_groups():
                while await admin.list_consumer_group_offsets(group):
                    await asyncio.sleep(0.05)
    finally:
        await admin.close()
    return broker


@pytest.fixture
async def empty_broker(broker: Broker) -> Broker:
    """The shared broker without topics, for one service."""
    return await emptied(broker)


@pytest.fixture
async def fresh_broker(tmp_path: Path) -> AsyncIterator[FreshBroker]:
    """Start a broker in the test's own data directory; after a stop or a kill, a second call reuses port and data."""
    started: list[Broker] = []

    async def start() -> Broker:
        port = started[-1].port if started else 0
        started.append(await Broker.start(tmp_path / "broker", port=port))
        return started[-1]

    yield start
    for broker in started:
        await broker.stop()


@pytest.fixture
def make_topic(kafka: KafkaCluster) -> MakeTopic:
    async def make(name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        admin = AIOKafkaAdminClient(**kafka.connection())
        await admin.start()
        try:
            response = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(config or {}))])
            for _, code, message in response.topic_errors:
                if code:
                    raise for_code(code)(message)
            async with asyncio.timeout(30):
                while True:
                    (topic,) = await admin.describe_topics([name])
                    if topic["partitions"] and all(partition["leader"] >= 0 for partition in topic["partitions"]):
                        return name
        finally:
            await admin.close()

    return make
