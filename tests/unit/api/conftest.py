"""The API in this process: on the memory cluster and SQLite, with a control role that decides its commands."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import SecretStr

from app.api.context import Services
from app.api.server import listen, make_api
from app.api.services.ingest_producer import NotSentError
from app.definitions.forgetting_catalog import ForgettingCatalog
from app.definitions.rules import RulesReader
from app.definitions.tail import DefinitionsTail
from app.kafka.batch_producer import BatchProducer
from app.kafka.clients import Producer, started
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import send
from app.lanes.role import Lane
from app.profile_store.stores import Storage
from app.profiles.forgetting import ForgettingWorker
from app.profiles.lookup_server import LookupServer
from app.profiles.open_partitions import OpenPartitions
from app.profiles.role import ProfilesWorker
from app.records.commands import NewerRulesError, decode_definition_command, decode_job_command
from app.records.encoding import encoded
from app.settings import Settings
from app.store.models import EventRecord
from app.store.read_store import ReadStore
from app.vault.cipher import MASTER_KEY_BYTES, MasterKey
from app.vault.secret import Secret
from projections.definitions.state import EMPTY
from projections.definitions.state import handle as handle_definition
from projections.jobs.decide import handle as handle_job
from projections.jobs.state import Job
from schemas.definitions import PARTITION
from schemas.topics import DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS, JOBS_COMMANDS, JOBS_EVENTS, TOPICS
from schemas.wire.codec import encode
from tests.integration.api.rig import Client, as_caller
from tests.integration.support.service import TOKEN

PARTITIONS = 2
MASTER_KEY = MasterKey(Secret(bytes(range(MASTER_KEY_BYTES))))
SETTINGS = Settings(
    partitions=PARTITIONS,
    admin_token=SecretStr(TOKEN),
    bootstrap_servers="127.0.0.1:1",  # of the admin client, which has no twin
    api_port=0,
    max_concurrent_uploads=2,
    batch_bytes=64 * 1024,
)


@dataclass
class WallClock:
    """Returns `now`, which a test moves."""

    now: datetime = datetime(2026, 5, 4, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


class Control:
    """Decides commands and fills the read models, as the control role does. Clear `deciding` to make it wait."""

    def __init__(self, cluster: MemoryCluster, store: ReadStore) -> None:
        self.deciding = asyncio.Event()
        self.deciding.set()
        self._cluster = cluster
        self._store = store
        self._jobs: dict[str, Job | None] = {}
        self._definitions = EMPTY

    async def run(self) -> None:
        consumer = self._cluster.consumer(JOBS_COMMANDS.name, DEFINITIONS_COMMANDS.name, isolation="read_committed")
        producer = self._cluster.producer(compression=None, linger_ms=0, request_timeout_ms=1_000)
        async with started(consumer), started(producer):
            while True:
                for records in (await consumer.getmany(timeout_ms=60_000)).values():
                    await self.deciding.wait()
                    for record in records:
                        await self._decide(record, producer)

    async def _decide(self, record: Any, producer: Producer) -> None:
        if record.topic == DEFINITIONS_COMMANDS.name:
            change = decode_definition_command(record.key, record.value, record.partition)
            self._definitions, changes = handle_definition(self._definitions, change, record.offset)
            await send(
                producer, [encoded(DEFINITIONS_EVENTS, change, change.definition_id, PARTITION) for change in changes]
            )
            return
        command = decode_job_command(record.key, record.value, record.partition, PARTITIONS)
        state = self._jobs.get(command.job_id)
        self._jobs[command.job_id], events = handle_job(state, command, record.offset)
        written = await send(
            producer, [encoded(JOBS_EVENTS, event, event.job_id, record.partition) for event in events]
        )
        applied = [EventRecord(at.offset, event, encode(event)) for at, event in zip(written, events, strict=True)]
        await self._store.views.apply(record.partition, applied)


@dataclass(frozen=True)
class Api:
    """A running API server: its services, a client with the admin token, and the cluster."""

    services: Services
    client: Client
    cluster: MemoryCluster


def new_cluster(clock: WallClock) -> MemoryCluster:
    return MemoryCluster(dict.fromkeys(TOPICS, PARTITIONS), lambda: clock().timestamp())


@asynccontextmanager
async def serving(
    cluster: MemoryCluster,
    data_dir: Path,
    clock: WallClock,
    monotonic: Callable[[], float] = time.monotonic,
    **settings: Any,
) -> AsyncIterator[Api]:
    """Run an API server, which connects in the background; several may share a cluster and a data directory."""
    changed = SETTINGS.model_copy(update={"data_dir": data_dir, "file_roots": (data_dir,), **settings})
    async with AsyncExitStack() as stack:
        services = await make_api(changed, stack, clock, cluster, monotonic)
        url = await listen(services, stack)
        client = await stack.enter_async_context(as_caller(url, TOKEN))
        yield Api(services, client, cluster)


async def until_connected(api: Api) -> None:
    services = api.services
    async with asyncio.timeout(10):
        while not (services.tail.alive and services.access.is_current and services.gateway.connected):
            await asyncio.sleep(0)
        while True:
            with contextlib.suppress(NotSentError):
                await services.ingest.write([])
                return
            await asyncio.sleep(0)


@pytest.fixture(scope="session")
def new_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new data directory, to copy: creating one takes longer than most tests."""
    path = tmp_path_factory.mktemp("data")

    async def create() -> None:
        store = await ReadStore.open(SETTINGS.model_copy(update={"data_dir": path}).database())
        await store.sealing_key.announce(MASTER_KEY.sealing_key.public)
        await store.close()

    asyncio.run(create())
    return path


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
def cluster(clock: WallClock) -> MemoryCluster:
    return new_cluster(clock)


@pytest.fixture
def data_dir(new_data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(new_data, tmp_path / "data"))


@pytest.fixture
async def api(cluster: MemoryCluster, data_dir: Path, clock: WallClock) -> AsyncIterator[Api]:
    async with serving(cluster, data_dir, clock) as api:
        await until_connected(api)
        yield api


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def unchanged(new_data: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A server that tests share whose requests change nothing; their loop has the scope of the session."""
    data_dir = Path(shutil.copytree(new_data, tmp_path_factory.mktemp("unchanged") / "data"))
    clock = WallClock()
    async with serving(new_cluster(clock), data_dir, clock) as api:
        await until_connected(api)
        yield api
        written = [topic for topic in TOPICS for number in range(PARTITIONS) if api.cluster.records(topic, number)]
        assert written == [], "a request that changes nothing becomes no record"


@pytest.fixture
async def control(api: Api, cluster: MemoryCluster) -> AsyncIterator[Control]:
    control = Control(cluster, api.services.store)
    running = asyncio.create_task(control.run(), name="control")
    yield control
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError, NewerRulesError):
        await running


@pytest.fixture
def client(api: Api, control: Control) -> Client:
    """A client of a server whose commands are decided."""
    del control
    return api.client


@pytest.fixture
async def plane(api: Api, control: Control, cluster: MemoryCluster, clock: WallClock) -> AsyncIterator[None]:
    """Run the real-time lane and the profiles role beside the API."""
    del control
    settings, store, stop = api.services.settings, api.services.store, asyncio.Event()
    async with AsyncExitStack() as stack:
        tail, forgettings = DefinitionsTail(cluster), ForgettingCatalog()
        rules = RulesReader(tail)
        tail.subscribe(forgettings.apply)
        tail.start()
        stack.push_async_callback(tail.stop)
        await tail.caught_up()
        producer = await stack.enter_async_context(BatchProducer(cluster))
        partitions = OpenPartitions(producer, PARTITIONS, clock)
        server = await stack.enter_async_context(LookupServer("127.0.0.1", store.plane, partitions))
        storage = Storage(settings, lambda: 0.0)
        profiles = ProfilesWorker(cluster, settings, storage, rules, partitions, server, store.plane)
        lane = Lane("realtime", cluster, settings, store, rules, clock)
        client = api.services.profiles_client
        forgetting = ForgettingWorker(cluster, PARTITIONS, store.plane, client, rules, forgettings, producer, clock)
        stack.push_async_callback(cancelled, asyncio.create_task(forgetting.run(profiles.owns)))
        roles = asyncio.gather(profiles.run(stop), lane.run(stop))
        yield
        stop.set()
        await roles


async def cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def commands(cluster: MemoryCluster) -> Sequence[Any]:
    """Return the records of all commands."""
    topics = (JOBS_COMMANDS.name, DEFINITIONS_COMMANDS.name)
    return [record for topic in topics for number in range(PARTITIONS) for record in cluster.records(topic, number)]


async def until_sent(cluster: MemoryCluster, count: int) -> None:
    """Wait until `count` commands are sent."""
    async with asyncio.timeout(10):
        while len(commands(cluster)) < count:
            await asyncio.sleep(0.001)


async def until_status(client: Client, job_id: str, status: str) -> dict[str, Any]:
    """Wait until the read model shows a status: it follows the response of an upload."""
    async with asyncio.timeout(10):
        while (job := (await client.ask("GET", f"/v2/job/{job_id}")).body.get("data", {})).get("status") != status:
            await asyncio.sleep(0.001)
    shown: dict[str, Any] = job
    return shown


@pytest.fixture
async def identity(client: Client) -> None:
    """Activate the identity rules that mappings need."""
    kinds = {"kinds": [{"kind": "tail", "rank": 0, "title": "Tail number"}], "max_identities": 1000}
    await client.ask("PUT", "/v2/definition/identity/draft", kinds, If_Match='"0"')
    await client.post("/v2/definition/identity/apply")
