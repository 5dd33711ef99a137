"""The parameters and results of read store queries. Every instant is in UTC."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar

from app.sentences.job_log import LogKind
from projections.jobs.state import Status
from schemas.events import JobEvent
from schemas.policies import Cadence, RetryPolicy

T = TypeVar("T")

SortKey = Literal["name", "status", "created", "updated", "next_wake"]
Order = Literal["ascending", "descending"]
LogOrder = Literal["newest_first", "oldest_first"]

MAX_PAGE: Final = 1_000

Sketch = bytes  # what `FieldStats.to_json` gives


class InvalidCursorError(ValueError):
    """Invalid cursor: pass `next_cursor` unchanged, with the same filter and sort, or omit it."""


class InvalidLimitError(ValueError):
    """Invalid limit: a page has 1 to 1,000 items."""


class NewerViewsError(RuntimeError):
    """The views were written by a newer version of Entrepot: upgrade this process before it writes to them."""


class BehindError(RuntimeError):
    """The new generation lacks events that the live one has: apply more of jobs.events, then swap again."""


class StaleOwnerError(RuntimeError):
    """Another worker owns a partition of this process. Leave; the next owner resumes after what is counted."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One record of `jobs.events`: its offset, event, and original bytes."""

    offset: int
    event: JobEvent
    value: bytes


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and the cursor of the next page; None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """A filter of jobs; empty fields match all. Killed jobs match only if `statuses` has Killed, purged ones never."""

    statuses: tuple[Status, ...] = ()
    provider: str = ""
    job_type: str = ""
    kind: str = ""
    uploads: bool | None = None  # only uploads, or only other jobs
    text: str = ""  # contained in name, description or id, ignoring case
    reference: str = ""  # the name, ignoring case, or the beginning of the id
    updated_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sort:
    """The order of a list; ties are ordered by id. Jobs without a next wake come last."""

    by: SortKey = "name"
    order: Order = "ascending"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """A filter of log lines, `since` inclusive and `until` exclusive; empty fields match all."""

    job_id: str = ""
    kinds: tuple[LogKind, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    order: LogOrder = "newest_first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """How often something happened to jobs of a provider and type, ever: records, runs or retries, by outcome."""

    provider: str
    job_type: str
    measure: str
    outcome: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFilter:
    """A filter of counts: `since` inclusive and `until` exclusive, both widened to whole minutes."""

    since: datetime
    until: datetime
    job_id: str = ""
    provider: str = ""
    stream: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationVersion:
    """A present or past configuration of a job."""

    version: int
    configuration: str
    cadence: Cadence
    retry: RetryPolicy
    at: datetime
    by: str
    reverted_from: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event of a job, and the position of its record in `jobs.events`."""

    event: JobEvent
    partition: int
    offset: int
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDelta:
    """Messages of one stream that a lane has read since its last report."""

    stream: str
    lane: str
    count: int
    bytes: int
    last_message_at: datetime  # the newest timestamp of a message
    last_arrival_at: datetime  # arrival time of the newest message
    last_offset: int = -1  # of the last record with messages of the stream; -1: unknown
    fields: Sketch = b""  # of the sampled ones among them; empty: none
    blocked: Mapping[tuple[str, str], int] = field(default_factory=dict)  # identities by kind and folded value


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMapped:
    """The number of a job's messages that a lane has mapped, and when the last of them was sent to the profiles."""

    job_id: str
    count: int
    at: datetime


@dataclass(frozen=True, slots=True)
class LaneRejected:
    """The number of dead letters with one code that a lane has written."""

    lane: str
    code: str
    count: int


@dataclass(frozen=True, slots=True)
class LaneSwitch:
    """Whether a lane is paused, and the actor and time of the last switch."""

    paused: bool
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class BlockedIdentities:
    """The number of identities of a stream that had a blocked value."""

    lane: str
    kind: str
    value: str  # folded
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamView:
    """The counts of one stream in one lane."""

    stream: str
    lane: str
    count: int
    bytes: int
    last_message_at: datetime
    last_arrival_at: datetime
