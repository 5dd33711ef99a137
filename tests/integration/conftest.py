"""The real broker of the tests: one for all, and fresh ones for tests of a whole service or of the broker itself."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import for_code

from app.supervisor.broker.server import Broker

FreshBroker = Callable[[], Awaitable[Broker]]


class MakeTopic(Protocol):
    """Make a topic and return its name once it can be written to."""

    async def __call__(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> str: ...


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for every test that names its own topics; it lives in a loop of its own, as each test has another."""
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
def kafka(broker: Broker) -> str:
    """Where that broker answers."""
    return broker.bootstrap_servers


@pytest.fixture
async def fresh_broker(tmp_path: Path) -> AsyncIterator[FreshBroker]:
    """Start a broker on this test's own data directory; called again after a stop or a kill, it finds the data."""
    started: list[Broker] = []

    async def start() -> Broker:
        port = started[-1].port if started else 0
        started.append(await Broker.start(tmp_path / "broker", port=port))
        return started[-1]

    yield start
    for each in started:
        await each.stop()


@pytest.fixture
def make_topic(kafka: str) -> MakeTopic:
    async def make(name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> str:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
        await admin.start()
        try:
            answer = await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=dict(config or {}))])
            for _, code, message in answer.topic_errors:
                if code:
                    raise for_code(code)(message)
            async with asyncio.timeout(30):
                while True:
                    (found,) = await admin.describe_topics([name])
                    if found["partitions"] and all(each["leader"] >= 0 for each in found["partitions"]):
                        return name
        finally:
            await admin.close()

    return make
