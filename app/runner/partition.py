"""What a runner owns of one partition: the jobs as their events tell them, and the runs that this asks for.

Level-triggered: whatever happened, `_reconcile` compares what should run with what runs, and starts or cancels.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from app.clock import Clock
from app.kafka.clients import Cluster
from app.kafka.partition_reader import LogRecord, PartitionReader, committed_offsets
from app.kafka.producer_record import ProducerRecord
from app.kafka.transactions import FencedError, GroupCommit, UnknownOutcomeError
from app.records.commands import UnreadableCommandError, decode_job_command
from app.records.envelopes import stamp
from app.records.events import decode_event
from app.runner.reports import command_record
from app.runner.run import Run, RunContext
from app.runner.stalled_uploads import StalledUploads
from app.runner.timers import Timers
from connectors.catalog import is_pushed
from connectors.contract import Limits
from projections.jobs.decide import handle
from projections.jobs.evolve import evolve
from projections.jobs.state import Job, JobState, NoJob, Running
from schemas.coded import caused_by
from schemas.commands import JobCommand, ReportError, ReportProgress, ReportRateLimit
from schemas.events import CommandRefused, JobEvent
from schemas.topics import JOBS_COMMANDS, JOBS_EVENTS

TICK_SECONDS: Final = 0.25
ALARMS_AT_A_TIME: Final = 1_000  # a tick must stay short, and control has to keep up
REFUSED_PAUSE: Final = timedelta(seconds=10)
REPORTS: Final = frozenset(each.__name__ for each in (ReportProgress, ReportError, ReportRateLimit))

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunnerContext:
    """What all partitions of a runner share."""

    cluster: Cluster
    app_id: str
    partitions: int
    limits: Limits
    clock: Clock
    slots: asyncio.Semaphore  # how many runs at a time


class OwnedPartition:
    """The jobs of one partition, and their runs while `work` goes on."""

    def __init__(self, number: int, shop: RunnerContext, jobs: Iterable[Job]) -> None:
        self.number = number
        self._shop = shop
        self._told = {job.job_id: job for job in jobs}  # as their events tell them
        self._ahead: dict[str, Job] = {}  # as commands make them whose events are still to come
        self._next_event: int | None = None  # offset; None until the first is folded
        self._lacking: set[str] = set()
        self._alarms = Timers()
        self._unattended = StalledUploads()
        self._touched: set[str] = set()
        self._something_new = asyncio.Event()
        self._forget_runs()
        for job in self._told.values():
            self._alarms.set(job)

    def fold(self, offset: int, event: JobEvent) -> Job | None:
        """Take over an event, if it is news, and return the job as events tell it now."""
        self._next_event = max(offset + 1, self._next_event or 0)
        before = self._told.get(event.job_id, NoJob(event.job_id))
        job = evolve(before, event)
        if job is before:
            self._miss(before, event)
        elif isinstance(job, Job):
            self._told[job.job_id] = job
            if job.seq >= self._ahead.get(job.job_id, job).seq:
                self._ahead.pop(job.job_id, None)
                self._look_at(job)
            if isinstance(event, CommandRefused) and event.command in REPORTS:
                self._note_refusal(event)
        return job if isinstance(job, Job) else None

    def _note_refusal(self, refusal: CommandRefused) -> None:
        """Go no further: what a run would add is refused as well, unless the report was that of a run before it."""
        self._refused[refusal.job_id] = (self._shop.clock() + REFUSED_PAUSE, refusal)
        if refusal.job_id in self._runs:
            self._runs[refusal.job_id][1].cancel()  # it begins again as soon as its own reports have come back

    def _miss(self, job: JobState, event: JobEvent) -> None:
        """Say once of each job that events of it were lost here, as when somebody deletes a changelog."""
        known = job.seq if isinstance(job, Job) else 0
        if event.seq > known + 1 and event.job_id not in self._lacking:
            self._lacking.add(event.job_id)
            _log.error(
                "%s/%d: event %d of job %s came where %d was due, so the job isn't run: stop the runners, and reset "
                "their consumer group %s on this topic to the earliest offset",
                *(JOBS_EVENTS.name, self.number, event.seq, event.job_id, known + 1, self._shop.app_id),
            )

    async def work(self) -> None:
        """Run what is to run, until cancelled or until the writer breaks; can be called again after that.

        Raises:
            FencedError: another worker owns the partition.
            UnknownOutcomeError, KafkaError, OSError: the broker is in trouble; the next call finds out what it took.

        """
        # Entering fences the owner before us, so that what it committed is all that it will ever have committed.
        async with GroupCommit(self._shop.cluster, f"{self._shop.app_id}.{self.number}") as writer:
            await self._catch_up()
            self._forget_runs()
            try:
                while True:
                    self._reconcile(writer)
                    with suppress(TimeoutError):  # not `wait_for`: Python 3.11's can lose a cancel
                        async with asyncio.timeout(TICK_SECONDS):
                            await self._something_new.wait()
                    self._something_new.clear()
            finally:
                await self._stop_runs()

    async def _catch_up(self) -> None:
        """Take over the events that no agent has handed in yet, and decide the commands that no event tells of yet.

        The cursors in those commands are what is committed. A table may be older for one job than for another, so
        where the commands begin is what the latest event says, and no job.
        """
        cluster, group = self._shop.cluster, self._shop.app_id
        if self._next_event is None:
            (self._next_event,) = await committed_offsets(cluster, group, JOBS_EVENTS.name, [self.number])
        answered = -1
        async with PartitionReader(cluster, JOBS_EVENTS.name, self.number, max(self._next_event - 1, 0)) as events:
            async for record in events.records():
                if event := decode_event(record.value):
                    self.fold(record.offset, event)
                    answered = event.command_offset
        async with PartitionReader(cluster, JOBS_COMMANDS.name, self.number, answered + 1) as commands:
            async for record in commands.records():
                self._decide(record)

    def _decide(self, record: LogRecord) -> None:
        try:
            command = decode_job_command(record.key, record.value, self.number, self._shop.partitions)
        except UnreadableCommandError:
            return  # control makes a dead letter of it
        state, _ = handle(self._job(command.job_id), command, record.offset)
        if isinstance(state, Job):
            told = self._told.get(state.job_id)
            if told is None or told.seq < state.seq:
                self._ahead[state.job_id] = state
                self._look_at(state)

    def _job(self, job_id: str) -> JobState:
        return self._ahead.get(job_id) or self._told.get(job_id) or NoJob(job_id)

    def _look_at(self, job: Job) -> None:
        self._alarms.set(job)
        self._touch(job.job_id)

    def _touch(self, job_id: str) -> None:
        self._touched.add(job_id)
        self._something_new.set()

    def _reconcile(self, writer: GroupCommit) -> None:
        writer.check()
        touched, self._touched = self._touched, set()
        for job_id in touched:
            self._reconcile_job(job_id, writer)
        now = self._shop.clock()
        for job_id in [each for each, (due, _) in self._refused.items() if due <= now]:
            self._tell_of_refusal(job_id, self._refused.pop(job_id)[1], writer)
        for job_id, command in islice(self._alarms.due(now), ALARMS_AT_A_TIME):
            self._submit(command(**stamp(job_id, "clock", self._shop.clock)), writer)
        for report in self._unattended.due(now, lambda job_id: stamp(job_id, "runner", self._shop.clock)):
            self._submit(report, writer)

    def _reconcile_job(self, job_id: str, writer: GroupCommit) -> None:
        job = self._job(job_id)
        if isinstance(job, Job) and is_pushed(job.provider, job.job_type):
            self._unattended.look_at(job)
            return
        wanted = isinstance(job, Job) and isinstance(job.phase, Running)
        if job_id in self._runs:
            run, task = self._runs[job_id]
            if not (wanted and _same_run(run.job, job)):
                task.cancel()  # its end touches the job, so that it is looked at again
        elif wanted and isinstance(job, Job) and not self._waits(job):
            self._start(job, writer)

    def _waits(self, job: Job) -> bool:
        """Whether the next run has to wait until what the latest one has reported comes back as events."""
        return self._ended.get(job.job_id) == job.run or job.report < self._submitted.get(job.job_id, 0)

    def _tell_of_refusal(self, job_id: str, refusal: CommandRefused, writer: GroupCommit) -> None:
        """Make an error of a refused report that its job would wait for for ever."""
        job = self._job(job_id)
        if job_id in self._runs or not (isinstance(job, Job) and isinstance(job.phase, Running) and self._waits(job)):
            return
        self._ended[job_id], self._submitted[job_id] = job.run, job.report
        error = ReportError(
            **stamp(job_id, "runner", self._shop.clock),
            run=job.run,
            fault="entrepot",
            advice="retry",
            code="report_refused",
            params=caused_by(refusal.code, refusal.params),
        )
        self._submit(error, writer)

    def _submit(self, command: JobCommand, writer: GroupCommit) -> None:
        writer.submit([command_record(command, self.number)])

    def _start(self, job: Job, writer: GroupCommit) -> None:
        async def submit(records: Sequence[ProducerRecord]) -> None:
            await asyncio.shield(writer.submit(records))  # a cancelled run leaves what it handed over to be committed

        around = RunContext(self._shop.limits, self._shop.clock, self.number, self._shop.partitions, submit)
        run = Run(job, around)
        task = asyncio.create_task(self._drive(run), name=f"run {job.run} of job {job.job_id}")
        self._runs[job.job_id] = (run, task)
        task.add_done_callback(lambda _: self._note_end(run))  # also of a run that is cancelled before it begins

    async def _drive(self, run: Run) -> None:
        try:
            async with self._shop.slots:
                await run.drive()
            self._ended[run.job.job_id] = run.job.run
        except (FencedError, UnknownOutcomeError) as error:
            _log.info("the run of job %s ends with its writer: %s", run.job.job_id, error)

    def _note_end(self, run: Run) -> None:
        """Let the next run begin where this one's reports leave the job: they have to come back as events first."""
        self._submitted[run.job.job_id] = run.report
        del self._runs[run.job.job_id]
        self._touch(run.job.job_id)

    def _forget_runs(self) -> None:
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        # The number of the latest report that a run handed to the writer, or that no event tells of yet.
        self._submitted = {each.job_id: each.report for each in self._ahead.values()}
        self._ended: dict[str, int] = {}  # the latest run that has told its end; it isn't started again
        self._refused: dict[str, tuple[datetime, CommandRefused]] = {}  # a report, and when to look whether that hurts
        self._touched |= self._told.keys() | self._ahead.keys()

    async def _stop_runs(self) -> None:
        tasks = [task for _, task in self._runs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _same_run(one: Job, other: JobState) -> bool:
    return isinstance(other, Job) and (one.run, one.configuration_version) == (other.run, other.configuration_version)
