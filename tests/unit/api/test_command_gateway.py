"""Commands are sent with key, partition and trace, and return their events once the read models have them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.api.http.problems import ApiProblem
from app.api.services.command_gateway import CommandGateway, Refused
from app.api.services.event_tail import EventTail
from app.api.services.metrics import Metrics, new_metrics
from app.definitions.catalog import DefinitionCatalog
from app.definitions.tail import DefinitionsTail
from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from app.records.partitioning import partition_of
from app.store.read_store import ReadStore
from schemas.commands import JobCommand, KillJob, PauseJob, RestoreJob
from schemas.definitions import PARTITION, DiscardDraft, DraftDiscarded
from schemas.topics import DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS, JOBS_COMMANDS, JOBS_EVENTS
from schemas.wire.codec import encode
from tests.unit.store.histories import Partition

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
PARTITIONS = 2
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LONG, SHORT = 10.0, 0.02


class Control:
    """Decides job commands as control does: writes their events, and applies them to the read models."""

    def __init__(self, cluster: MemoryCluster, store: ReadStore, tail: EventTail) -> None:
        self._cluster = cluster
        self._store = store
        self._tail = tail
        self._written = 0
        self.partition = Partition()

    async def decide(self, kind: type[JobCommand], *, applied: bool = True) -> str:
        """Write the events of a command; return its id."""
        records = self.partition.send(kind)
        number = partition_of("job-1", PARTITIONS)
        if applied:
            await self._store.views.apply(number, records)
        async with BatchProducer(self._cluster) as producer:
            await producer.write(ProducerRecord(JOBS_EVENTS.name, event.value, partition=number) for event in records)
        self._written += len(records)
        async with asyncio.timeout(10):
            while self._tail.positions[number] < self._written:
                await asyncio.sleep(0)
        return records[0].event.command_id


@pytest.fixture
def cluster() -> MemoryCluster:
    topics = (JOBS_COMMANDS, JOBS_EVENTS, DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS)
    return MemoryCluster({topic.name: PARTITIONS for topic in topics})


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ReadStore]:
    opened = await ReadStore.open(f"sqlite+aiosqlite:///{tmp_path / 'views.db'}")
    yield opened
    await opened.close()


@pytest.fixture
def metrics() -> Metrics:
    return new_metrics()


@pytest.fixture
async def tail(cluster: MemoryCluster) -> AsyncIterator[EventTail]:
    tail = EventTail(cluster)
    tail.start()
    await tail.caught_up()
    yield tail
    await tail.stop()


@pytest.fixture
async def gateway(
    cluster: MemoryCluster, store: ReadStore, tail: EventTail, metrics: Metrics
) -> AsyncIterator[CommandGateway]:
    definitions = DefinitionsTail(cluster)
    gateway = CommandGateway(cluster, PARTITIONS, tail, DefinitionCatalog(definitions), store, metrics)
    definitions.start()
    gateway.start()
    await definitions.caught_up()
    async with asyncio.timeout(10):
        while not gateway.connected:
            await asyncio.sleep(0)
    yield gateway
    await gateway.stop()
    await definitions.stop()


@pytest.fixture
async def control(cluster: MemoryCluster, store: ReadStore, tail: EventTail) -> Control:
    control = Control(cluster, store, tail)
    control.partition.create()
    await store.views.apply(partition_of("job-1", PARTITIONS), control.partition.records)
    return control


def command(kind: type[Any], command_id: str = "command") -> Any:
    return kind(command_id=command_id, job_id="job-1", issued_at=NOON, issued_by="user:ada")


def counted(metrics: Metrics, kind: str, outcome: str) -> float | None:
    return metrics.registry.get_sample_value("entrepot_api_commands_total", {"command": kind, "outcome": outcome})


async def test_a_job_command_returns_its_visible_events(
    gateway: CommandGateway, control: Control, cluster: MemoryCluster, metrics: Metrics
) -> None:
    command_id = await control.decide(PauseJob)
    events = await gateway.submit(command(PauseJob, command_id), LONG, TRACE)
    assert [type(event).__name__ for event in events or ()] == ["JobPaused"]
    assert counted(metrics, "PauseJob", "done") == 1
    (record,) = cluster.records(JOBS_COMMANDS.name, partition_of("job-1", PARTITIONS))
    assert (record.key, dict(record.headers)["traceparent"]) == (b"job-1", TRACE.encode())


@pytest.mark.parametrize("decided", [False, True], ids=["without events", "before the read models have them"])
async def test_an_invisible_command_is_none(
    gateway: CommandGateway, control: Control, metrics: Metrics, *, decided: bool
) -> None:
    command_id = await control.decide(PauseJob, applied=False) if decided else "command"
    assert await gateway.submit(command(PauseJob, command_id), SHORT) is None
    assert counted(metrics, "PauseJob", "sent") == 1


@pytest.mark.parametrize("applied", [False, True])
async def test_a_refusal_is_raised_with_its_event(
    gateway: CommandGateway, control: Control, metrics: Metrics, *, applied: bool
) -> None:
    command_id = await control.decide(RestoreJob, applied=applied)
    with pytest.raises(Refused) as refusal:
        await gateway.submit(command(RestoreJob, command_id), LONG if applied else SHORT)
    assert refusal.value.event.code == "not_allowed"
    assert counted(metrics, "RestoreJob", "refused") == 1


async def test_a_definition_command_returns_its_events(gateway: CommandGateway, cluster: MemoryCluster) -> None:
    sent = DiscardDraft(
        command_id="command",
        definition_id="mapping:orders",
        issued_at=NOON,
        issued_by="user:ada",
        expected_version=None,
    )
    waiting = asyncio.create_task(gateway.submit(sent, LONG))
    while not cluster.records(DEFINITIONS_COMMANDS.name, PARTITION):
        await asyncio.sleep(0)
    event = DraftDiscarded(
        event_id="event", definition_id="mapping:orders", seq=1, occurred_at=NOON, command_id="command",
        command_offset=0, actor="user:ada", rules=1, version=1,
    )  # fmt: skip
    async with BatchProducer(cluster) as producer:
        await producer.write([ProducerRecord(DEFINITIONS_EVENTS.name, encode(event), partition=PARTITION)])
    assert await waiting == (event,)


async def test_without_a_connection_nothing_is_sent(
    cluster: MemoryCluster, store: ReadStore, tail: EventTail, metrics: Metrics
) -> None:
    catalog = DefinitionCatalog(DefinitionsTail(cluster))
    gateway = CommandGateway(cluster, PARTITIONS, tail, catalog, store, metrics)
    with pytest.raises(ApiProblem) as problem:
        await gateway.submit(command(KillJob), LONG)
    assert (problem.value.status, problem.value.code) == (503, "kafka_unreachable")
    assert cluster.records(JOBS_COMMANDS.name, partition_of("job-1", PARTITIONS)) == []
