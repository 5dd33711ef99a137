"""A runner's partition, on a real broker and with no control beside it: what it takes for true, and what it reports."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from app.kafka.clients import KafkaCluster
from app.kafka.partition_reader import PartitionReader
from app.kafka.topics import ensure_topics
from app.records.envelopes import stamp
from app.runner.partition import REFUSED_PAUSE, OwnedPartition, RunnerContext
from app.supervisor.broker.server import Broker
from connectors.contract import Limits
from projections.jobs.decide import decide
from projections.jobs.evolve import evolve
from projections.jobs.state import Job, JobState, NoJob, Running
from schemas.commands import Counts, CreateJob, JobCommand, PauseJob, ReportError, ReportProgress, ResumeJob, RunJob
from schemas.events import CommandRefused, JobEvent, JobStarted
from schemas.topics import TOPICS
from schemas.wire.codec import decode, encode
from tests.integration.conftest import FreshBroker

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


@dataclass
class World:
    """The topics, with a control of our own that answers only when it is asked to."""

    broker: Broker
    producer: AIOKafkaProducer
    folder: Path
    now: datetime = START

    def shop(self) -> RunnerContext:
        return RunnerContext(
            cluster=KafkaCluster(self.broker.bootstrap_servers), app_id="entrepot.runner", partitions=1,
            limits=Limits(file_roots=(self.folder,)), clock=lambda: self.now, slots=asyncio.Semaphore(4),
        )  # fmt: skip

    async def write(self, topic: str, word: Any) -> int:
        where = await self.producer.send_and_wait(topic, encode(word), key=word.job_id.encode(), partition=0)
        return int(where.offset)

    async def command(self, state: JobState, command: JobCommand) -> tuple[Job, Sequence[JobEvent]]:
        """Write a command, and return what it leads to."""
        events = decide(state, command, await self.write("jobs.commands", command))
        for event in events:
            state = evolve(state, event)
        assert isinstance(state, Job)
        return state, events

    async def commanded(self, start: int = 0) -> list[JobCommand]:
        async with PartitionReader(KafkaCluster(self.broker.bootstrap_servers), "jobs.commands", 0, start) as log:
            return [decode(record.value) async for record in log.records()]  # type: ignore[misc]

    async def until_commanded(self, count: int) -> list[JobCommand]:
        async with asyncio.timeout(10):
            while len(found := await self.commanded()) < count:
                pass
        return found

    def creation(self, job_id: str) -> CreateJob:
        (self.folder / "rows.csv").write_text("id\n1\n2\n3\n")
        configuration = json.dumps({"source": str(self.folder / "rows.csv"), "stream": "people"})
        return CreateJob(
            **self.stamped(job_id), provider="file", job_type="import", kind="import", name=job_id,
            configuration=configuration,
        )  # fmt: skip

    def report(self, job: Job, **fields: Any) -> ReportProgress:
        usual = {"cursor": json.dumps({"row": job.report + 1}), "stream": "s", "lane": "backfill", "pass_done": False}
        return ReportProgress(
            **self.stamped(job.job_id), run=job.run, report=job.report + 1, counts=Counts(), **(usual | fields)
        )

    def stamped(self, job_id: str) -> dict[str, Any]:
        return stamp(job_id, "runner", lambda: self.now)


@pytest.fixture
async def world(tmp_path: Path, fresh_broker: FreshBroker) -> AsyncIterator[World]:
    broker = await fresh_broker()
    await ensure_topics(broker.bootstrap_servers, TOPICS.values(), 1, 1)
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
        yield World(broker, producer, tmp_path)


@asynccontextmanager
async def working(partition: OwnedPartition) -> AsyncIterator[None]:
    task = asyncio.create_task(partition.work())
    try:
        yield
    finally:
        if not task.cancel():
            task.result()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_was_committed_is_found_whatever_the_table_has(world: World) -> None:
    """The table knows all of one job and little of the other; the last commands have no events yet."""
    one, told = await world.command(NoJob("one"), world.creation("one"))
    other, more = await world.command(NoJob("other"), world.creation("other"))
    events, old = [*told, *more], other
    for _ in range(3):
        other, more = await world.command(other, world.report(other))
        events += more
    one, more = await world.command(one, world.report(one))
    for event in [*events, *more]:
        await world.write("jobs.events", event)
    answered = other
    for _ in range(2):
        other, more = await world.command(other, world.report(other))

    partition = OwnedPartition(0, world.shop(), [one, old])
    await partition._catch_up()
    assert partition._job("one") == one
    assert partition._job("other") == other, "the next run would begin before what is committed"
    for offset, event in enumerate(events):
        told_now = partition.fold(offset, event)
        assert told_now in {one, answered}, "a table must hold what events told, and nothing that is guessed"
    for event in more:
        partition.fold(99, event)  # out of its turn: the one before it is still to come
    assert partition._job("other") == other

    stray = replace(world.report(other), job_id="other", report=6)
    await world.producer.send_and_wait("jobs.commands", encode(stray), key=b"one", partition=0)
    again = OwnedPartition(0, world.shop(), [])
    await again._catch_up()
    assert (again._job("one"), again._job("other")) == (one, other), "a misplaced command is obeyed by nobody"


async def test_a_run_waits_for_a_report_that_was_committed_behind_half_told_events(world: World) -> None:
    job, told = await world.command(NoJob("rows"), world.creation("rows"))
    job, more = await world.command(job, world.report(job))
    told = [*told, *more]
    for word in (PauseJob, ResumeJob):
        job, more = await world.command(job, word(**world.stamped("rows")))
        told = [*told, *more]
    started = told.pop()
    assert isinstance(started, JobStarted)
    _, reported = await world.command(job, world.report(job))
    for event in told:  # control was killed between two events of one command
        await world.write("jobs.events", event)
    partition = OwnedPartition(0, world.shop(), [])
    await partition._catch_up()
    partition._forget_runs()
    partition.fold(len(told), started)
    found = partition._job("rows")
    assert isinstance(found, Job)
    assert isinstance(found.phase, Running)
    assert partition._waits(found), "a run would write again what the report has committed"
    for event in reported:
        partition.fold(len(told) + 1, event)
    now = partition._job("rows")
    assert isinstance(now, Job)
    assert not partition._waits(now)


async def test_a_refused_report_ends_in_an_error_that_people_see(world: World) -> None:
    job, events = await world.command(NoJob("rows"), world.creation("rows"))
    for event in events:
        await world.write("jobs.events", event)
    partition = OwnedPartition(0, world.shop(), [])
    async with working(partition):
        created, first, last = await world.until_commanded(3)
        assert isinstance(created, CreateJob)
        assert isinstance(first, ReportProgress)
        assert isinstance(last, ReportProgress)
        assert last.pass_done
        known = len(events)
        for offset, report in enumerate((first, last), 7):  # as a control with other rules would answer
            (refusal,) = decide(job, replace(report, rules=99), offset)
            assert isinstance(refusal, CommandRefused)
            known += 1
            assert partition.fold(known, replace(refusal, seq=job.seq + 1))
            job = evolve(job, replace(refusal, seq=job.seq + 1))  # type: ignore[assignment]
        world.now += REFUSED_PAUSE - timedelta(seconds=1)
        partition._touch("rows")
        await asyncio.sleep(0.6)  # more than two ticks: neither a hot loop nor a second run
        offset = len(await world.commanded())
        assert offset == 3
        world.now += timedelta(seconds=1)
        *_, error = await world.until_commanded(4)
        assert isinstance(error, ReportError)
        assert (error.code, error.run, error.advice) == ("report_refused", job.run, "retry")
        assert error.params["cause"] == refusal.code
        told = decide(job, error, 9)
        for number, event in enumerate(told):
            partition.fold(known + number + 1, event)
            job = evolve(job, event)  # type: ignore[assignment]
        for event in decide(job, RunJob(**world.stamped("rows")), 10):
            partition.fold(99, event)
            job = evolve(job, event)  # type: ignore[assignment]
        assert isinstance(job.phase, Running)
        again = (await world.until_commanded(5))[4]
        assert isinstance(again, ReportProgress)
        assert (again.run, again.report) == (job.run, 1), "the next run begins where the accepted reports end"


async def test_a_start_behind_the_end_reads_nothing(world: World) -> None:
    assert await world.commanded(start=1_000) == []
