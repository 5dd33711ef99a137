"""Realistic sequences of commands, always the same. The events that they led to are stored and never changed."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from projections.jobs.decide import handle, next_timer
from projections.jobs.evolve import evolve
from projections.jobs.state import Job, JobState, NoJob
from schemas.commands import (
    Command,
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
from schemas.events import JobEvent
from schemas.policies import DEFAULT_RETRY, ONCE, Cadence, QuietWindow, RetryPolicy

START = datetime(2026, 3, 27, 22, 15, 0, 500_000, tzinfo=UTC)
NIGHTLY = Cadence(
    kind="cron", cron="30 2 * * *", time_zone="Europe/Berlin", quiet=(QuietWindow(start="03:00", end="04:30"),)
)
History = tuple[list[JobCommand], list[JobEvent]]


class Teller:
    """Issues commands one after another and keeps what came of them; every other command takes a second."""

    def __init__(self, job_id: str) -> None:
        self.state: JobState = NoJob(job_id)
        self.at = START
        self.commands: list[JobCommand] = []
        self.events: list[JobEvent] = []

    def send(self, kind: type[Command], /, by: str = "user:ada", **facts: Any) -> None:
        number = len(self.commands)
        command: Any = kind(
            command_id=str(UUID(int=number + 1)),
            job_id=self.state.job_id,
            issued_at=self.at,
            issued_by=by,
            seed=(number * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**63,
            rules=1,
            **facts,
        )
        self.commands.append(command)
        for event in handle(self.state, command, number)[1]:
            self.events.append(event)
            self.state = evolve(self.state, event)
        self.at += timedelta(seconds=1)

    @property
    def job(self) -> Job:
        assert isinstance(self.state, Job)
        return self.state

    def create(self, **facts: Any) -> None:
        plain = {"provider": "file", "job_type": "import", "kind": "import", "name": "Orders"}
        self.send(CreateJob, **plain | {"configuration": '{"path":"orders.csv"}'} | facts)

    def progress(self, *, done: bool = False, accepted: int = 100) -> None:
        job = self.job
        counts = Counts(read=accepted + 3, accepted=accepted, rejected=1, duplicate=1, omitted=1)
        facts = {"cursor": f'{{"row":{103 * (job.report + 1)}}}', "counts": counts, "pass_done": done}
        facts |= {"run": job.run, "report": job.report + 1, "bytes_read": 4096, "bytes_total": 65_536}
        self.send(ReportProgress, by="runner", stream="orders", lane="realtime", **facts)

    def error(self, advice: str = "retry", **facts: Any) -> None:
        plain = {"run": self.job.run, "fault": "provider", "code": "server_error"}
        plain["params"] = {"url": "https://shop.example/orders", "status": 503, "reason": ""}
        self.send(ReportError, by="runner", advice=advice, **plain | facts)

    def clock(self) -> None:
        look = next_timer(self.state)
        assert look
        self.at = max(self.at, look[0])
        self.send(look[1], by="scheduler")


def completes_once() -> Teller:
    """A file is imported, renamed meanwhile, and imported once more."""
    told = Teller("job-once")
    told.create(description="every order since 2013")
    told.progress()
    told.send(RenameJob, name="Old orders", description="")
    told.progress(done=True)
    told.send(RunJob)
    told.progress(done=True, accepted=0)
    return told


def nightly_over_a_clock_change() -> Teller:
    """Every night by cron in Berlin, with a quiet window, over the night when clocks go forward."""
    told = Teller("job-nightly")
    told.create(cadence=NIGHTLY)
    told.progress(done=True)
    for _ in range(3):
        told.clock()
        while told.job.status == "Sleeping":
            told.clock()
        told.progress(done=True)
    return told


def fails_after_ten_hours() -> Teller:
    """The provider is down for the night, with a rate limit in between; a person resumes, and it works."""
    told = Teller("job-failing")
    told.create(cadence=Cadence(kind="continuous", every_seconds=300))
    told.progress(done=True)
    told.clock()
    while told.job.status != "Failed":
        told.error(retry_after_seconds=5400.0 if told.job.run == 4 else None)
        if told.job.status == "Sleeping":
            told.clock()
        if told.job.run == 7:
            facts = {"run": 7, "code": "rate_limited", "params": {"status": 429}, "retry_after_seconds": 1800.0}
            told.send(ReportRateLimit, by="runner", **facts)
            told.clock()
    told.send(ResumeJob)
    told.progress(done=True)
    told.error()
    return told


def people_change_their_minds() -> Teller:
    """Draft, edits, pauses, an edited cursor, late reports, refusals, kill, restore, and the end after 90 days."""
    told = Teller("job-minds")
    told.send(KillJob)
    told.create(start=False)
    told.create()
    told.send(ConfigureJob, configuration='{"path":"b.csv"}', cadence=ONCE, retry=RetryPolicy(cap_seconds=60))
    told.send(ConfigureJob, configuration="[]", cadence=ONCE, retry=DEFAULT_RETRY)
    told.send(ConfigureJob, configuration="{}", cadence=ONCE, retry=DEFAULT_RETRY, expected_revision=1)
    told.send(ConfigureJob, configuration='{"path":"a.csv"}', cadence=ONCE, retry=DEFAULT_RETRY, reverted_from=1)
    told.send(ResumeJob)
    told.progress()
    told.send(PauseJob, until=told.at + timedelta(hours=1))
    told.progress(done=True)
    told.send(EditCursor, cursor='{"row":0}')
    told.clock()
    told.send(WakeJob, by="scheduler")
    told.at -= timedelta(minutes=5)  # a clock that steps back
    told.progress()
    told.error(advice="fix_configuration", fault="configuration", code="duplicate_header", params={"column": "id"})
    told.send(KillJob)
    told.send(RestoreJob)
    told.send(ResumeJob)
    told.send(KillJob)
    told.send(PurgeJob, by="scheduler")
    told.clock()
    told.send(RestoreJob)
    return told


HISTORIES = (completes_once, nightly_over_a_clock_change, fails_after_ten_hours, people_change_their_minds)
