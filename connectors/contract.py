"""The interface between connectors and the runner. Independent of Kafka, stores and jobs.

A connector module declares, in this order: `Config` (a pydantic model that forbids unknown fields; each of its own
fields has a title, a description and examples), `_job_types`, `check`, `read`, and finally `CONNECTOR`. Its docstring
says what it is, and where its interface is documented. `docs/connectors/countdown.py` is a complete example.

A connector resumes from a cursor: a small JSON object that it defines itself and that is stored with the job. Reading
continues exactly after the last committed batch. It may be cancelled at any time, and each batch is fetched in a task
of its own. Blocking calls belong in `connectors.kit.threads.in_thread`.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from connectors.redaction import redact_credentials
from schemas.coded import CodedError, Params

Cursor = Mapping[str, Any]
LaneName = Literal["realtime", "backfill"]
JobKind = Literal["import", "export", "enrichment"]


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that can't be parsed, and why. `position` locates it for the user: `row 12`, `object 7`."""

    position: str
    code: str
    params: Params
    excerpt: bytes = b""  # the first 1,024 bytes of the raw record
    detail: str = ""  # the message of a parser or the provider, without secrets


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one stream, and the cursor after the last of them.

    Invariant: `read == count + len(rejects) + rejects_dropped + duplicate + omitted`.
    """

    stream: str
    lane: LaneName
    source: str  # where the records come from, for display; never with credentials
    payload: bytes  # NDJSON: `count` lines, one JSON object each, each terminated by "\n"
    count: int
    timestamps: bytes  # `count` little-endian int64, microseconds since 1970 UTC; b"" without a timestamp field
    first_row: int  # ordinal of the first record of the batch in its source, from 1, rejects included
    read: int
    cursor: Cursor
    rejects: tuple[Reject, ...] = ()
    rejects_dropped: int = 0  # rejected without a dead letter: `on_error` is `drop`
    duplicate: int = 0
    omitted: int = 0
    bytes_read: int = 0  # of the source, since the previous batch
    bytes_total: int | None = None  # of the whole source, if known


def _ignore(_count: int) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator allows a connector to access, and how much it may use."""

    file_roots: tuple[Path, ...] = ()
    allow_private_networks: bool = False  # permit loopback, link-local and private addresses as HTTP targets
    batch_bytes: int = 4 * 1024 * 1024
    record_bytes: int = 8 * 1024 * 1024
    http_timeout_seconds: float = 60.0
    batch_seconds: float = 10.0  # afterwards the complete records of a slow source are yielded
    source_timeout_seconds: float = 60.0  # the runner gives up on a source without a batch or the minimum rate
    source_bytes_per_second: int = 1024  # the minimum rate
    # Call it with the number of bytes of a source as they arrive; otherwise only batches count as progress.
    received: Callable[[int], None] = _ignore
    clock: Callable[[], float] = time.time  # seconds since 1970; the reference for future timestamps
    recurring: bool = False  # the job runs again: an incomplete record at the end can wait for the next pass
    rereads: bool = False  # a source that was replaced is read from its beginning; otherwise it is an error


@dataclass(frozen=True, slots=True)
class ConfigurationProblem:
    """A problem of a configuration. `field` is a JSON pointer such as `/delimiter`, or "" for the whole object."""

    field: str
    code: str
    params: Params


CheckCursor = Callable[[Cursor], tuple[ConfigurationProblem, ...]]  # validates a cursor edited by a user


def allow_reset_only(cursor: Cursor) -> tuple[ConfigurationProblem, ...]:
    """Accept only the empty cursor: the default for a connector that doesn't validate its cursors."""
    return tuple(ConfigurationProblem(f"/{name}", "cursor_not_editable", {}) for name in cursor)


class Read(Protocol):
    """Read from `cursor` ({} is the start) to the current end of the source."""

    def __call__(self, config: Any, cursor: Cursor, limits: Limits) -> AsyncIterator[Batch]:
        """Yield batches in source order. Raise a `ConnectorError` on failure."""
        ...


class Check(Protocol):
    """Test the configuration against the provider without importing data. An empty tuple means success."""

    async def __call__(self, config: Any, limits: Limits) -> tuple[ConfigurationProblem, ...]:
        """Return all problems. Raise a `ConnectorError` when the provider can't be reached."""
        ...


@dataclass(frozen=True, slots=True)
class JobType:
    """An operation that a provider offers to jobs.

    A type without `read` is *pushed*: a request brings the data and drives the job; no runner does.
    """

    name: str
    kind: JobKind
    title: str
    description: str
    config: type[BaseModel]
    check: Check
    read: Read | None
    check_cursor: CheckCursor = allow_reset_only

    @property
    def pushed(self) -> bool:
        """Whether the data comes in a request, instead of being fetched."""
        return self.read is None


@dataclass(frozen=True, slots=True)
class Connector:
    """A provider: its name in URLs, its description, the documentation of its interface, and its job types."""

    name: str
    title: str
    description: str
    documentation: str
    job_types: tuple[JobType, ...]
    redact: Callable[[Mapping[str, Any]], Mapping[str, Any]] = redact_credentials  # masks what has to be sealed
    sentences: Mapping[str, str] = field(default_factory=dict)  # by code; goes before the service's own table

    def job_type(self, name: str) -> JobType | None:
        """Return the job type with this name, or None."""
        return next((job_type for job_type in self.job_types if job_type.name == name), None)


class ConnectorError(CodedError):
    """A connector can't continue. The subclass says what happens next.

    The sentence of `code` is in the connector's `sentences`, or in `app.sentences` for the codes of shared parts.
    """


class RetryLater(ConnectorError):
    """The provider or the network failed; a retry can help. `retry_after` (seconds) overrides the back-off."""

    def __init__(
        self, code: str, params: Params | None = None, *, detail: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(code, params, detail=detail)
        self.retry_after = retry_after


class RateLimited(ConnectorError):
    """The provider asks the client to wait `retry_after` seconds. This is not an error of the job."""

    def __init__(self, code: str, params: Params | None = None, *, retry_after: float, detail: str = "") -> None:
        super().__init__(code, params, detail=detail)
        self.retry_after = retry_after


class FixConfiguration(ConnectorError):
    """A permanent error: a user has to change the configuration of the job, or the source."""


class RestoreSource(FixConfiguration):
    """The source is missing, or may not be read. A job that runs again tries again; for others a user has to act."""


class RenewAuthorization(ConnectorError):
    """A permanent error: a user has to renew the authorization."""
