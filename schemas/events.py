"""What happened to a job: the public contract of `jobs.events`. Past tense, frozen.

Consumers drop `seq <= seen` for a job and may rely on nothing else for order. `CommandRefused` for a job that does
not exist has `seq` 0 and belongs to no history.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from schemas.coded import Params
from schemas.commands import Advice, Counts, Fault
from schemas.policies import Cadence, RetryPolicy

NAMESPACE: Final = "entrepot.jobs.events"

StartReason = Literal["created", "resumed", "run_now", "woke"]
SleepReason = Literal["cadence", "error_backoff", "rate_limit", "quiet_window"]
FailReason = Literal["errors_too_long", "incurable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The envelope that every event has."""

    event_id: str  # UUIDv5 of the command id and the event's place among the command's events
    job_id: str
    seq: int  # counts a job's events from 1 without a gap
    occurred_at: datetime  # UTC; never before the event before it
    command_id: str
    command_offset: int  # of the command in its partition of jobs.commands
    actor: str
    rules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCreated(Event):
    """A job came to be; a `draft` waits, paused, to be started."""

    provider: str
    job_type: str
    kind: str
    name: str
    description: str
    configuration: str
    cadence: Cadence
    retry: RetryPolicy
    draft: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRenamed(Event):
    """People call it something else."""

    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobConfigured(Event):
    """It has a new configuration, version `version`."""

    version: int
    configuration: str
    cadence: Cadence
    retry: RetryPolicy
    reverted_from: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted(Event):
    """Run `run` began."""

    run: int
    reason: StartReason


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgressed(Event):
    """Records up to `cursor` are committed. `imbalance` is 0 unless the connector's counts don't add up."""

    run: int
    report: int
    cursor: str
    counts: Counts
    imbalance: int
    stream: str
    lane: str
    bytes_read: int
    bytes_total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSynced(Event):
    """Everything that there was is in; `counts` are of the whole pass."""

    run: int
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class JobErrored(Event):
    """A run stopped on an error: the `consecutive`th since the last success, the first of them at `first_error_at`.

    That moment is moved by the time spent waiting for rate limits and quiet windows, which is not failing. `detail` is
    what the provider said, without secrets.
    """

    run: int
    fault: Fault
    advice: Advice
    code: str
    params: Params
    detail: str
    consecutive: int
    first_error_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSlept(Event):
    """The job waits until `sleep_until`; `code` and `params` are those of the error or rate limit, if there was one.

    The values behind a back-off are given, so that another policy can be tried on the past.
    """

    reason: SleepReason
    sleep_until: datetime
    code: str = ""
    params: Params = field(default_factory=dict)
    backoff_ceiling_seconds: float | None = None  # what the full jitter was drawn below
    retry_after_seconds: float | None = None  # what the provider asked for, within 0 to 30 days


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed(Event):
    """The job gave up and waits for a person; `code` and `params` are those of the last error."""

    reason: FailReason
    code: str
    params: Params
    first_error_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPaused(Event):
    """A person paused it, until `until` if that is given."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResumed(Event):
    """A person, or the end of a timed pause, let it go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCompleted(Event):
    """It did all that it was configured to do."""

    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKilled(Event):
    """A person put it away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRestored(Event):
    """A person brought it back; it is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCursorEdited(Event):
    """A person moved where it goes on.

    The move takes the report number `report`, so that a late report can't undo it.
    """

    cursor: str
    previous: str
    report: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPurged(Event):
    """It rested for 90 days and is gone from all views; its events stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRefused(Event):
    """A command changed nothing; `code` is stable and `allowed` lists the commands that would do now."""

    command: str
    code: str
    params: Params
    allowed: tuple[str, ...]
    revision: int


JobEvent = (
    JobCreated | JobRenamed | JobConfigured | JobStarted | JobProgressed | JobSynced | JobErrored | JobSlept
    | JobFailed | JobPaused | JobResumed | JobCompleted | JobKilled | JobRestored | JobCursorEdited | JobPurged
    | CommandRefused
)  # fmt: skip
