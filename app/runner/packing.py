"""From a connector's batch to the records of one transaction: packed messages, dead letters, and the report."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import orjson

from app.safe_faust.publishing import Outgoing
from app.stream_names import STREAM_NAME, is_stream_name
from connectors.contract import Batch
from projections.job_state import Job
from projections.story import brief
from schemas.commands import Counts, JobCommand, ReportProgress
from schemas.headers import headers_of
from schemas.messages import MessageBatch, MessageRejected
from schemas.topics import JOBS_COMMANDS, MAX_RECORD_BYTES, MESSAGES_BACKFILL, MESSAGES_REALTIME, MESSAGES_REJECTED
from schemas.wire import encode

RECORD_BYTES: Final = 1024 * 1024  # of payload in one record; consumers work on whole records
TIMESTAMP_BYTES: Final = 8
LANES: Final = {"realtime": MESSAGES_REALTIME, "backfill": MESSAGES_BACKFILL}
LARGEST_RECORD: Final = MAX_RECORD_BYTES - MAX_RECORD_BYTES // 64  # what can't be compressed grows a little
EXCERPT_BYTES: Final = 1024
EARLIEST: Final = -62_135_596_800_000_000  # microseconds since 1970, of the year 1
LATEST: Final = 253_402_300_799_999_999  # of the year 9999


class BadBatchError(ValueError):
    """A connector broke its contract. The message says how."""


def check_batch(batch: Batch) -> None:
    """Make sure that a batch is what its contract says: those who read the topic have to rely on it.

    Raises:
        BadBatchError: it isn't.

    """
    lines = batch.payload.count(b"\n")
    if lines != batch.count or batch.payload[-1:] not in {b"", b"\n"}:
        raise BadBatchError(f"the payload has {lines} ended lines for {batch.count} records, and may have one unended")
    if len(batch.timestamps) not in {0, batch.count * TIMESTAMP_BYTES}:
        raise BadBatchError(f"there are {len(batch.timestamps)} bytes of timestamps for {batch.count} records")
    stamps = memoryview(batch.timestamps).cast("q")
    if stamps and not EARLIEST <= min(stamps) <= max(stamps) <= LATEST:
        raise BadBatchError(f"a timestamp lies between the years 1 and 9999, not {min(stamps)} to {max(stamps)}")
    if not is_stream_name(batch.stream):
        raise BadBatchError(STREAM_NAME)
    if batch.lane not in LANES:
        raise BadBatchError(f"there is no lane {batch.lane!r}")


def message_records(job: Job, batch: Batch, report: int, partitions: int, now: datetime) -> Iterator[Outgoing]:
    """Yield the batch as records of about a megabyte, all in one partition, so that a reader finds them in order."""
    partition = report % partitions
    for payload, first, count in _pieces(batch):
        stamps = batch.timestamps[first * TIMESTAMP_BYTES : (first + count) * TIMESTAMP_BYTES]
        word = MessageBatch(
            batch_id=f"{job.job_id}/{report}",
            stream=batch.stream,
            source=batch.source,
            job_id=job.job_id,
            run=job.run,
            ingested_at=now,
            first=first,
            count=count,
            payload=payload,
            timestamps=stamps,
        )
        yield Outgoing(
            LANES[batch.lane].name,
            encode(word),
            key=job.job_id.encode(),
            partition=partition,
            headers=(*headers_of(word), ("stream", batch.stream.encode()), ("count", str(count).encode())),
            timestamp_ms=_record_time(stamps, now),
        )


def _pieces(batch: Batch) -> Iterator[tuple[bytes, int, int]]:
    """Yield (payload, index of its first message, count) with cuts at line ends."""
    start = first = 0
    payload = batch.payload
    while start < len(payload):
        end = payload.find(b"\n", min(start + RECORD_BYTES, len(payload) - 1)) + 1
        piece = payload[start:end]  # the payload itself, not a copy, when that is all
        count = piece.count(b"\n")
        yield piece, first, count
        start, first = end, first + count


def _record_time(stamps: bytes, now: datetime) -> int:
    """Return the newest message time, in milliseconds, within what a broker takes as a record's time."""
    newest = max(memoryview(stamps).cast("q")) // 1000 if stamps else now.timestamp() * 1000
    return int(min(max(newest, 0), now.timestamp() * 1000))


def reject_records(job: Job, batch: Batch, now: datetime) -> Iterator[Outgoing]:
    """Yield a dead letter for each record that the connector could not read."""
    for reject in batch.rejects:
        letter = MessageRejected(
            rejected_at=now,
            code=reject.code,
            reason=brief(reject.reason),
            source=batch.source,
            position=reject.position,
            stream=batch.stream,
            job_id=job.job_id,
            run=job.run,
            excerpt=reject.excerpt[:EXCERPT_BYTES],
        )
        yield Outgoing(MESSAGES_REJECTED.name, encode(letter), key=job.job_id.encode(), headers=headers_of(letter))


def progress(envelope: dict[str, object], job: Job, batch: Batch, report: int) -> ReportProgress:
    """Return the report that goes with a batch."""
    return ReportProgress(
        **envelope,  # type: ignore[arg-type]  # the fields of Command, made by `Stamp`
        run=job.run,
        report=report,
        cursor=orjson.dumps(batch.cursor).decode(),
        counts=Counts(
            read=batch.read,
            accepted=batch.count,
            rejected=len(batch.rejects) + batch.rejects_dropped,
            duplicate=batch.duplicate,
            omitted=batch.omitted,
        ),
        stream=batch.stream,
        lane=batch.lane,
        pass_done=False,
        bytes_read=batch.bytes_read,
        bytes_total=batch.bytes_total,
    )


def command_record(command: JobCommand, partition: int) -> Outgoing:
    """Return a command as its record, in the partition of its job."""
    return Outgoing(
        JOBS_COMMANDS.name,
        encode(command),
        key=command.job_id.encode(),
        partition=partition,
        headers=headers_of(command),
    )
