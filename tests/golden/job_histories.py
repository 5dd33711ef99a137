"""Fixed, realistic sequences of job commands. Their events are stored as golden files and never change."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from projections.jobs.decide import handle, next_timer
from projections.jobs.evolve import evolve
from projections.jobs.state import Job
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
    ReportQueued,
    ReportRateLimit,
    RestoreJob,
    ResumeJob,
    RunJob,
    WakeJob,
)
from schemas.events import JobEvent
from schemas.policies import DEFAULT_RETRY, ONCE, BlackoutWindow, Cadence, RetryPolicy

START = datetime(2026, 3, 27, 22, 15, 0, 500_000, tzinfo=UTC)
NIGHTLY = Cadence(
    kind="cron",
    cron="30 2 * * *",
    time_zone="Europe/Berlin",
    blackout_windows=(BlackoutWindow(start="03:00", end="04:30"),),
)


class RecordedJob:
    """A job with its recorded commands and events. Time advances by a second per command."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        self.state: Job | None = None
        self.at = START
        self.commands: list[JobCommand] = []
        self.events: list[JobEvent] = []

    def send(self, kind: type[Command], /, by: str = "user:ada", **fields: Any) -> None:
        number = len(self.commands)
        command: Any = kind(
            command_id=str(UUID(int=number + 1)),
            job_id=self.job_id,
            issued_at=self.at,
            issued_by=by,
            seed=(number * 6_364_136_223_846_793_005 + 1_442_695_040_888_963_407) % 2**63,
            rules=1,
            **fields,
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

    def create(self, **fields: Any) -> None:
        defaults = {"provider": "file", "job_type": "import", "kind": "import", "name": "Orders"}
        self.send(CreateJob, **defaults | {"configuration": '{"path":"orders.csv"}'} | fields)

    def progress(self, *, done: bool = False, accepted: int = 100) -> None:
        job = self.job
        counts = Counts(read=accepted + 3, accepted=accepted, rejected=1, duplicate=1, omitted=1)
        fields = {"cursor": f'{{"row":{103 * (job.report + 1)}}}', "counts": counts, "pass_done": done}
        fields |= {"run": job.run, "report": job.report + 1, "bytes_read": 4096, "bytes_total": 65_536}
        self.send(ReportProgress, by="runner", stream="orders", lane="realtime", **fields)

    def error(self, advice: str = "retry", **fields: Any) -> None:
        defaults = {"run": self.job.run, "fault": "provider", "code": "server_error"}
        defaults["params"] = {"url": "https://shop.example/orders", "status": 503, "reason": ""}
        self.send(ReportError, by="runner", advice=advice, **defaults | fields)

    def fire_timer(self) -> None:
        timer = next_timer(self.state)
        assert timer
        self.at = max(self.at, timer[0])
        self.send(timer[1], by="scheduler")


def completes_once() -> RecordedJob:
    """Import a file, rename the job during the import, and import the file again."""
    history = RecordedJob("job-once")
    history.create(description="every order since 2013")
    history.progress()
    history.send(RenameJob, name="Old orders", description="")
    history.progress(done=True)
    history.send(RunJob)
    history.progress(done=True, accepted=0)
    return history


def nightly_over_a_clock_change() -> RecordedJob:
    """Run every night by cron in Berlin, with a blackout window, across the change to summer time."""
    history = RecordedJob("job-nightly")
    history.create(cadence=NIGHTLY, run_now=True)
    history.progress(done=True)
    for _ in range(3):
        history.fire_timer()
        while history.job.status == "Sleeping":
            history.fire_timer()
        history.progress(done=True)
    return history


def fails_after_ten_hours() -> RecordedJob:
    """Fail after ten hours of provider errors, with a rate limit in between, and resume successfully."""
    history = RecordedJob("job-failing")
    history.create(cadence=Cadence(kind="continuous", every_seconds=300))
    history.progress(done=True)
    history.fire_timer()
    while history.job.status != "Failed":
        history.error(retry_after_seconds=5400.0 if history.job.run == 4 else None)
        if history.job.status == "Sleeping":
            history.fire_timer()
        if history.job.run == 7:
            fields = {"run": 7, "code": "rate_limited", "params": {"status": 429}, "retry_after_seconds": 1800.0}
            history.send(ReportRateLimit, by="runner", **fields)
            history.fire_timer()
    history.send(ResumeJob)
    history.progress(done=True)
    history.error()
    return history


def edited_killed_and_purged() -> RecordedJob:
    """Draft, edits, pauses, an edited cursor, late reports, refusals, kill, restore, and purge after 90 days."""
    history = RecordedJob("job-minds")
    history.send(KillJob)
    history.create(start=False)
    history.create()
    history.send(ConfigureJob, configuration='{"path":"b.csv"}', cadence=ONCE, retry=RetryPolicy(cap_seconds=60))
    history.send(ConfigureJob, configuration="[]", cadence=ONCE, retry=DEFAULT_RETRY)
    history.send(ConfigureJob, configuration="{}", cadence=ONCE, retry=DEFAULT_RETRY, expected_revision=1)
    history.send(ConfigureJob, configuration='{"path":"a.csv"}', cadence=ONCE, retry=DEFAULT_RETRY, reverted_from=1)
    history.send(ResumeJob)
    history.progress()
    history.send(PauseJob, until=history.at + timedelta(hours=1))
    history.progress(done=True)
    history.send(EditCursor, cursor='{"row":0}')
    history.fire_timer()
    history.send(WakeJob, by="scheduler")
    history.at -= timedelta(minutes=5)  # a clock that steps back
    history.progress()
    history.error(advice="fix_configuration", fault="configuration", code="duplicate_header", params={"column": "id"})
    history.send(KillJob)
    history.send(RestoreJob)
    history.send(ResumeJob)
    history.send(KillJob)
    history.send(PurgeJob, by="scheduler")
    history.fire_timer()
    history.send(RestoreJob)
    return history


def waits_for_a_slot() -> RecordedJob:
    """A run that waits for a slot, gets one, waits again and is paused meanwhile; its late report is refused."""
    history = RecordedJob("job-queued")
    history.create()
    for queued in (True, False, True):
        history.send(ReportQueued, by="runner", run=1, queued=queued)
    history.send(PauseJob)
    history.send(ReportQueued, by="runner", run=1, queued=False)
    history.send(ResumeJob)
    history.progress(done=True)
    return history


JOB_HISTORIES = (
    completes_once,
    nightly_over_a_clock_change,
    fails_after_ten_hours,
    edited_killed_and_purged,
    waits_for_a_slot,
)
