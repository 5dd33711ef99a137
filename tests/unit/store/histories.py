"""Histories of jobs as `jobs.events` holds them: made by the real rules from a seed, with gaps between offsets."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from app.store.models import EventRecord
from projections.jobs.decide import handle
from projections.jobs.evolve import evolve
from projections.jobs.state import Job, JobState, NoJob
from schemas.commands import (
    ConfigureJob,
    Counts,
    CreateJob,
    EditCursor,
    JobCommand,
    KillJob,
    PauseJob,
    PurgeJob,
    RenameJob,
    ReportError,
    ReportProgress,
    ReportRateLimit,
    RestoreJob,
    ResumeJob,
    RunJob,
    WakeJob,
)
from schemas.policies import DEFAULT_RETRY, ONCE, Cadence
from schemas.wire.codec import encode

START = datetime(2026, 11, 3, 14, 0, tzinfo=UTC)
EVERY_HOUR = Cadence(kind="interval", every_seconds=3_600)
STREAMS = ("orders", "contacts")


@dataclass
class Partition:
    """One partition of `jobs.events`, written by deciding commands."""

    jobs: dict[str, JobState] = field(default_factory=dict)
    records: list[EventRecord] = field(default_factory=list)
    at: datetime = START
    step: int = 2  # from one offset to the next

    def send(self, asked: type[JobCommand], job_id: str = "job-1", /, **facts: Any) -> list[EventRecord]:
        """Decide a command; return the records of its events."""
        sent = sum(each.event.job_id == job_id for each in self.records)
        who = {"job_id": job_id, "command_id": f"{job_id}/{sent}/{asked.__name__}/{self.at}", "issued_at": self.at}
        command = asked(**who, **{"issued_by": "user:ada", **facts})  # type: ignore[arg-type]  # any command's own facts
        state = self.jobs.get(job_id, NoJob(job_id))
        added = []
        for event in handle(state, command, len(self.records))[1]:
            state = evolve(state, event)
            offset = self.records[-1].offset + self.step if self.records else 5
            added.append(EventRecord(offset, event, encode(event)))
            self.records.append(added[-1])
        self.jobs[job_id] = state
        return added

    def create(self, job_id: str = "job-1", **facts: Any) -> list[EventRecord]:
        known = {"provider": "csv", "job_type": "file", "kind": "import", "name": job_id.title(), "cadence": EVERY_HOUR}
        return self.send(CreateJob, job_id, **{**known, **facts})

    def report(self, job_id: str = "job-1", **facts: Any) -> list[EventRecord]:
        job = self.job(job_id)
        known = {
            "run": job.run,
            "report": job.report + 1,
            "cursor": '{"row":7}',
            "stream": "orders",
            "lane": "backfill",
        }
        counts = Counts(read=10, accepted=9, rejected=1)
        return self.send(ReportProgress, job_id, **{**known, "counts": counts, "pass_done": False, **facts})

    def job(self, job_id: str = "job-1") -> Job:
        state = self.jobs[job_id]
        assert isinstance(state, Job)
        return state

    def later(self, **span: float) -> None:
        self.at += timedelta(**span)


def history(seed: int, commands: int = 150, jobs: int = 6) -> Partition:
    """Random lives of some jobs, mixed into one partition."""
    chance = random.Random(seed)
    partition = Partition()
    for _ in range(commands):
        partition.later(seconds=chance.choice((0, 1, 40, 3_000, 86_400)))
        if chance.random() < 0.03:
            partition.later(days=90)
        _step(partition, f"job-{chance.randrange(jobs)}", chance)
    return partition


def _step(partition: Partition, job_id: str, chance: random.Random) -> None:
    state = partition.jobs.get(job_id, NoJob(job_id))
    if isinstance(state, NoJob):
        if chance.random() < 0.2:
            partition.send(PauseJob, job_id)  # refused: there is no such job
        partition.create(job_id, start=chance.random() < 0.9, provider=chance.choice(("csv", "http")))
        return
    run = {"run": state.run}
    partition.later(seconds=chance.choice((0, 5)))
    match chance.randrange(9):
        case 0 | 1 | 2:
            counts = Counts(read=chance.randrange(9), accepted=chance.randrange(9))
            done = {"pass_done": chance.random() < 0.5, "stream": chance.choice(STREAMS)}
            partition.report(job_id, counts=counts, **done)
        case 3:
            partition.send(WakeJob, job_id)
        case 4:
            advice = chance.choice(("retry", "retry", "fix_configuration"))
            partition.send(
                ReportError, job_id, fault="network", advice=advice, code="timed_out", params={"url": "x.at"}, **run
            )
        case 5:
            partition.send(ReportRateLimit, job_id, code="429", params={}, retry_after_seconds=60.0, **run)
        case 6:
            partition.send(chance.choice((PauseJob, ResumeJob, RunJob, ResumeJob)), job_id)
        case 7:
            _edit(partition, job_id, chance)
        case _:
            partition.send(chance.choice((KillJob, RestoreJob, PurgeJob, PurgeJob)), job_id)


def _edit(partition: Partition, job_id: str, chance: random.Random) -> None:
    match chance.randrange(3):
        case 0:
            partition.send(RenameJob, job_id, name=f"Name {chance.randrange(99)}", description="of a person")
        case 1:
            partition.send(ConfigureJob, job_id, configuration='{"a":1}', cadence=ONCE, retry=DEFAULT_RETRY)
        case _:
            partition.send(EditCursor, job_id, cursor='{"row":1}')


def batches(records: Sequence[EventRecord], seed: int) -> Iterator[Sequence[EventRecord]]:
    """Cut records into micro-batches as a crashing projector reads them: some begin again further back."""
    chance = random.Random(seed)
    start = 0
    while start < len(records):
        stop = start + chance.randrange(1, 40)
        yield records[max(0, start - chance.choice((0, 0, 1, 25))) : stop]
        start = stop
