"""The jobs of one owned partition, folded from their events, and their runs.

Level-triggered: after any change, `_reconcile` compares the desired runs with the actual ones and starts or cancels.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from app.kafka.clients import Cluster
from app.kafka.partition_reader import LogRecord, PartitionReader, committed_offsets
from app.kafka.producer_record import ProducerRecord
from app.kafka.transactions import FencedError, GroupCommit, UnknownOutcomeError
from app.records.commands import UnreadableCommandError, decode_job_command
from app.records.encoding import encoded
from app.records.envelopes import stamp
from app.records.events import decode_event
from app.runner.run import Run, RunContext
from app.runner.slots import TurnOver
from app.runner.stalled_uploads import StalledUploads
from app.runner.timers import Timers
from app.tasks import cancel_all
from connectors.catalog import is_pushed
from projections.jobs.cadence import blackout_until, poll_interval
from projections.jobs.decide import handle
from projections.jobs.evolve import evolve
from projections.jobs.state import Job, Running, is_polled
from schemas.coded import caused_by
from schemas.commands import JobCommand, ReportError, ReportProgress, ReportQueued, ReportRateLimit, WakeJob
from schemas.events import CommandRefused, JobEvent
from schemas.topics import JOBS_COMMANDS, JOBS_EVENTS

APP_ID: Final = "entrepot.runner"
TICK_INTERVAL_SECONDS: Final = 0.25
MAX_TIMERS_PER_TICK: Final = 1_000  # keeps ticks short and the load of control bounded
REFUSAL_DELAY: Final = timedelta(seconds=10)
QUEUE_NOTICE_SECONDS: Final = 5.0  # shorter waits for a slot are not reported
REPORTS: Final = frozenset(report.__name__ for report in (ReportProgress, ReportError, ReportRateLimit))

_log = logging.getLogger(__name__)


class OwnedPartition:
    """The jobs of one partition, and their runs while `work` is active."""

    def __init__(self, number: int, cluster: Cluster, context: RunContext, jobs: Iterable[Job]) -> None:
        self.number = number
        self._cluster = cluster
        self._context = context
        self._jobs = {job.job_id: job for job in jobs}  # folded from events
        self._pending: dict[str, Job] = {}  # including commands whose events are still to come
        self._next_event: int | None = None  # offset; None before the first event
        self._gaps: set[str] = set()
        self._timers = Timers()
        self._stalled_uploads = StalledUploads()
        self._dirty: set[str] = set()
        self._changed = asyncio.Event()
        self._reset_runs()
        for job in self._jobs.values():
            self._timers.set(job)

    def fold(self, offset: int, event: JobEvent) -> Job | None:
        """Apply an event, unless it is a duplicate, and return the job."""
        self._next_event = max(offset + 1, self._next_event or 0)
        before = self._jobs.get(event.job_id)
        job = evolve(before, event)
        if job is before:
            self._note_gap(before, event)
        elif job:
            self._jobs[job.job_id] = job
            if job.seq >= self._pending.get(job.job_id, job).seq:
                self._pending.pop(job.job_id, None)
                self._schedule(job)
            if isinstance(event, CommandRefused) and event.command in REPORTS:
                self._note_refusal(event)
        return job

    def _note_refusal(self, refusal: CommandRefused) -> None:
        """Cancel the run: its further reports would be refused as well, unless the report was of an earlier run."""
        self._refused[refusal.job_id] = (self._context.clock() + REFUSAL_DELAY, refusal)
        if refusal.job_id in self._runs:
            self._runs[refusal.job_id][1].cancel()  # it restarts once its reports have come back as events

    def _note_gap(self, job: Job | None, event: JobEvent) -> None:
        """Log once per job that its events have a gap, for example after the deletion of a changelog."""
        last_seq = job.seq if job else 0
        if event.seq > last_seq + 1 and event.job_id not in self._gaps:
            self._gaps.add(event.job_id)
            _log.error(
                "%s/%d: received event %d of job %s, expected %d; the job isn't run. Stop the runners, and reset their "
                "consumer group %s on this topic to the earliest offset",
                *(JOBS_EVENTS.name, self.number, event.seq, event.job_id, last_seq + 1, APP_ID),
            )

    async def work(self) -> None:
        """Run the jobs until cancelled or until the writer fails. Can be called again after a failure.

        Raises:
            FencedError: another worker owns the partition.
            UnknownOutcomeError, KafkaError, OSError: the broker failed; the next call determines what was committed.

        """
        # Entering fences the previous owner, so that it can commit nothing more.
        async with GroupCommit(self._cluster, f"{APP_ID}.{self.number}") as writer:
            await self._catch_up()
            self._reset_runs()
            try:
                while True:
                    self._reconcile(writer)
                    with suppress(TimeoutError):  # not `wait_for`: in Python 3.11 it can lose a cancellation
                        async with asyncio.timeout(TICK_INTERVAL_SECONDS):
                            await self._changed.wait()
                    self._changed.clear()
            finally:
                await self._stop_runs()

    async def _catch_up(self) -> None:
        """Fold the events that the agent has not received yet, and decide the commands that have no event yet.

        These commands contain the committed cursors. The table may be older for one job than for another, so the first
        command is determined by the latest event, not by a job.
        """
        cluster = self._cluster
        if self._next_event is None:
            (self._next_event,) = await committed_offsets(cluster, APP_ID, JOBS_EVENTS.name, [self.number])
        decided = -1
        async with PartitionReader(cluster, JOBS_EVENTS.name, self.number, max(self._next_event - 1, 0)) as events:
            async for record in events.records():
                if event := decode_event(record.value):
                    self.fold(record.offset, event)
                    decided = event.command_offset
        async with PartitionReader(cluster, JOBS_COMMANDS.name, self.number, decided + 1) as commands:
            async for record in commands.records():
                self._decide(record)

    def _decide(self, record: LogRecord) -> None:
        try:
            command = decode_job_command(record.key, record.value, self.number, self._context.partitions)
        except UnreadableCommandError:
            return  # the control role writes a dead letter
        job, _ = handle(self._job(command.job_id), command, record.offset)
        if job:
            folded = self._jobs.get(job.job_id)
            if folded is None or folded.seq < job.seq:
                self._pending[job.job_id] = job
                self._schedule(job)

    def _job(self, job_id: str) -> Job | None:
        return self._pending.get(job_id) or self._jobs.get(job_id)

    def _schedule(self, job: Job) -> None:
        self._timers.set(job)
        self._mark_dirty(job.job_id)

    def _mark_dirty(self, job_id: str) -> None:
        self._dirty.add(job_id)
        self._changed.set()

    def _reconcile(self, writer: GroupCommit) -> None:
        writer.check()
        dirty, self._dirty = self._dirty, set()
        for job_id in dirty:
            self._reconcile_job(job_id, writer)
        for job_id, (run, _) in self._runs.items():
            run.supervise()
            self._report_queue(job_id, run, writer)
        for poll, _ in self._polls.values():
            poll.supervise()
        now = self._context.clock()
        for job_id in [job_id for job_id, (due, _) in self._refused.items() if due <= now]:
            self._report_refusal(job_id, self._refused.pop(job_id)[1], writer)
        for job_id, command in islice(self._timers.due(now), MAX_TIMERS_PER_TICK):
            job = self._job(job_id)
            if job and is_polled(job) and not blackout_until(job.cadence, now):
                self._poll(job)
            else:
                self._submit(command(**stamp(job_id, "scheduler", self._context.clock)), writer)
        for job_id in self._take_news():
            self._submit(WakeJob(**stamp(job_id, "scheduler", self._context.clock)), writer)
        for report in self._stalled_uploads.due(now, lambda job_id: stamp(job_id, "runner", self._context.clock)):
            self._submit(report, writer)

    def _reconcile_job(self, job_id: str, writer: GroupCommit) -> None:
        job = self._job(job_id)
        if job and is_pushed(job.provider, job.job_type):
            self._stalled_uploads.update(job)
            return
        running = job if job and isinstance(job.phase, Running) else None
        if job_id in self._polls and not (job and is_polled(job)):
            self._polls[job_id][1].cancel()
        if job_id in self._runs:
            run, task = self._runs[job_id]
            if not (running and _same_run(run.job, running)):
                task.cancel()  # its end marks the job as dirty, which reconciles it again
        elif running and not self._awaits_echo(running):
            self._start(running, writer)

    def _awaits_echo(self, job: Job) -> bool:
        """Whether the next run has to wait until the reports of the latest run have come back as events."""
        return self._ended.get(job.job_id) == job.run or job.report < self._submitted.get(job.job_id, 0)

    def _report_refusal(self, job_id: str, refusal: CommandRefused, writer: GroupCommit) -> None:
        """Report an error for a refused report: the job would wait forever for its event."""
        job = self._job(job_id)
        if job_id in self._runs or not (job and isinstance(job.phase, Running) and self._awaits_echo(job)):
            return
        self._ended[job_id], self._submitted[job_id] = job.run, job.report
        error = ReportError(
            **stamp(job_id, "runner", self._context.clock),
            run=job.run,
            fault="entrepot",
            advice="retry",
            code="report_refused",
            params=caused_by(refusal.code, refusal.params),
        )
        self._submit(error, writer)

    def _report_queue(self, job_id: str, run: Run, writer: GroupCommit) -> None:
        """Report that a run waits for a slot, or no longer."""
        job = self._job(job_id)
        if job is None or not isinstance(job.phase, Running):
            return
        queued = run.turn.waiting_seconds >= QUEUE_NOTICE_SECONDS
        if queued != self._queued.get(job_id, job.phase.queued_at is not None):
            self._queued[job_id] = queued
            stamped = stamp(job_id, "runner", self._context.clock)
            self._submit(ReportQueued(**stamped, run=run.job.run, queued=queued), writer)

    def _submit(self, command: JobCommand, writer: GroupCommit) -> None:
        writer.submit([encoded(JOBS_COMMANDS, command, command.job_id, self.number)])

    def _start(self, job: Job, writer: GroupCommit) -> None:
        run = Run(job, self._context, writer.submit)
        task = asyncio.create_task(self._drive(run), name=f"run {job.run} of job {job.job_id}")
        self._runs[job.job_id] = (run, task)
        task.add_done_callback(lambda _: self._note_end(run))  # also called if the run is cancelled before it starts

    def _poll(self, job: Job) -> None:
        """Look for news in the source of a job, beside its log: while nothing happens, nothing is written."""
        if job.job_id in self._polls:
            return
        poll = Run(job, self._context, _submit_nothing)
        task = asyncio.create_task(poll.poll(), name=f"poll of job {job.job_id}")
        self._polls[job.job_id] = (poll, task)
        task.add_done_callback(lambda _: self._changed.set())

    def _take_news(self) -> list[str]:
        """Return the jobs whose polls found news, and postpone those that found none."""
        news = []
        for job_id, (poll, task) in list(self._polls.items()):
            if not task.done():
                continue
            del self._polls[job_id]
            job = self._job(job_id)
            if task.cancelled() or not (job and is_polled(job)):
                continue
            if task.result():
                news.append(job_id)
            else:
                self._timers.postpone(job_id, self._context.clock() + poll_interval(poll.job.cadence))
        return news

    async def _drive(self, run: Run) -> None:
        try:
            await run.drive()
            self._ended[run.job.job_id] = run.job.run
        except TurnOver:
            pass  # it queues again
        except (FencedError, UnknownOutcomeError) as error:
            _log.info("run of job %s stopped with its writer: %s", run.job.job_id, error)

    def _note_end(self, run: Run) -> None:
        """Allow the next run, which has to wait until the reports of this one have come back as events."""
        self._submitted[run.job.job_id] = run.report
        del self._runs[run.job.job_id]
        self._queued.pop(run.job.job_id, None)
        self._mark_dirty(run.job.job_id)

    def _reset_runs(self) -> None:
        self._runs: dict[str, tuple[Run, asyncio.Task[None]]] = {}
        self._polls: dict[str, tuple[Run, asyncio.Task[bool]]] = {}
        self._queued: dict[str, bool] = {}  # as last reported for the current runs
        # The latest report that was submitted, or that has no event yet.
        self._submitted = {job.job_id: job.report for job in self._pending.values()}
        self._ended: dict[str, int] = {}  # the latest run that has reported its end; it isn't started again
        self._refused: dict[
            str, tuple[datetime, CommandRefused]
        ] = {}  # when to check whether a refused report blocks its job
        self._dirty |= self._jobs.keys() | self._pending.keys()

    async def _stop_runs(self) -> None:
        await cancel_all(*(task for _, task in (*self._runs.values(), *self._polls.values())))


async def _submit_nothing(_records: Sequence[ProducerRecord]) -> None:
    raise AssertionError("a poll writes nothing")


def _same_run(one: Job, other: Job) -> bool:
    return (one.run, one.configuration_version) == (other.run, other.configuration_version)
