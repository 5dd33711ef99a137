"""Job histories as in `jobs.events`: decided by the production code from a random seed, with gaps between offsets."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from app.store.models import EventRecord
from projections.jobs.decide import handle
from projections.jobs.evolve import evolve
from projections.jobs.state import Job
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
    """One partition of `jobs.events`, filled by handling commands."""

    jobs: dict[str, Job | None] = field(default_factory=dict)
    records: list[EventRecord] = field(default_factory=list)
    at: datetime = START
    step: int = 2  # between offsets

    def send(self, kind: type[JobCommand], job_id: str = "job-1", /, **fields: Any) -> list[EventRecord]:
        """Decide a command; return the records of its events."""
        sent = sum(record.event.job_id == job_id for record in self.records)
        envelope = {"job_id": job_id, "command_id": f"{job_id}/{sent}/{kind.__name__}/{self.at}", "issued_at": self.at}
        command = kind(**envelope, **{"issued_by": "user:ada", **fields})  # type: ignore[arg-type]  # fields of several types
        state = self.jobs.get(job_id)
        added = []
        for event in handle(state, command, len(self.records))[1]:
            state = evolve(state, event)
            offset = self.records[-1].offset + self.step if self.records else 5
            added.append(EventRecord(offset, event, encode(event)))
            self.records.append(added[-1])
        self.jobs[job_id] = state
        return added

    def create(self, job_id: str = "job-1", **fields: Any) -> list[EventRecord]:
        defaults = {
            "provider": "csv",
            "job_type": "file",
            "kind": "import",
            "name": job_id.title(),
            "cadence": EVERY_HOUR,
            "run_now": True,
        }
        return self.send(CreateJob, job_id, **{**defaults, **fields})

    def report(self, job_id: str = "job-1", **fields: Any) -> list[EventRecord]:
        job = self.job(job_id)
        defaults = {
            "run": job.run,
            "report": job.report + 1,
            "cursor": '{"row":7}',
            "stream": "orders",
            "lane": "backfill",
        }
        counts = Counts(read=10, accepted=9, rejected=1)
        return self.send(ReportProgress, job_id, **{**defaults, "counts": counts, "pass_done": False, **fields})

    def job(self, job_id: str = "job-1") -> Job:
        state = self.jobs[job_id]
        assert isinstance(state, Job)
        return state

    def advance(self, **duration: float) -> None:
        self.at += timedelta(**duration)


def history(seed: int, commands: int = 150, jobs: int = 6) -> Partition:
    """Random commands for several jobs, mixed in one partition."""
    rng = random.Random(seed)
    partition = Partition()
    for _ in range(commands):
        partition.advance(seconds=rng.choice((0, 1, 40, 3_000, 86_400)))
        if rng.random() < 0.03:
            partition.advance(days=90)
        _step(partition, f"job-{rng.randrange(jobs)}", rng)
    return partition


def _step(partition: Partition, job_id: str, rng: random.Random) -> None:
    state = partition.jobs.get(job_id)
    if state is None:
        if rng.random() < 0.2:
            partition.send(PauseJob, job_id)  # refused: there is no such job
        partition.create(job_id, start=rng.random() < 0.9, provider=rng.choice(("csv", "http")))
        return
    run = {"run": state.run}
    partition.advance(seconds=rng.choice((0, 5)))
    match rng.randrange(9):
        case 0 | 1 | 2:
            counts = Counts(read=rng.randrange(9), accepted=rng.randrange(9))
            done = {"pass_done": rng.random() < 0.5, "stream": rng.choice(STREAMS)}
            partition.report(job_id, counts=counts, **done)
        case 3:
            partition.send(WakeJob, job_id)
        case 4:
            advice = rng.choice(("retry", "retry", "fix_configuration"))
            partition.send(
                ReportError, job_id, fault="network", advice=advice, code="timed_out", params={"url": "x.at"}, **run
            )
        case 5:
            partition.send(ReportRateLimit, job_id, code="429", params={}, retry_after_seconds=60.0, **run)
        case 6:
            partition.send(rng.choice((PauseJob, ResumeJob, RunJob, ResumeJob)), job_id)
        case 7:
            _edit(partition, job_id, rng)
        case _:
            partition.send(rng.choice((KillJob, RestoreJob, PurgeJob, PurgeJob)), job_id)


def _edit(partition: Partition, job_id: str, rng: random.Random) -> None:
    match rng.randrange(3):
        case 0:
            partition.send(RenameJob, job_id, name=f"Name {rng.randrange(99)}", description="written by hand")
        case 1:
            partition.send(ConfigureJob, job_id, configuration='{"a":1}', cadence=ONCE, retry=DEFAULT_RETRY)
        case _:
            partition.send(EditCursor, job_id, cursor='{"row":1}')


def batches(records: Sequence[EventRecord], seed: int) -> Iterator[Sequence[EventRecord]]:
    """Split records into micro-batches as a crashing projector reads them: some repeat earlier records."""
    rng = random.Random(seed)
    start = 0
    while start < len(records):
        stop = start + rng.randrange(1, 40)
        yield records[max(0, start - rng.choice((0, 0, 1, 25))) : stop]
        start = stop
