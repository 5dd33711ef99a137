"""`given(...).when(...).then(...)`: build a job from commands and check the events of the last command."""

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from projections.jobs.decide import handle
from projections.jobs.evolve import evolve
from projections.jobs.state import Job
from schemas.coded import Param
from schemas.commands import Command, Counts, CreateJob, ReportError, ReportProgress, ReportRateLimit
from schemas.events import CommandRefused, Event, JobEvent
from schemas.policies import BlackoutWindow, Cadence

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)  # a Monday
JOB = "orders"
ENVELOPE = {field.name for field in fields(Event)}
LUNCH = BlackoutWindow(start="12:00", end="14:00")
HOURLY = Cadence(kind="interval", every_seconds=3600)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = datetime(1970, 1, 1, tzinfo=UTC)  # placeholder for the scenario's current time


@dataclass(frozen=True)
class Scenario:
    """A job after some commands, and the events of the last command."""

    state: Job | None
    events: tuple[JobEvent, ...] = ()
    sent: int = 0
    at: datetime = START

    @property
    def job(self) -> Job:
        assert isinstance(self.state, Job)
        return self.state

    def when(self, *commands: Command) -> "Scenario":
        scenario = self
        for command in commands:
            scenario = scenario._handle(command)
        return scenario

    def _handle(self, command: Command) -> "Scenario":
        """Handle one command; fill in its id and time unless they are given."""
        stamped = replace(
            command,
            command_id=command.command_id or f"command-{self.sent}",
            issued_at=self.at if command.issued_at == NOW else command.issued_at,
        )
        events = handle(self.state, stamped, self.sent)[1]  # type: ignore[arg-type]  # commands of jobs only
        state = self.state
        for event in events:
            state = evolve(state, event)
        return Scenario(state, events, self.sent + 1, max(self.at, stamped.issued_at))

    def then(self, *expected: Event) -> "Scenario":
        """Check that the last command produced these events; envelopes are not compared."""
        assert [without_envelope(event) for event in self.events] == [without_envelope(event) for event in expected]
        return self

    def refused(self, code: str, /, **params: Param) -> "Scenario":
        """Check that the last command was refused with this code and at least these parameters."""
        (event,) = self.events
        assert isinstance(event, CommandRefused)
        assert event.code == code
        assert event.params.items() >= params.items()
        return self

    def later(self, by: timedelta) -> "Scenario":
        return replace(self, at=self.at + by)


def without_envelope(event: Event) -> tuple[str, dict[str, Any]]:
    payload = {field.name: getattr(event, field.name) for field in fields(event) if field.name not in ENVELOPE}
    return type(event).__name__, payload


def a(command: type[Command], **payload: Any) -> Any:
    """Build a command; `when` fills in its id and time."""
    envelope = {"command_id": "", "job_id": JOB, "issued_at": NOW, "issued_by": "user:ada"}
    return command(**envelope | payload)


def an(event: type[Event], **payload: Any) -> Any:
    """Build an expected event; its envelope is a placeholder."""
    envelope = {
        "event_id": "", "job_id": JOB, "seq": 0, "occurred_at": START, "command_id": "", "command_offset": 0,
        "actor": "", "rules": 1,
    }  # fmt: skip
    return event(**envelope | payload)


def creation(**overrides: Any) -> CreateJob:
    return a(CreateJob, **{"provider": "file", "job_type": "import", "kind": "import", "name": "Orders"} | overrides)


def progress(report: int, **overrides: Any) -> ReportProgress:
    payload = {
        "run": 1, "report": report, "cursor": '{"row": 10}', "counts": Counts(read=10, accepted=10), "stream": "orders",
        "lane": "realtime", "pass_done": False,
    }  # fmt: skip
    return a(ReportProgress, **payload | overrides)


def error(run: int = 1, **overrides: Any) -> ReportError:
    payload = {"run": run, "fault": "provider", "advice": "retry", "code": "provider_down", "params": {"status": 503}}
    return a(ReportError, **payload | overrides)


def rate_limit(run: int = 1, seconds: float = 60.0) -> ReportRateLimit:
    return a(ReportRateLimit, run=run, code="slow_down", params={"status": 429}, retry_after_seconds=seconds)


def no_job() -> Scenario:
    return Scenario(None)


def given(*commands: Command) -> Scenario:
    """A job after these commands; a default import is created first unless the first command creates one."""
    first = () if commands and isinstance(commands[0], CreateJob) else (creation(),)
    return no_job().when(*first, *commands)
