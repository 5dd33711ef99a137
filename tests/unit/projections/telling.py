"""`given(...).when(...).then(...)`: commands make a job's history, and what the last one leads to is compared."""

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from projections.jobs.decide import decide
from projections.jobs.evolve import evolve
from projections.jobs.state import Job, JobState, NoJob
from schemas.coded import Param
from schemas.commands import Command, Counts, CreateJob, ReportError, ReportProgress, ReportRateLimit
from schemas.events import CommandRefused, Event, JobEvent
from schemas.policies import Cadence, QuietWindow

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)  # a Monday
JOB = "orders"
ENVELOPE = {each.name for each in fields(Event)}
LUNCH = QuietWindow(start="12:00", end="14:00")
HOURLY = Cadence(kind="interval", every_seconds=3600)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Told:
    """A job as the commands so far have made it, and the events of the last of them."""

    state: JobState
    events: tuple[JobEvent, ...] = ()
    sent: int = 0
    at: datetime = START

    @property
    def job(self) -> Job:
        assert isinstance(self.state, Job)
        return self.state

    def when(self, *commands: Command) -> "Told":
        told = self
        for command in commands:
            told = told._one(command)
        return told

    def _one(self, command: Command) -> "Told":
        """Number and date a command, unless it brings its own id and time."""
        stamped = replace(
            command,
            command_id=command.command_id or f"command-{self.sent}",
            issued_at=self.at if command.issued_at == NOW else command.issued_at,
        )
        events = decide(self.state, stamped, self.sent)  # type: ignore[arg-type]
        state = self.state
        for event in events:
            state = evolve(state, event)
        return Told(state, events, self.sent + 1, max(self.at, stamped.issued_at))

    def then(self, *expected: Event) -> "Told":
        """The last command led to these events; their envelopes are not looked at."""
        assert [plain(each) for each in self.events] == [plain(each) for each in expected]
        return self

    def refused(self, code: str, /, **params: Param) -> "Told":
        (event,) = self.events
        assert isinstance(event, CommandRefused)
        assert event.code == code
        assert event.params.items() >= params.items()
        return self

    def later(self, by: timedelta) -> "Told":
        return replace(self, at=self.at + by)


def plain(event: Event) -> tuple[str, dict[str, Any]]:
    facts = {each.name: getattr(event, each.name) for each in fields(event) if each.name not in ENVELOPE}
    return type(event).__name__, facts


NOW = datetime(1970, 1, 1, tzinfo=UTC)  # stands for the time of the story


def a(command: type[Command], **facts: Any) -> Any:
    envelope = {"command_id": "", "job_id": JOB, "issued_at": NOW, "issued_by": "user:ada"}
    return command(**envelope | facts)


def an(event: type[Event], **facts: Any) -> Any:
    """An event as it is expected; its envelope stands for any."""
    envelope = {
        "event_id": "", "job_id": JOB, "seq": 0, "occurred_at": START, "command_id": "", "command_offset": 0,
        "actor": "", "rules": 1,
    }  # fmt: skip
    return event(**envelope | facts)


def creation(**facts: Any) -> CreateJob:
    return a(CreateJob, **{"provider": "file", "job_type": "import", "kind": "import", "name": "Orders"} | facts)


def progress(report: int, **facts: Any) -> ReportProgress:
    known = {
        "run": 1, "report": report, "cursor": '{"row": 10}', "counts": Counts(read=10, accepted=10), "stream": "orders",
        "lane": "realtime", "pass_done": False,
    }  # fmt: skip
    return a(ReportProgress, **known | facts)


def error(run: int = 1, **facts: Any) -> ReportError:
    known = {"run": run, "fault": "provider", "advice": "retry", "code": "provider_down", "params": {"status": 503}}
    return a(ReportError, **known | facts)


def rate_limit(run: int = 1, seconds: float = 60.0) -> ReportRateLimit:
    return a(ReportRateLimit, run=run, code="slow_down", params={"status": 429}, retry_after_seconds=seconds)


def nothing() -> Told:
    return Told(NoJob(JOB))


def given(*commands: Command) -> Told:
    """A job that these commands have made; it is created by a plain import when they don't say how."""
    first = () if commands and isinstance(commands[0], CreateJob) else (creation(),)
    return nothing().when(*first, *commands)
