"""Random commands drive a job and an independent model; both must agree after every command."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from projections.jobs.decide import handle, next_timer
from projections.jobs.state import Job, Paused, Sleeping
from projections.jobs.transitions import TRANSITIONS, allowed_user_commands
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
    ReportQueued,
    ReportRateLimit,
    RestoreJob,
    ResumeJob,
    RunJob,
    WakeJob,
)
from schemas.events import CommandRefused
from schemas.policies import DEFAULT_RETRY, BlackoutWindow, Cadence
from tests.laws.job_model import NINETY_DAYS, TEN_HOURS, Model
from tests.laws.job_strategies import JOB, evolve_all

MORNING = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
CADENCES = {
    "once": Cadence(),
    "continuous": Cadence(kind="continuous", every_seconds=7),
    "interval": Cadence(kind="interval", every_seconds=3 * 3600),
    "cron": Cadence(kind="cron", cron="0 6 * * *"),
}
NOON = (BlackoutWindow(start="12:00", end="14:00"),)
STEPS = st.sampled_from(
    [timedelta(0), timedelta(seconds=1), timedelta(minutes=20), timedelta(hours=5), timedelta(hours=-2)]
)


ALLOWED = {
    "RenameJob": {"Running", "Sleeping", "Failed", "Paused", "Completed"},
    "PauseJob": {"Running", "Sleeping", "Paused"},
    "ResumeJob": {"Failed", "Paused"},
    "RunJob": {"Sleeping", "Completed"},
    "KillJob": {"Running", "Sleeping", "Failed", "Paused", "Completed"},
    "RestoreJob": {"Killed"},
    "EditCursor": {"Paused"},
}


def allowed(name: str) -> Callable[[Any], bool]:
    return lambda machine: machine.model.status in ALLOWED[name]


class JobLife(RuleBasedStateMachine):
    """One job; every rule sends a command to the code and applies the same step to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.state: Job | None = None
        self.model = Model(MORNING)
        self.clock = MORNING
        self.sent = 0
        self.last: JobCommand | None = None
        self.offset = -1

    def send(self, kind: type[JobCommand], /, **fields: Any) -> list[Any]:
        """Send a command and return its events."""
        self.sent += 1
        self.last = kind(
            command_id=str(UUID(int=self.sent)), job_id=JOB, issued_at=self.clock, issued_by="user:test", **fields
        )
        return self.deliver(self.last)

    def deliver(self, command: JobCommand) -> list[Any]:
        self.offset += 1
        before = self.state.status if self.state else "Absent"
        events = list(handle(self.state, command, self.offset)[1])
        self.state = evolve_all(self.state, tuple(events))
        note(f"{command} → {[type(event).__name__ for event in events]}")
        if events and not isinstance(events[0], CommandRefused):
            self.check_transition(before, type(command).__name__)
        return events

    def check_transition(self, before: str, command: str) -> None:
        assert isinstance(self.state, Job)
        targets = TRANSITIONS[before][command]
        assert self.state.status in (targets or (before,))

    def expect(self, events: list[Any], expected: list[str]) -> None:
        outcomes = [event.code if isinstance(event, CommandRefused) else type(event).__name__ for event in events]
        assert outcomes == expected

    @initialize(
        cadence=st.sampled_from(sorted(CADENCES)),
        blackout=st.booleans(),
        start=st.sampled_from([True, True, False]),
        run_now=st.booleans(),
        at=st.sampled_from([MORNING, MORNING + timedelta(hours=3)]),
    )
    def create(self, *, cadence: str, blackout: bool, start: bool, run_now: bool, at: datetime) -> None:
        self.clock = at
        self.model.advance(at)
        self.expect(self.send(KillJob), ["no_such_job"])
        events = self.send(
            CreateJob,
            provider="file",
            job_type="import",
            kind="import",
            name="Orders",
            cadence=self.cadence_of(cadence, blackout=blackout),
            start=start,
            run_now=run_now,
        )
        self.model.cadence, self.model.blackout, self.model.anchor = cadence, blackout, self.model.now
        self.model.enter("Running" if start else "Paused")
        self.expect(events, ["JobCreated", *(self.model.enter_schedule(run_now=run_now) if start else [])])

    def cadence_of(self, kind: str, *, blackout: bool) -> Cadence:
        plain = CADENCES[kind]
        return Cadence(
            kind=plain.kind,
            every_seconds=plain.every_seconds,
            cron=plain.cron,
            blackout_windows=NOON if blackout else (),
        )

    @rule(step=STEPS)
    def time_passes(self, step: timedelta) -> None:
        self.clock = max(self.clock + step, MORNING - timedelta(days=1))

    @rule(early=st.sampled_from([timedelta(0), timedelta(0), timedelta(seconds=1), timedelta(hours=-3)]))
    def the_scheduler_acts_on_its_timer(self, early: timedelta) -> None:
        timer = next_timer(self.state)
        if timer:
            self.clock = timer[0] - early
            self.model.advance(self.clock)
            self.expect(self.send(timer[1]), self.model.wake() if timer[1] is WakeJob else self.model.purge())

    @rule(early=st.sampled_from([timedelta(0), timedelta(hours=1), timedelta(microseconds=1)]))
    @precondition(lambda self: self.model.status in {"Failed", "Paused", "Completed", "Killed"})
    def the_job_is_inactive_for_ninety_days(self, early: timedelta) -> None:
        assert self.model.since
        self.clock = self.model.since + NINETY_DAYS - early
        self.model.advance(self.clock)
        self.expect(self.send(PurgeJob), self.model.purge())

    @rule(kind=st.sampled_from([WakeJob, PurgeJob]))
    def the_scheduler_acts_at_any_time(self, kind: type) -> None:
        self.model.advance(self.clock)
        self.expect(self.send(kind), self.model.wake() if kind is WakeJob else self.model.purge())

    @rule(kind=st.sampled_from([RenameJob, PauseJob, ResumeJob, RunJob, KillJob, RestoreJob, EditCursor]))
    def a_user_sends_a_command_that_is_not_allowed(self, kind: type) -> None:
        if self.model.status in ALLOWED[kind.__name__]:
            return
        self.model.advance(self.clock)
        fields = {"cursor": "{}"} if kind is EditCursor else {}
        fields |= {"name": "Orders", "description": ""} if kind is RenameJob else {}
        self.expect(self.send(kind, **fields), ["not_allowed"])

    @rule()
    @precondition(allowed("RenameJob"))
    def rename(self) -> None:
        self.model.advance(self.clock)
        self.model.revision += 1
        self.expect(self.send(RenameJob, name="Orders again", description=""), ["JobRenamed"])

    @rule(cadence=st.sampled_from(sorted(CADENCES)), blackout=st.booleans(), stale=st.booleans())
    @precondition(allowed("RenameJob"))
    def configure(self, *, cadence: str, blackout: bool, stale: bool) -> None:
        self.model.advance(self.clock)
        events = self.send(
            ConfigureJob,
            configuration="{}",
            cadence=self.cadence_of(cadence, blackout=blackout),
            retry=DEFAULT_RETRY,
            expected_revision=self.model.revision - stale,
        )
        if stale:
            self.expect(events, ["revision_mismatch"])
            return
        self.model.revision += 1
        self.expect(events, self.model.configure(cadence, blackout=blackout))

    @rule(length=st.sampled_from([None, timedelta(hours=1), timedelta(days=200), timedelta(0)]))
    @precondition(allowed("PauseJob"))
    def pause(self, length: timedelta | None) -> None:
        self.model.advance(self.clock)
        until = None if length is None else self.model.now + length
        events = self.send(PauseJob, until=until)
        self.expect(events, ["until_in_the_past" if length == timedelta(0) else "JobPaused"])
        if length != timedelta(0):
            self.model.enter("Paused")
            self.model.pause_until = until

    @rule(run_now=st.booleans())
    @precondition(allowed("ResumeJob"))
    def resume(self, *, run_now: bool) -> None:
        self.model.advance(self.clock)
        self.expect(self.send(ResumeJob, run_now=run_now), self.model.resume(run_now=run_now))

    @rule()
    @precondition(allowed("RunJob"))
    def run_now(self) -> None:
        self.model.advance(self.clock)
        self.expect(self.send(RunJob), self.model.start(respect_blackout=False))

    @rule(confirmed=st.sampled_from([True, False, False]))
    @precondition(allowed("KillJob"))
    def kill(self, *, confirmed: bool) -> None:
        if confirmed:
            self.model.advance(self.clock)
            self.expect(self.send(KillJob), ["JobKilled"])
            self.model.enter("Killed")

    @rule()
    @precondition(allowed("RestoreJob"))
    def restore(self) -> None:
        self.model.advance(self.clock)
        self.expect(self.send(RestoreJob), ["JobRestored"])
        self.model.enter("Paused")

    @rule(row=st.integers(0, 99))
    @precondition(allowed("EditCursor"))
    def edit_cursor(self, row: int) -> None:
        self.model.advance(self.clock)
        self.model.cursor = f'{{"row": {row}}}'
        self.model.reports += 1
        self.model.revision += 1
        self.expect(self.send(EditCursor, cursor=self.model.cursor), ["JobCursorEdited"])

    @rule(
        accepted=st.integers(0, 5), done=st.booleans(), late=st.integers(0, 2), skip=st.sampled_from([0, 0, 0, 1, -1])
    )
    def report_progress(self, *, accepted: int, done: bool, late: int, skip: int) -> None:
        self.model.advance(self.clock)
        run, report = max(self.model.run - late // 2, 0), self.model.reports + 1 + skip
        cursor = f'{{"row": {self.sent}}}'
        events = self.send(
            ReportProgress,
            run=run,
            report=report,
            cursor=cursor,
            counts=Counts(read=accepted + 1, accepted=accepted, rejected=1),
            stream="orders",
            lane="realtime",
            pass_done=done,
        )
        expected = (
            ["not_allowed"]
            if self.model.status == "Purged"
            else self.model.progress(run=run, report=report, accepted=accepted, cursor=cursor, done=done)
        )
        self.expect(events, expected)

    @rule(
        when=st.sampled_from(["now", "now", "a second before ten hours", "at ten hours"]),
        advice=st.sampled_from(["retry", "retry", "retry", "restore_source", "renew_authorization"]),
        retry_after=st.sampled_from([None, None, None, 0.0, 90.0, 50_000.0]),
        seed=st.integers(0, 2**63 - 1),
        stale=st.integers(0, 5).map(lambda number: number == 0),
    )
    @precondition(lambda self: self.model.status == "Running")
    def report_error(self, *, when: str, advice: str, retry_after: float | None, seed: int, stale: bool) -> None:
        if self.model.errors and when != "now":
            left = TEN_HOURS - self.model.failing - timedelta(seconds=when != "at ten hours")
            self.clock = max(self.clock, self.model.now + left)
        self.model.advance(self.clock)
        events = self.send(
            ReportError,
            run=self.model.run - stale,
            fault="provider",
            advice=advice,
            code="provider_down",
            params={"status": 503},
            retry_after_seconds=retry_after,
            seed=seed,
        )
        if stale:
            self.expect(events, ["stale_run"])
            return
        self.expect(events, self.model.fail(advice))
        if self.model.status == "Sleeping":
            shortest, longest = self.model.retry_range(advice, retry_after)
            assert self.model.now + shortest <= events[-1].sleep_until <= self.model.now + longest
            self.model.sleep_until = events[-1].sleep_until

    @rule(retry_after=st.sampled_from([0.0, 60.0, 7_200.0]))
    @precondition(lambda self: self.model.status == "Running")
    def report_rate_limit(self, retry_after: float) -> None:
        self.model.advance(self.clock)
        events = self.send(
            ReportRateLimit,
            run=self.model.run,
            code="slow_down",
            params={"status": 429},
            retry_after_seconds=retry_after,
        )
        self.model.enter("Sleeping", "rate_limit")
        self.model.sleep_until = self.model.now + timedelta(seconds=max(retry_after, 1))
        self.expect(events, ["JobSlept"])

    @rule(queued=st.booleans())
    @precondition(lambda self: self.model.status == "Running")
    def report_queued(self, *, queued: bool) -> None:
        self.model.advance(self.clock)
        events = self.send(ReportQueued, run=self.model.run, queued=queued)
        self.expect(events, ["JobQueued" if queued else "JobDequeued"])

    @rule(kind=st.sampled_from([ReportError, ReportRateLimit]))
    @precondition(lambda self: self.model.status != "Running")
    def a_report_arrives_too_late(self, kind: type) -> None:
        self.model.advance(self.clock)
        fields: dict[str, Any] = {"run": self.model.run, "code": "c", "params": {}, "retry_after_seconds": 5.0}
        fields |= {"fault": "network", "advice": "retry"} if kind is ReportError else {}
        self.expect(self.send(kind, **fields), ["not_allowed"])

    @rule(same_offset=st.booleans())
    @precondition(lambda self: self.last is not None)
    def the_last_command_is_repeated(self, *, same_offset: bool) -> None:
        assert self.last
        self.offset -= same_offset
        self.expect(self.deliver(self.last), [])

    @invariant()
    def job_and_model_agree(self) -> None:
        if self.state is None:
            return
        job, model = self.state, self.model
        assert (job.status, job.phase.since) == (model.status, model.since)
        assert (job.run, job.report, job.cursor) == (model.run, model.reports, model.cursor)
        assert (job.total_counts.accepted, job.revision) == (model.accepted, model.revision)
        assert (job.streak.consecutive if job.streak else 0) == model.errors
        assert job.updated_at == model.now
        if model.pass_began:
            assert job.pass_counts.accepted == model.pass_accepted
        if isinstance(job.phase, Sleeping):
            assert (job.phase.reason, job.phase.until) == (model.reason, model.sleep_until)
        if isinstance(job.phase, Paused):
            assert job.phase.until == model.pause_until

    @invariant()
    def the_allowed_commands_are_offered(self) -> None:
        possible = {name for name, statuses in ALLOWED.items() if self.model.status in statuses}
        assert {*allowed_user_commands(self.model.status)} - {"ConfigureJob"} == possible


TestJobLife = JobLife.TestCase
TestJobLife.settings = settings(max_examples=4 * settings().max_examples)
