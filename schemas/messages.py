"""What travels on `messages.*`: packed batches of raw messages, and the dead letters of what could not be read."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

NAMESPACE: Final = "entrepot.messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageBatch:
    """Consecutive raw messages of one stream. Message `i` has the id `{batch_id}/{first + i}`.

    `payload` is `count` lines of NDJSON; `timestamps` is `count` little-endian int64 of microseconds since 1970 UTC,
    or empty: then the time of a message is `ingested_at`.
    """

    batch_id: str  # `{job_id}/{report}`
    stream: str
    source: str
    job_id: str
    run: int
    ingested_at: datetime
    first: int
    count: int
    payload: bytes
    timestamps: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRejected:
    """One dead letter. Row rejects name their job and file; a garbage record names its topic, partition and offset."""

    rejected_at: datetime
    code: str
    reason: str
    source: str
    position: str
    stream: str = ""
    job_id: str = ""
    run: int = 0
    topic: str = ""
    partition: int | None = None
    offset: int | None = None
    excerpt: bytes = b""


Message = MessageBatch | MessageRejected
