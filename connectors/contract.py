"""What a connector is: the words it shares with the runner. Knows no Kafka, no store and no job.

A connector module declares, in this order: `Config` (a pydantic model that forbids unknown fields; each of its own
fields has a title, a description and examples), `_job_types`, `check`, `read`, and last one `CONNECTOR`. Its docstring
says what it is, and where its interface is documented. `docs/connectors/countdown.py` is a whole one.

Reading is driven from a cursor: a small JSON object the connector invents, stored with the job, and handed back to go
on exactly behind the last batch that was kept.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from connectors.redaction import without_credentials

Cursor = Mapping[str, Any]
Lane = Literal["realtime", "backfill"]
Kind = Literal["import", "export", "enrichment"]


@dataclass(frozen=True, slots=True)
class Reject:
    """One record that can't be read. `position` is where to find it, for a person: `row 12`, `object 7`."""

    position: str
    code: str
    reason: str
    excerpt: bytes = b""  # the first 1,024 bytes of the record as it was found


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive records of one stream, and the cursor behind the last of them.

    The sum holds for every batch: `read == count + len(rejects) + rejects_dropped + duplicate + omitted`.
    """

    stream: str
    lane: Lane
    source: str  # where the records came from, for a person; never with credentials
    payload: bytes  # NDJSON: `count` lines, one JSON object each, every line ended by "\n"
    count: int
    timestamps: (
        bytes  # `count` little-endian int64, microseconds since 1970 UTC; or b"" when there is no timestamp field
    )
    first_row: int  # ordinal of the batch's first record in its source, from 1, rejects included
    read: int
    cursor: Cursor
    rejects: tuple[Reject, ...] = ()
    rejects_dropped: int = 0  # rejected without a dead letter, because `on_error` is `drop`
    duplicate: int = 0
    omitted: int = 0
    bytes_read: int = 0  # of the source, since the batch before
    bytes_total: int | None = None  # of the whole source, when it is known


@dataclass(frozen=True, slots=True)
class Limits:
    """What the operator of the service allows a connector to touch and to use."""

    file_roots: tuple[Path, ...] = ()
    allow_private_networks: bool = False  # loopback, link-local and private addresses as HTTP targets
    batch_bytes: int = 4 * 1024 * 1024
    record_bytes: int = 8 * 1024 * 1024
    http_timeout_seconds: float = 60.0
    clock: Callable[[], float] = time.time  # seconds since 1970; what is in the future is measured against it
    comes_again: bool = False  # of the job: what isn't finished at the end of its source can be left to its next pass


@dataclass(frozen=True, slots=True)
class ConfigurationProblem:
    """Something wrong in a configuration: `field` is a JSON pointer such as `/delimiter`, or "" for the whole."""

    field: str
    code: str
    message: str


CheckCursor = Callable[[Cursor], tuple[ConfigurationProblem, ...]]  # what is wrong with a cursor that a person edited


def start_only(cursor: Cursor) -> tuple[ConfigurationProblem, ...]:
    """Refuse every edited cursor but {}: a connector that doesn't say what its cursors are can only begin again."""
    message = "cursors of this connector can't be edited, only reset to {} to read from the start"
    return tuple(ConfigurationProblem(f"/{name}", "bad_cursor", message) for name in cursor)


class Read(Protocol):
    """Read from behind `cursor` ({} from the start) to the end of what there is now."""

    def __call__(self, config: Any, cursor: Cursor, limits: Limits) -> AsyncIterator[Batch]:
        """Yield batches in source order; raise a `ConnectorError` on trouble."""
        ...


class Check(Protocol):
    """Try the configuration against the provider without moving data; an empty tuple means that it would work."""

    async def __call__(self, config: Any, limits: Limits) -> tuple[ConfigurationProblem, ...]:
        """Return every problem found; raise a `ConnectorError` when the provider can't be asked."""
        ...


@dataclass(frozen=True, slots=True)
class JobType:
    """One thing a provider can do for a job.

    A type without `read` is *pushed*: its data comes with a request, which drives the job; no runner does.
    """

    name: str
    kind: Kind
    title: str
    description: str
    config: type[BaseModel]
    check: Check
    read: Read | None
    check_cursor: CheckCursor = start_only

    @property
    def pushed(self) -> bool:
        """Whether its data comes with a request, instead of being fetched."""
        return self.read is None


@dataclass(frozen=True, slots=True)
class Connector:
    """A provider: its name in URLs, what it is, where its interface is documented, and what it can do."""

    name: str
    title: str
    description: str
    documentation: str
    job_types: tuple[JobType, ...]
    redact: Callable[[Mapping[str, Any]], Mapping[str, Any]] = without_credentials  # hides secrets from all who look

    def job_type(self, name: str) -> JobType | None:
        """The job type of that name, or None."""
        return next((each for each in self.job_types if each.name == name), None)


class ConnectorError(Exception):
    """A connector can't go on. The subclass says what happens next; `code` is stable, the message is for a person."""

    def __init__(self, code: str, message: str, *, detail: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail


class RetryLater(ConnectorError):
    """The provider or the way to it failed; trying again can help. `retry_after` (seconds) wins over the back-off."""

    def __init__(self, code: str, message: str, *, detail: str = "", retry_after: float | None = None) -> None:
        super().__init__(code, message, detail=detail)
        self.retry_after = retry_after


class RateLimited(ConnectorError):
    """The provider asks to wait `retry_after` seconds. This is not an error of the job."""

    def __init__(self, code: str, message: str, *, retry_after: float, detail: str = "") -> None:
        super().__init__(code, message, detail=detail)
        self.retry_after = retry_after


class FixConfiguration(ConnectorError):
    """No retry can cure it: a person has to change the job's configuration or the source."""


class RenewAuthorization(ConnectorError):
    """No retry can cure it: a person has to renew the authorization."""
