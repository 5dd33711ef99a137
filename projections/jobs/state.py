"""The state of a job: fields that all jobs have, and the phase, each phase a type of its own."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from projections.jobs.retry import Streak
from schemas.coded import Params
from schemas.commands import NONE, Counts
from schemas.events import SleepReason
from schemas.policies import DEFAULT_RETRY, ONCE, Cadence, RetryPolicy

Status = Literal["Running", "Sleeping", "Failed", "Paused", "Completed", "Killed", "Purged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Working, or free to work."""

    since: datetime
    status: Literal["Running"] = "Running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleeping:
    """Waiting for a reason, until a time."""

    since: datetime
    reason: SleepReason
    until: datetime
    code: str = ""  # of the error or rate limit that caused it
    params: Params = field(default_factory=dict)
    status: Literal["Sleeping"] = "Sleeping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Retries have ended; a person has to act."""

    since: datetime
    code: str
    params: Params = field(default_factory=dict)
    status: Literal["Failed"] = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """Paused by a user, perhaps until a time; or a draft that was never started."""

    since: datetime
    until: datetime | None = None
    draft: bool = False
    status: Literal["Paused"] = "Paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """Finished; there is no next run."""

    since: datetime
    status: Literal["Completed"] = "Completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """Archived by a user; can be restored."""

    since: datetime
    status: Literal["Killed"] = "Killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """Removed from all lists; only its counts remain. Final."""

    since: datetime
    status: Literal["Purged"] = "Purged"


Phase = Running | Sleeping | Failed | Paused | Completed | Killed | Purged


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The state of a job after its event `seq`."""

    job_id: str
    seq: int
    command_offset: int  # of the latest command that caused an event
    phase: Phase
    provider: str
    job_type: str
    kind: str
    name: str
    description: str
    created_at: datetime
    updated_at: datetime  # time of the latest event; never goes back
    configuration: str
    configuration_version: int = 1
    revision: int = 1  # incremented by every edit
    cadence: Cadence = ONCE
    retry: RetryPolicy = DEFAULT_RETRY
    run: int = 0
    pass_started_at: datetime | None = None  # of the present pass; a pass may take many runs
    report: int = 0
    cursor: str = "{}"
    pass_counts: Counts = NONE
    total_counts: Counts = NONE
    synced_at: datetime | None = None
    streak: Streak | None = None
    bytes_read: int = 0  # of the source, in this pass
    bytes_total: int | None = None
    recent_commands: tuple[str, ...] = ()  # the latest ids, so that a command sent twice is ignored

    @property
    def status(self) -> Status:
        """The name of the phase."""
        return self.phase.status


@dataclass(frozen=True, slots=True)
class NoJob:
    """No such job."""

    job_id: str


JobState = Job | NoJob


def next_wake(job: Job) -> datetime | None:
    """Return when a job resumes automatically; None when it runs or needs a manual resume."""
    match job.phase:
        case Sleeping(until=until) | Paused(until=until):
            return until
        case _:
            return None
