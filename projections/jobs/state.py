"""The state of a job: the fields that every job has, and its phase. Each phase is a type with fields of its own."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, get_args

from projections.jobs.cadence import is_frequent
from projections.jobs.retry import Streak
from schemas.coded import Params
from schemas.commands import NO_COUNTS, Counts
from schemas.events import SleepReason
from schemas.policies import DEFAULT_RETRY, ONCE, Cadence, RetryPolicy

VisibleStatus = Literal["Running", "Sleeping", "Failed", "Paused", "Completed", "Killed"]
Status = Literal[VisibleStatus, "Purged"]
VISIBLE_STATUSES: Final[tuple[VisibleStatus, ...]] = get_args(VisibleStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """In a run, or ready for one: a runner may start it at any time."""

    since: datetime
    queued_at: datetime | None = None  # while the run waits for a free slot
    status: Literal["Running"] = "Running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleeping:
    """Waiting until a time, for a reason such as the schedule or the back-off after an error."""

    since: datetime
    reason: SleepReason
    until: datetime
    code: str = ""  # of the error or rate limit that caused it
    params: Params = field(default_factory=dict)
    status: Literal["Sleeping"] = "Sleeping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Stopped by an error that is not retried, or no longer; needs a manual resume."""

    since: datetime
    code: str
    params: Params = field(default_factory=dict)
    status: Literal["Failed"] = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """Paused by a user, until a time if `until` is set; or a draft that was never started."""

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
    """Archived by a user; can be restored until it is purged."""

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
    kind: str  # import, export or enrichment
    name: str
    description: str
    created_at: datetime
    updated_at: datetime  # time of the latest event; never goes back
    configuration: str  # JSON
    configuration_version: int = 1
    revision: int = 1  # incremented by every edit
    cadence: Cadence = ONCE
    retry: RetryPolicy = DEFAULT_RETRY
    run: int = 0  # the number of the latest run; 0 before the first one
    pass_started_at: datetime | None = None  # None between passes; a pass reads the source once, in one run or more
    last_pass_started_at: datetime | None = None  # start of the latest pass, also between passes
    report: int = 0  # the number of the latest report; runs and passes do not reset it
    cursor: str = "{}"  # JSON; {} is the start of the source
    pass_counts: Counts = NO_COUNTS
    total_counts: Counts = NO_COUNTS
    synced_at: datetime | None = None  # end of the latest complete pass
    streak: Streak | None = None  # of errors since the last success
    bytes_read: int = 0  # of the source, in this pass
    bytes_total: int | None = None  # of the source; None if unknown
    recent_commands: tuple[str, ...] = ()  # the latest ids, so that a command sent twice is ignored

    @property
    def status(self) -> Status:
        """The name of the phase."""
        return self.phase.status


def phase_of(job: Job | None) -> str:
    """Return the name of a job's phase; `Absent` before it is created."""
    return "Absent" if job is None else job.status


def is_polled(job: Job) -> bool:
    """Whether a job is between frequent passes: the runner polls its source, and wakes it when there is news."""
    return isinstance(job.phase, Sleeping) and job.phase.reason == "cadence" and is_frequent(job.cadence)


def next_wake(job: Job) -> datetime | None:
    """Return when a job resumes automatically; None if it is not waiting for a time, but for news or a user."""
    match job.phase:
        case Sleeping(until=until) | Paused(until=until) if not is_polled(job):
            return until
        case _:
            return None
