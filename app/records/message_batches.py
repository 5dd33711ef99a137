"""From a connector's batch to records of `messages.*`: packed messages and dead letters. Tells nothing of jobs.

Whoever takes messages packs them like this: the runner, and the API for what is sent to it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from app.kafka.producer_record import ProducerRecord
from app.records.dead_letters import MAX_DETAIL_CHARACTERS
from connectors.contract import Batch
from schemas.coded import clean_text, fit_params, truncate
from schemas.messages import EXCERPT_BYTES, TIMESTAMP_BYTES, MessageBatch, MessageRejected
from schemas.topics import LANES, MAX_RECORD_BYTES, MESSAGES_REJECTED
from schemas.wire.codec import encode
from schemas.wire.headers import headers_of

RECORD_BYTES: Final = 1024 * 1024  # of payload in one record; consumers work on whole records
MAX_MESSAGES: Final = 2_000  # in one: what they say to a partition fits into one, however wide the mapping
FULL: Final = re.compile(rb"(?:[^\n]*\n){%d}" % MAX_MESSAGES)
MAX_RECORD_PAYLOAD_BYTES: Final = MAX_RECORD_BYTES - MAX_RECORD_BYTES // 64  # what can't be compressed grows a little


@dataclass(frozen=True, slots=True)
class Origin:
    """Which part of what the messages are: a job's report in a run, or a part of an upload without a job (run 0)."""

    job_id: str
    run: int
    part: int
    provider: str

    @property
    def batch_id(self) -> str:
        """The id that all records of this part carry; a message's id is this and its index."""
        return f"{self.job_id}/{self.part}"


def message_records(origin: Origin, batch: Batch, partition: int, now: datetime) -> Iterator[ProducerRecord]:
    """Yield the batch as records of up to a megabyte, all in one partition, so that a reader finds them in order."""
    for payload, first, count in _pieces(batch):
        stamps = batch.timestamps[first * TIMESTAMP_BYTES : (first + count) * TIMESTAMP_BYTES]
        word = MessageBatch(
            batch_id=origin.batch_id,
            stream=batch.stream,
            source=batch.source,
            job_id=origin.job_id,
            run=origin.run,
            ingested_at=now,
            first=first,
            count=count,
            payload=payload,
            timestamps=stamps,
        )
        yield ProducerRecord(
            LANES[batch.lane].name,
            encode(word),
            key=origin.job_id.encode(),
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
        count = payload.count(b"\n", start, end)
        if count > MAX_MESSAGES and (full := FULL.match(payload, start)):
            end, count = full.end(), MAX_MESSAGES
        yield payload[start:end], first, count  # the payload itself, not a copy, when that is all
        start, first = end, first + count


def _record_time(stamps: bytes, now: datetime) -> int:
    """Return the newest message time, in milliseconds, within what a broker takes as a record's time."""
    newest = max(memoryview(stamps).cast("q")) // 1000 if stamps else now.timestamp() * 1000
    return int(min(max(newest, 0), now.timestamp() * 1000))


def reject_records(origin: Origin, batch: Batch, now: datetime) -> Iterator[ProducerRecord]:
    """Yield a dead letter for each record that could not be taken."""
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
        yield ProducerRecord(
            MESSAGES_REJECTED.name, encode(letter), key=origin.job_id.encode(), headers=headers_of(letter)
        )
