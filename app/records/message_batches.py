"""Pack a connector's batch into records of `messages.*`: packed messages and dead letters.

The runner packs the messages of jobs, and the API those that it receives.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.kafka.producer_record import ProducerRecord
from app.records.dead_letters import MAX_DETAIL_CHARACTERS
from app.records.encoding import encoded
from connectors.contract import Batch
from schemas.coded import clean_text, fit_params, truncate
from schemas.messages import EXCERPT_BYTES, TIMESTAMP_BYTES, MessageBatch, MessageRejected
from schemas.topics import LANES, MAX_RECORD_BYTES, MESSAGES_REJECTED
from schemas.wire.codec import encode
from schemas.wire.headers import headers_of

PAYLOAD_BYTES: Final = 1024 * 1024  # in one record; consumers handle whole records
MAX_MESSAGES: Final = 2_000  # in one record: their updates of a partition fit into one, however wide the mapping
FULL_RECORD: Final = re.compile(rb"(?:[^\n]*\n){%d}" % MAX_MESSAGES)
MAX_RECORD_PAYLOAD_BYTES: Final = MAX_RECORD_BYTES - MAX_RECORD_BYTES // 64  # incompressible payload grows a little


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of messages: one report of a job's run, or one part of an upload without a job (run 0)."""

    job_id: str
    run: int
    part: int
    provider: str

    @property
    def batch_id(self) -> str:
        """The id of all records of this part; a message's id is this and its index."""
        return f"{self.job_id}/{self.part}"


def message_records(origin: Origin, batch: Batch, partition: int, now: datetime) -> Iterator[ProducerRecord]:
    """Yield the batch as records of up to a megabyte, all in one partition to keep their order."""
    for payload, first, count in _slices(batch):
        timestamps = batch.timestamps[first * TIMESTAMP_BYTES : (first + count) * TIMESTAMP_BYTES]
        packed = MessageBatch(
            batch_id=origin.batch_id,
            stream=batch.stream,
            source=batch.source,
            job_id=origin.job_id,
            run=origin.run,
            ingested_at=now,
            first=first,
            count=count,
            payload=payload,
            timestamps=timestamps,
        )
        yield ProducerRecord(
            LANES[batch.lane].name,
            encode(packed),
            key=origin.job_id.encode(),
            partition=partition,
            headers=(*headers_of(packed), ("stream", batch.stream.encode()), ("count", str(count).encode())),
            timestamp_ms=_record_time(timestamps, now),
        )


def _slices(batch: Batch) -> Iterator[tuple[bytes, int, int]]:
    """Yield (payload, index of its first message, count), cut at line ends."""
    start = first = 0
    payload = batch.payload
    while start < len(payload):
        end = payload.find(b"\n", min(start + PAYLOAD_BYTES, len(payload) - 1)) + 1
        count = payload.count(b"\n", start, end)
        if count > MAX_MESSAGES and (full := FULL_RECORD.match(payload, start)):
            end, count = full.end(), MAX_MESSAGES
        yield payload[start:end], first, count  # not a copy when it is the whole payload
        start, first = end, first + count


def _record_time(timestamps: bytes, now: datetime) -> int:
    """Return the newest message time, in milliseconds, within the range that a broker accepts."""
    newest = max(memoryview(timestamps).cast("q")) // 1000 if timestamps else now.timestamp() * 1000
    return int(min(max(newest, 0), now.timestamp() * 1000))


def reject_records(origin: Origin, batch: Batch, now: datetime) -> Iterator[ProducerRecord]:
    """Yield a dead letter for each invalid record."""
    for reject in batch.rejects:
        letter = MessageRejected(
            rejected_at=now,
            code=reject.code,
            params=fit_params(reject.params),
            source=batch.source,
            position=reject.position,
            stream=batch.stream,
            job_id=origin.job_id,
            run=origin.run,
            provider=origin.provider,
            excerpt=reject.excerpt[:EXCERPT_BYTES],
            detail=truncate(clean_text(reject.detail), MAX_DETAIL_CHARACTERS),
        )
        yield encoded(MESSAGES_REJECTED, letter, origin.job_id)
