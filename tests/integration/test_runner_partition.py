"""A runner's partition on a real broker with a scripted control: the state that it assumes, and its reports."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from app.kafka.partition_reader import PartitionReader
from app.kafka.topics import ensure_topics
from app.records.envelopes import stamp
from app.runner.partition import REFUSAL_DELAY, OwnedPartition
from app.runner.run import RunContext
from app.runner.slots import Slots
from app.supervisor.broker.server import Broker
from app.vault.master_key import no_keys
from connectors.contract import Limits
from projections.jobs.decide import handle
from projections.jobs.evolve import evolve
from projections.jobs.state import Job, Running
from schemas.commands import Counts, CreateJob, JobCommand, PauseJob, ReportError, ReportProgress, ResumeJob, RunJob
from schemas.events import CommandRefused, JobEvent, JobStarted
from schemas.topics import TOPICS
from schemas.wire.codec import decode, encode

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


@dataclass
class ScriptedControl:
    """Writes commands and, only where a test says so, the events that control would decide."""

    broker: Broker
    producer: AIOKafkaProducer
    folder: Path
    now: datetime = START

    def partition(self, *jobs: Job) -> OwnedPartition:
        context = RunContext(
            partitions=1, limits=Limits(file_roots=(self.folder,)), clock=lambda: self.now, monotonic=monotonic,
            slots={"import": Slots(4, monotonic)}, read_keys=no_keys,
        )  # fmt: skip
        return OwnedPartition(0, self.broker.cluster, context, jobs)

    async def write(self, topic: str, record: Any) -> int:
        metadata = await self.producer.send_and_wait(topic, encode(record), key=record.job_id.encode(), partition=0)
        return int(metadata.offset)

    async def command(self, state: Job | None, command: JobCommand) -> tuple[Job, Sequence[JobEvent]]:
        """Write a command; return its events, and the state after them."""
        events = handle(state, command, await self.write("jobs.commands", command))[1]
        for event in events:
            state = evolve(state, event)
        assert isinstance(state, Job)
        return state, events

    async def commands(self, start: int = 0) -> list[JobCommand]:
        async with PartitionReader(self.broker.cluster, "jobs.commands", 0, start) as log:
            return [decode(record.value) async for record in log.records()]  # type: ignore[misc]  # decode returns any record; the test knows which

    async def until_commands(self, count: int) -> list[JobCommand]:
        async with asyncio.timeout(10):
            while len(commands := await self.commands()) < count:
                pass
        return commands

    def creation(self, job_id: str) -> CreateJob:
        (self.folder / "rows.csv").write_text("id\n1\n2\n3\n")
        configuration = json.dumps({"source": str(self.folder / "rows.csv"), "stream": "people"})
        return CreateJob(
            **self.stamped(job_id), provider="file", job_type="import", kind="import", name=job_id,
            configuration=configuration,
        )  # fmt: skip

    def report(self, job: Job, **fields: Any) -> ReportProgress:
        values = {
            "cursor": json.dumps({"row": job.report + 1}),
            "stream": "s",
            "lane": "backfill",
            "pass_done": False,
        }
        return ReportProgress(
            **self.stamped(job.job_id), run=job.run, report=job.report + 1, counts=Counts(), **(values | fields)
        )

    def stamped(self, job_id: str) -> dict[str, Any]:
        return stamp(job_id, "runner", lambda: self.now)


@pytest.fixture
async def control(tmp_path: Path, empty_broker: Broker) -> AsyncIterator[ScriptedControl]:
    await ensure_topics(empty_broker.cluster, TOPICS.values(), 1, 1)
    async with AIOKafkaProducer(**empty_broker.cluster.connection()) as producer:
        yield ScriptedControl(empty_broker, producer, tmp_path)


@asynccontextmanager
async def working(partition: OwnedPartition) -> AsyncIterator[None]:
    task = asyncio.create_task(partition.work())
    try:
        yield
    finally:
        if not task.cancel():
            task.result()
        await asyncio.gather(task, return_exceptions=True)


async def test_committed_reports_are_read_from_the_log_when_the_table_is_behind(control: ScriptedControl) -> None:
    """The table has the latest state of one job and an old one of the other; the last commands have no events yet."""
    one, first_events = await control.command(None, control.creation("one"))
    other, more = await control.command(None, control.creation("other"))
    events, old = [*first_events, *more], other
    for _ in range(3):
        other, more = await control.command(other, control.report(other))
        events += more
    one, more = await control.command(one, control.report(one))
    for event in [*events, *more]:
        await control.write("jobs.events", event)
    decided = other
    for _ in range(2):
        other, more = await control.command(other, control.report(other))

    partition = control.partition(one, old)
    await partition._catch_up()
    assert partition._job("one") == one
    assert partition._job("other") == other, "the next run would start before the committed report"
    for offset, event in enumerate(events):
        folded = partition.fold(offset, event)
        assert folded in {one, decided}, "the table must contain only states from events"
    for event in more:
        partition.fold(99, event)  # out of order: the previous event is still missing
    assert partition._job("other") == other

    stray = replace(control.report(other), job_id="other", report=6)
    await control.producer.send_and_wait("jobs.commands", encode(stray), key=b"one", partition=0)
    again = control.partition()
    await again._catch_up()
    assert (again._job("one"), again._job("other")) == (one, other), "a misplaced command must be ignored"


async def test_a_run_waits_for_the_event_of_a_report_that_is_already_committed(control: ScriptedControl) -> None:
    job, events = await control.command(None, control.creation("rows"))
    job, more = await control.command(job, control.report(job))
    events = [*events, *more]
    for command in (PauseJob, ResumeJob):
        job, more = await control.command(job, command(**control.stamped("rows")))
        events = [*events, *more]
    started = events.pop()
    assert isinstance(started, JobStarted)
    _, reported = await control.command(job, control.report(job))
    for event in events:  # control was killed between two events of one command
        await control.write("jobs.events", event)
    partition = control.partition()
    await partition._catch_up()
    partition._reset_runs()
    partition.fold(len(events), started)
    before = partition._job("rows")
    assert isinstance(before, Job)
    assert isinstance(before.phase, Running)
    assert partition._awaits_echo(before), "a run would write the committed rows again"
    for event in reported:
        partition.fold(len(events) + 1, event)
    after = partition._job("rows")
    assert isinstance(after, Job)
    assert not partition._awaits_echo(after)


async def test_a_refused_report_becomes_a_visible_error_of_the_job(control: ScriptedControl) -> None:
    job, events = await control.command(None, control.creation("rows"))
    for event in events:
        await control.write("jobs.events", event)
    partition = control.partition()
    async with working(partition):
        created, first, last = await control.until_commands(3)
        assert isinstance(created, CreateJob)
        assert isinstance(first, ReportProgress)
        assert isinstance(last, ReportProgress)
        assert last.pass_done
        position = len(events)
        for offset, report in enumerate((first, last), 7):  # as a control with other rules would decide
            (refusal,) = handle(job, replace(report, rules=99), offset)[1]
            assert isinstance(refusal, CommandRefused)
            position += 1
            assert partition.fold(position, replace(refusal, seq=job.seq + 1))
            job = evolve(job, replace(refusal, seq=job.seq + 1))  # type: ignore[assignment]  # never None here
        control.now += REFUSAL_DELAY - timedelta(seconds=1)
        partition._mark_dirty("rows")
        await asyncio.sleep(0.6)  # more than two ticks, in which neither a hot loop nor a second run may happen
        offset = len(await control.commands())
        assert offset == 3
        control.now += timedelta(seconds=1)
        *_, error = await control.until_commands(4)
        assert isinstance(error, ReportError)
        assert (error.code, error.run, error.advice) == ("report_refused", job.run, "retry")
        assert error.params["cause"] == refusal.code
        for number, event in enumerate(handle(job, error, 9)[1]):
            partition.fold(position + number + 1, event)
            job = evolve(job, event)  # type: ignore[assignment]  # never None here
        for event in handle(job, RunJob(**control.stamped("rows")), 10)[1]:
            partition.fold(99, event)
            job = evolve(job, event)  # type: ignore[assignment]  # never None here
        assert isinstance(job.phase, Running)
        again = (await control.until_commands(5))[4]
        assert isinstance(again, ReportProgress)
        assert (again.run, again.report) == (job.run, 1), "the next run starts at the last accepted report"


async def test_a_reader_that_starts_behind_the_end_reads_nothing(control: ScriptedControl) -> None:
    assert await control.commands(start=1_000) == []
