"""The present state of a job is read model, later events and undecided commands together."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.api.collect.current_job import job_now
from app.kafka.clients import started
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord, send
from app.store.read_store import ReadStore
from projections.jobs.state import Job
from schemas.commands import CreateJob, JobCommand, PauseJob, RenameJob
from schemas.topics import JOBS_COMMANDS, JOBS_EVENTS
from schemas.wire.codec import encode
from tests.unit.store.histories import START, Partition

JOB = "job-1"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ReadStore]:
    opened = await ReadStore.open(f"sqlite+aiosqlite:///{tmp_path / 'views.db'}")
    yield opened
    await opened.close()


class Log:
    """`jobs.commands` and `jobs.events` of one partition; every command is written, and decided on request."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster({JOBS_COMMANDS.name: 1, JOBS_EVENTS.name: 1})
        self.partition = Partition(step=1)

    async def write(self, topic: str, value: bytes, key: str = JOB) -> None:
        producer = self.cluster.producer(compression=None, linger_ms=0, request_timeout_ms=1_000)
        async with started(producer):
            await send(producer, [ProducerRecord(topic, value, key=key.encode(), partition=0)])

    async def command(self, command: JobCommand) -> None:
        await self.write(JOBS_COMMANDS.name, encode(command), command.job_id)


def create(job_id: str = JOB, command_id: str = "create") -> CreateJob:
    return CreateJob(
        command_id=command_id, job_id=job_id, issued_at=START, issued_by="user:ada", provider="csv", job_type="file",
        kind="import", name=job_id,
    )  # fmt: skip


def rename(name: str, job_id: str = JOB) -> RenameJob:
    return RenameJob(
        command_id=f"rename {name}", job_id=job_id, issued_at=START, issued_by="user:ada", name=name, description=""
    )


async def test_commands_that_are_not_decided_yet_count(store: ReadStore) -> None:
    log = Log()
    assert await job_now(log.cluster, store, 1, JOB) is None
    await log.command(create())
    await log.command(create("another", "create another"))
    await log.command(rename("Orders"))
    await log.write(JOBS_COMMANDS.name, b"garbage")
    job = await job_now(log.cluster, store, 1, JOB)
    assert isinstance(job, Job)
    assert (job.job_id, job.name, job.revision) == (JOB, "Orders", 2)


@pytest.mark.parametrize("projected", [0, 1, 2], ids=["nothing", "the first event", "all events"])
async def test_decided_commands_are_not_decided_again(store: ReadStore, projected: int) -> None:
    log = Log()
    await log.command(create())
    await log.command(rename("Orders"))
    created = log.partition.send(CreateJob, JOB, provider="csv", job_type="file", kind="import", name=JOB)
    for record in created:
        await log.write(JOBS_EVENTS.name, record.value)
    start = created[0].offset
    await store.views.apply(
        0, [type(record)(record.offset - start, record.event, record.value) for record in created[:projected]]
    )
    job = await job_now(log.cluster, store, 1, JOB)
    assert isinstance(job, Job)
    assert (job.name, job.status, job.seq) == ("Orders", "Running", 3)


async def test_a_refused_command_changes_nothing_else(store: ReadStore) -> None:
    log = Log()
    await log.command(create())
    await log.command(PauseJob(command_id="p", job_id=JOB, issued_at=START, issued_by="user:ada", expected_revision=7))
    job = await job_now(log.cluster, store, 1, JOB)
    assert isinstance(job, Job)
    assert job.status == "Running"
