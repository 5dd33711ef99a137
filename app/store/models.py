"""What the read store is asked and what it answers. Only data; every moment is in UTC."""

from dataclasses import dataclass
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
    """The cursor is not of this list: take `next_cursor` as it was given, with the same filter and sort, or none."""


class InvalidLimitError(ValueError):
    """A page has 1 to 1,000 items."""


class NewerViewsError(RuntimeError):
    """The views belong to a newer version of Entrepot: upgrade this process; until then it must not write to them."""


class BehindError(RuntimeError):
    """The new generation lacks events that the live one has: apply more of jobs.events, then swap again."""


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One record of `jobs.events`: where it stood, what it says, and its bytes as they were."""

    offset: int
    event: JobEvent
    value: bytes


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and where the next page begins; None: there is none."""

    items: tuple[T, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs; what is left empty does not narrow. Killed jobs show when `statuses` has Killed, purged never."""

    statuses: tuple[Status, ...] = ()
    provider: str = ""
    job_type: str = ""
    kind: str = ""
    text: str = ""  # somewhere in the name, the description or the id, in any case
    updated_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Sort:
    """The order of a list; jobs that are equal in it are ordered by id. Without a next wake a job comes last."""

    by: SortKey = "name"
    order: Order = "ascending"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which lines, `since` included and `until` not; what is left empty does not narrow."""

    job_id: str = ""
    kinds: tuple[LogKind, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    order: LogOrder = "newest_first"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricFilter:
    """Which counts: `since` included and `until` not, both widened to whole minutes."""

    since: datetime
    until: datetime
    job_id: str = ""
    provider: str = ""
    stream: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationVersion:
    """One configuration that a job has or had."""

    version: int
    configuration: str
    cadence: Cadence
    retry: RetryPolicy
    at: datetime
    by: str
    reverted_from: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event of a job, and where its record stands in `jobs.events`."""

    event: JobEvent
    partition: int
    offset: int
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDelta:
    """Messages of one stream that a lane has seen since it last said so."""

    stream: str
    lane: str
    count: int
    bytes: int
    last_message_at: datetime  # the newest timestamp of a message
    last_arrival_at: datetime  # when a message last came in
    fields: Sketch = b""  # of those of them that were looked at; empty: of none


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMapped:
    """How many messages of a job a lane is through with, and when it had told the profiles of the last of them."""

    job_id: str
    count: int
    at: datetime


@dataclass(frozen=True, slots=True)
class LaneSwitch:
    """Whether a lane is paused, and who said so last and when."""

    paused: bool
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamView:
    """All that was seen of one stream in one lane."""

    stream: str
    lane: str
    count: int
    bytes: int
    last_message_at: datetime
    last_arrival_at: datetime
