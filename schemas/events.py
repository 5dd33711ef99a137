"""The events of jobs, the public contract of `jobs.events`: past tense and frozen.

Consumers drop events whose `seq` is not greater than the last one of the job, and rely on nothing else for order. A
`CommandRefused` for a job that doesn't exist has `seq` 0 and is not part of a history.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from schemas.coded import Params
from schemas.commands import Advice, Counts, Fault
from schemas.policies import Cadence, RetryPolicy

NAMESPACE: Final = "entrepot.jobs.events"

StartReason = Literal["created", "resumed", "run_now", "woke"]
SleepReason = Literal["cadence", "error_backoff", "rate_limit", "blackout_window"]
FailReason = Literal["errors_too_long", "incurable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """The envelope of every event."""

    event_id: str  # UUIDv5 of the command ID and the index of the event among the events of the command
    job_id: str
    seq: int  # numbers the events of a job from 1 without gaps
    occurred_at: datetime  # UTC; never before the previous event
    command_id: str
    command_offset: int  # of the command in its partition of jobs.commands
    actor: str
    rules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCreated(Event):
    """A job was created. A `draft` is paused until it is started."""

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
    """The name or the description was changed."""

    name: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobConfigured(Event):
    """The configuration was replaced by version `version`."""

    version: int
    configuration: str
    cadence: Cadence
    retry: RetryPolicy
    reverted_from: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStarted(Event):
    """Run `run` was started."""

    run: int
    reason: StartReason


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgressed(Event):
    """Records up to `cursor` were committed. `imbalance` is 0 unless the counts of the connector are inconsistent."""

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
class JobQueued(Event):
    """Run `run` has waited for a free slot for at least five seconds; shorter waits are not reported."""

    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobDequeued(Event):
    """Run `run` no longer waits for a free slot."""

    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSynced(Event):
    """A pass reached the end of the source. `counts` are of the whole pass."""

    run: int
    counts: Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class JobErrored(Event):
    """A run stopped on an error, the `consecutive`th since the last success; the first one was at `first_error_at`.

    That time is shifted by waits for rate limits and blackout windows, which don't count as failing. `detail` is the
    message of the provider, without secrets.
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
    """The job sleeps until `sleep_until`. `code` and `params` describe the error or rate limit, if any.

    The inputs of the back-off are included, so that other policies can be simulated on history.
    """

    reason: SleepReason
    sleep_until: datetime
    code: str = ""
    params: Params = field(default_factory=dict)
    backoff_ceiling_seconds: float | None = None  # the upper bound of the full jitter
    retry_after_seconds: float | None = None  # as requested by the provider, limited to 0 to 30 days


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFailed(Event):
    """The job gave up and requires a user. `code` and `params` describe the last error."""

    reason: FailReason
    code: str
    params: Params
    first_error_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPaused(Event):
    """A user paused the job, until `until` if set."""

    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResumed(Event):
    """A user or the end of a timed pause resumed the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCompleted(Event):
    """The job finished its configured work."""

    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKilled(Event):
    """A user archived the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRestored(Event):
    """A user restored the job; it is paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCursorEdited(Event):
    """A user overwrote the cursor.

    The edit consumes the report number `report`, so that a late report can't undo it.
    """

    cursor: str
    previous: str
    report: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPurged(Event):
    """The retention of 90 days expired. The job is removed from all views; its events stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRefused(Event):
    """A command was refused. `code` is stable; `allowed` lists the commands allowed now."""

    command: str
    code: str
    params: Params
    allowed: tuple[str, ...]
    revision: int


JobEvent = (
    JobCreated | JobRenamed | JobConfigured | JobStarted | JobProgressed | JobSynced | JobErrored | JobSlept
    | JobFailed | JobPaused | JobResumed | JobCompleted | JobKilled | JobRestored | JobCursorEdited | JobPurged
    | CommandRefused | JobQueued | JobDequeued
)  # fmt: skip
