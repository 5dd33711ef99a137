"""Decode records of `messages.*`: packed batches, and single JSON objects of foreign producers."""

from codecs import BOM_UTF8
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol

import orjson

from projections.mapping.converters import format_example
from schemas.coded import CodedError
from schemas.instants import EARLIEST, LATEST, micros
from schemas.json_values import MAX_JSON_DEPTH, is_too_deep, may_be_too_deep
from schemas.messages import BadBatchError, MessageBatch, check_batch
from schemas.names import MAX_JOB_ID, MAX_NAME_CHARACTERS, is_job_id, is_stream_name
from schemas.topics import LANES
from schemas.wire.catalog import UnreadableRecordError
from schemas.wire.codec import MAGIC, decode

NO_TIMESTAMP: Final = -1  # Kafka's value for a record of a producer that sends no time
DEFAULT_STREAM: Final = "default"
MAX_ID_CHARACTERS: Final = 200
MAX_BATCH_ID_BYTES: Final = 1_000  # a job ID and a number; stored with every timestamp in a profile
MAX_INDEX: Final = 2**53  # of a message in its batch
ID_HEADERS: Final = ("message_id", "ce_id")
PARTITION_PREFIXES: Final = tuple(f"{topic.name}:" for topic in LANES.values())  # prefixes of generated batch IDs


class UnreadableMessageError(CodedError):
    """The record is neither a batch nor a JSON object."""


UNREADABLE: Final = (UnreadableMessageError, BadBatchError, UnreadableRecordError)


class RawRecord(Protocol):
    """A Kafka record. `timestamp` is in milliseconds since 1970, or `NO_TIMESTAMP`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """The headers; Kafka allows one without a value."""
        ...


@dataclass(frozen=True, slots=True)
class RawMessage:
    """One message of a record: its id, and its default event time and arrival in microseconds since 1970 UTC."""

    batch: str
    index: int
    at: int
    arrived: int
    line: bytes

    @property
    def message_id(self) -> str:
        """The id that users see."""
        return f"{self.batch}/{self.index}"


@dataclass(frozen=True)
class Raw:
    """The messages of one record. Message `i` has the ID (`batch`, `first + i`).

    `timestamps` are event times in microseconds since 1970 UTC, one per message; if empty, `arrived` applies to all.
    """

    stream: str
    batch: str
    first: int
    payload: bytes  # one message per line; a single message may span several lines
    count: int
    timestamps: Sequence[int]
    arrived: int
    job_id: str = ""
    run: int = 0  # of the job; 0 for an upload without a job
    may_repeat: bool = True  # another record may contain the same message ID

    @cached_property
    def lines(self) -> Sequence[bytes]:
        """The messages, split lazily."""
        if self.count == 1:
            return (self.payload.removesuffix(b"\n"),)
        return self.payload.split(b"\n")[: self.count]

    def message(self, number: int) -> RawMessage:
        """Return a message by its number in the record."""
        at = self.timestamps[number] if self.timestamps else self.arrived
        return RawMessage(self.batch, self.first + number, at, self.arrived, self.lines[number])

    def newest(self) -> int:
        """Return the latest event time, in microseconds since 1970 UTC."""
        return max(self.timestamps) if self.timestamps else self.arrived


def open_raw(record: RawRecord) -> Raw:
    """Decode a record, without parsing its lines.

    Raises:
        UnreadableMessageError, BadBatchError, UnreadableRecordError: it is a dead letter.

    """
    value = record.value or b""
    if value[:1] != bytes([MAGIC]):
        return _single(value, record)
    batch = decode(value)
    if not isinstance(batch, MessageBatch):
        raise UnreadableMessageError("not_a_message_batch", {"schema": type(batch).__name__})
    _check_ids(batch)
    check_batch(batch.stream, batch.count, batch.payload, batch.timestamps)
    return Raw(
        stream=batch.stream,
        batch=batch.batch_id,
        first=batch.first,
        payload=batch.payload,
        count=batch.count,
        timestamps=memoryview(batch.timestamps).cast("q"),
        arrived=micros(batch.ingested_at),
        job_id=batch.job_id,
        run=batch.run,
    )


def arrival(record: RawRecord) -> int | None:
    """Return the arrival time of any record, valid or not, in microseconds since 1970 UTC; None if it has none.

    The Kafka timestamp of a packed batch is the event time of its messages, which may be years earlier.
    """
    value = record.value or b""
    if value[:1] == bytes([MAGIC]):
        with suppress(*UNREADABLE):
            batch = decode(value)
            if isinstance(batch, MessageBatch):
                return micros(batch.ingested_at)
    is_time = record.timestamp != NO_TIMESTAMP and EARLIEST <= record.timestamp * 1000 <= LATEST
    return record.timestamp * 1000 if is_time else None


def _check_ids(batch: MessageBatch) -> None:
    if len(batch.batch_id.encode()) > MAX_BATCH_ID_BYTES:
        raise UnreadableMessageError("batch_id_too_long", {"max": MAX_BATCH_ID_BYTES})
    if batch.job_id and not is_job_id(batch.job_id):
        raise UnreadableMessageError("bad_job_id", {"max": MAX_JOB_ID})
    if not 0 <= batch.first <= MAX_INDEX:
        raise UnreadableMessageError("bad_message_index", {"max": MAX_INDEX})


def _single(value: bytes, record: RawRecord) -> Raw:
    headers = dict(record.headers or ())
    stream = (headers.get("stream") or b"").decode("utf-8", "replace") or DEFAULT_STREAM
    if not is_stream_name(stream):
        raise UnreadableMessageError("bad_stream", {"max": MAX_NAME_CHARACTERS})
    if record.timestamp == NO_TIMESTAMP:
        raise UnreadableMessageError("no_record_time")
    arrived = record.timestamp * 1000
    if not EARLIEST <= arrived <= LATEST:
        raise UnreadableMessageError("bad_record_time", {"micros": arrived})
    message_id = next(filter(None, map(headers.get, ID_HEADERS)), b"").decode("utf-8", "replace")
    if len(message_id) > MAX_ID_CHARACTERS:
        raise UnreadableMessageError("message_id_too_long", {"characters": len(message_id), "max": MAX_ID_CHARACTERS})
    return Raw(
        stream=stream,
        batch=_foreign_batch_id(message_id) if message_id else f"{record.topic}:{record.partition}",
        first=0 if message_id else record.offset,
        payload=value.removeprefix(BOM_UTF8),
        count=1,
        timestamps=(),
        arrived=arrived,
        may_repeat=bool(message_id),
    )


def _foreign_batch_id(message_id: str) -> str:
    """Return the batch ID for the message ID of a foreign producer, distinct from all internal batch IDs.

    Internal ones are `{job_id}/{number}` and `{topic}:{partition}`. An ID of this form gets a trailing slash;
    otherwise a producer that knows a job ID could make other messages look like duplicates.
    """
    return f"{message_id}/" if "/" in message_id or message_id.startswith(PARTITION_PREFIXES) else message_id


def parse_message(line: bytes) -> dict[str, Any]:
    """Parse the message in a line.

    Raises:
        UnreadableMessageError: it is not a JSON object, or nested too deep.

    """
    try:
        message = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UnreadableMessageError("invalid_json", {"at": error.pos + 1}, detail=error.msg) from error
    if not isinstance(message, dict):
        raise UnreadableMessageError("not_an_object", {"found": format_example(message)})
    if may_be_too_deep(line) and is_too_deep(message):
        raise UnreadableMessageError("too_deep", {"max": MAX_JSON_DEPTH})
    return message
