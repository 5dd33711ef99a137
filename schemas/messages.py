"""The records of `messages.*`: packed batches of raw messages, and dead letters."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.coded import CodedError, Params
from schemas.instants import EARLIEST, LATEST
from schemas.names import MAX_NAME_CHARACTERS, is_stream_name

NAMESPACE: Final = "entrepot.messages"
TIMESTAMP_BYTES: Final = 8
EXCERPT_BYTES: Final = 1024  # of a record, in its dead letter


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageBatch:
    """Consecutive raw messages of one stream. Message `i` has the id `{batch_id}/{first + i}`.

    `payload` is `count` lines of NDJSON; `timestamps` is `count` little-endian int64 of microseconds since 1970 UTC,
    or empty: then the time of a message is `ingested_at`.
    """

    batch_id: str  # `{job_id}/{report}`, or `{upload_id}/{part}` without a job
    stream: str
    source: str
    job_id: str  # or the ID of the upload; then `run` is 0
    run: int
    ingested_at: datetime
    first: int
    count: int
    payload: bytes
    timestamps: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRejected:
    """A dead letter: a stable `code` with `params`; `detail` is the message of a library or provider.

    A rejected row refers to its job and file; an unreadable record refers to its topic, partition and offset.
    """

    rejected_at: datetime
    code: str
    params: Params
    source: str
    position: str
    stream: str = ""
    job_id: str = ""
    run: int = 0
    topic: str = ""
    partition: int | None = None
    offset: int | None = None
    excerpt: bytes = b""
    detail: str = ""
    provider: str = ""  # of the job; its connector may provide the sentences of its codes


MessageRecord = MessageBatch | MessageRejected


class BadBatchError(CodedError):
    """A batch of messages violates the guarantees of `MessageBatch`."""


def check_batch(stream: str, count: int, payload: bytes, timestamps: bytes) -> None:
    """Check the guarantees of `MessageBatch`, without parsing the lines.

    Raises:
        BadBatchError: the batch is invalid.

    """
    lines = payload.count(b"\n")
    if lines != count or payload[-1:] not in {b"", b"\n"}:
        raise BadBatchError("wrong_line_count", {"lines": lines, "messages": count})
    if len(timestamps) not in {0, count * TIMESTAMP_BYTES}:
        raise BadBatchError("wrong_timestamp_count", {"bytes": len(timestamps), "messages": count})
    stamps = memoryview(timestamps).cast("q")
    if stamps and not EARLIEST <= min(stamps) <= max(stamps) <= LATEST:
        raise BadBatchError("timestamp_out_of_range", {"min": min(stamps), "max": max(stamps)})
    if not is_stream_name(stream):
        raise BadBatchError("bad_stream", {"max": MAX_NAME_CHARACTERS})
