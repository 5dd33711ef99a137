"""From a connector's batch to the records of one transaction: packed messages, dead letters, and the report."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import orjson

from app.safe_faust.publishing import Outgoing
from connectors.contract import Batch
from projections.job_state import Job
from projections.story import brief
from schemas.commands import Counts, JobCommand, ReportProgress
from schemas.headers import headers_of
from schemas.messages import EXCERPT_BYTES, TIMESTAMP_BYTES, MessageBatch, MessageRejected
from schemas.topics import JOBS_COMMANDS, LANES, MAX_RECORD_BYTES, MESSAGES_REJECTED
from schemas.wire import encode

RECORD_BYTES: Final = 1024 * 1024  # of payload in one record; consumers work on whole records
LARGEST_RECORD: Final = MAX_RECORD_BYTES - MAX_RECORD_BYTES // 64  # what can't be compressed grows a little


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
        **envelope,  # type: ignore[arg-type]  # the fields of Command, made by `stamp`
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
