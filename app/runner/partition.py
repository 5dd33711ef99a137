"""What a runner owns of one partition: the jobs as their events tell them, and the runs that this asks for.

Level-triggered: whatever happened, `_reconcile` compares what should run with what runs, and starts or cancels.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, get_args

from app.log_reader import LogReader
from app.runner.alarms import Alarms
from app.runner.commits import GroupCommit
from app.runner.packing import command_record
from app.runner.run import Run, Surroundings
from app.safe_faust.publishing import Outgoing
from app.stamp import Clock, stamp
from connectors.contract import Limits
from projections.decide import decide
from projections.evolve import evolve
from projections.job_state import Absent, Job, JobState, Running
from schemas.catalog import UnknownSchemaError
from schemas.commands import JobCommand
from schemas.events import JobEvent
from schemas.topics import JOBS_COMMANDS
from schemas.wire import MalformedRecordError, decode

TICK_SECONDS: Final = 0.25
COMMANDS: Final = get_args(JobCommand)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all partitions of a runner share."""

    bootstrap_servers: str
    app_id: str
    partitions: int
    limits: Limits
    clock: Clock
    slots: asyncio.Semaphore  # how many runs at a time


class OwnedPartition:
    """The jobs of one partition, and their runs while `work` goes on."""

    def __init__(self, number: int, shop: Workshop, jobs: Iterable[Job]) -> None:
        self.number = number
        self._shop = shop
        self._jobs: dict[str, Job] = {}
        self._alarms = Alarms()
        self._touched: set[str] = set()
        self._something_new = asyncio.Event()
        self._forget_runs()
        for job in jobs:
            self._keep(job)

    def fold(self, event: JobEvent) -> Job | None:
        """Take over an event, if it is news, and return the job as it is now."""
        state = evolve(self._jobs.get(event.job_id, Absent(event.job_id)), event)
        if isinstance(state, Absent):
            return None
        self._keep(state)
        return state

    async def work(self) -> None:
        """Run what is to run, until cancelled or until the writer breaks; can be called again after that.

        Raises:
            FencedError: another worker owns the partition.
            UnknownOutcomeError, KafkaError, OSError: the broker is in trouble; the next call finds out what it took.

        """
        # Entering fences the owner before us, so that what it committed is all that it will ever have committed.
        async with GroupCommit(self._shop.bootstrap_servers, f"{self._shop.app_id}.{self.number}") as writer:
            await self._catch_up()
            self._forget_runs()
            try:
                while True:
                    self._reconcile(writer)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._something_new.wait(), TICK_SECONDS)
                    self._something_new.clear()
            finally:
                await self._stop_runs()

    async def _catch_up(self) -> None:
        """Decide the commands that no event has told of yet: the cursors in them are what is committed."""
        start = 1 + max((job.command_offset for job in self._jobs.values()), default=-1)
        async with LogReader(self._shop.bootstrap_servers, JOBS_COMMANDS.name, self.number, start) as commands:
            async for offset, value in commands.records():
                self._decide(offset, value)

    def _decide(self, offset: int, value: bytes) -> None:
        try:
            command = decode(value)
        except (MalformedRecordError, UnknownSchemaError):
            return  # control makes a dead letter of it
        if isinstance(command, COMMANDS):
            state: JobState = self._jobs.get(command.job_id, Absent(command.job_id))
            for event in decide(state, command, offset):
                state = evolve(state, event)
            if isinstance(state, Job):
                self._keep(state)

    def _keep(self, job: Job) -> None:
        known = self._jobs.get(job.job_id)
        if known is None or known.seq < job.seq:
            self._jobs[job.job_id] = job
            self._alarms.set(job)
            self._touch(job.job_id)

    def _touch(self, job_id: str) -> None:
        self._touched.add(job_id)
        self._something_new.set()

    def _reconcile(self, writer: GroupCommit) -> None:
        writer.check()
        touched, self._touched = self._touched, set()
        for job_id in touched:
            self._reconcile_job(self._jobs[job_id], writer)
        for job_id, command in self._alarms.due(self._shop.clock()):
            word = command(**stamp(job_id, "clock", self._shop.clock))
            writer.submit([command_record(word, self.number)])

    def _reconcile_job(self, job: Job, writer: GroupCommit) -> None:
        wanted = isinstance(job.phase, Running)
        if job.job_id in self._runs:
            run, task = self._runs[job.job_id]
            same = run.job.run == job.run and run.job.configuration_version == job.configuration_version
            if not (wanted and same):
                task.cancel()  # its end touches the job, so that it is looked at again
        elif wanted and self._ended.get(job.job_id) != job.run and job.report >= self._submitted.get(job.job_id, 0):
            self._start(job, writer)

    def _start(self, job: Job, writer: GroupCommit) -> None:
        async def submit(records: Sequence[Outgoing]) -> None:
            await asyncio.shield(writer.submit(records))  # a cancelled run leaves what it handed over to be committed

        around = Surroundings(self._shop.limits, self._shop.clock, self.number, self._shop.partitions, submit)
        run = Run(job, around)
        task = asyncio.create_task(self._drive(run), name=f"run {job.run} of job {job.job_id}")
        self._runs[job.job_id] = (run, task)

    async def _drive(self, run: Run) -> None:
        job_id = run.job.job_id
        try:
            async with self._shop.slots:
                await run.drive()
            self._ended[job_id] = run.job.run
        finally:
            # The next run begins where this one's reports leave the job, so they have to come back as events first.
            self._submitted[job_id] = run.report
            del self._runs[job_id]
            self._touch(job_id)

    def _forget_runs(self) -> None:
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._submitted: dict[str, int] = {}  # the number of the latest report that a run handed to the writer
        self._ended: dict[str, int] = {}  # the latest run that has told its end; it isn't started again
        self._touched |= self._jobs.keys()

    async def _stop_runs(self) -> None:
        tasks = [task for _, task in self._runs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
