"""Send records in batches and track them until the broker acks. A failed write trips the latch."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from aiokafka.errors import InvalidTimestampError

from app.kafka.producer_record import ClockSkewError, ProducerRecord, check_size
from app.kafka.safe_faust.latch import Latch


class PendingWrites:
    """The writes without an ack from the broker. The first failure trips the latch."""

    def __init__(self, latch: Latch) -> None:
        self._latch = latch
        self._pending: set[asyncio.Future[Any]] = set()

    def __len__(self) -> int:
        return len(self._pending)

    def track(self, write: asyncio.Future[Any]) -> None:
        """Track the write until it is acked."""
        self._pending.add(write)
        write.add_done_callback(self._done)

    async def drained(self, seconds: float) -> bool:
        """Wait for the current writes. False if they are not all acked within `seconds`, or one failed."""
        pending = tuple(self._pending)
        if pending:
            _, unfinished = await asyncio.wait(pending, timeout=seconds)
            if unfinished:
                return False
        return self._latch.reason is None

    def _done(self, write: asyncio.Future[Any]) -> None:
        self._pending.discard(write)
        # A write is cancelled with its agent, whose input was never acknowledged.
        if not write.cancelled() and (failure := write.exception()) is not None:
            failure = ClockSkewError() if isinstance(failure, InvalidTimestampError) else failure
            self._latch.trip(f"the broker rejected a write: {failure}", failure)


async def publish(app: Any, records: Iterable[ProducerRecord]) -> None:
    """Send records, in order within each partition, and wait until the broker has acked all of them.

    Raise `RecordTooLarge` before anything is sent. Any later failure trips the latch of the app.
    """
    sent = await enqueue(app, records)
    if sent:
        await asyncio.gather(*sent)


async def enqueue(app: Any, records: Iterable[ProducerRecord]) -> Sequence[asyncio.Future[Any]]:
    """Pass records to the producer and return the futures of their acks, which the next commit awaits anyway."""
    records = tuple(records)
    for record in records:
        check_size(record.topic, record.key, record.value, app.conf.producer_max_request_size, record.headers)
    producer = app.producer._ensure_producer()  # noqa: SLF001 - the producer of Faust has no batches
    sent: list[asyncio.Future[Any]] = []
    try:
        for topic in {record.topic for record in records if record.partition is None}:
            await producer.partitions_for(topic)  # loads the metadata of a topic before the first write
        groups = _by_partition(app, records)
        for (topic, partition), group in groups.items():
            for batch in _pack(producer, group):
                write = await producer.send_batch(batch, topic, partition=partition)
                app.writes.track(write)
                sent.append(write)
    except asyncio.CancelledError:
        raise
    except Exception as failure:
        app.latch.trip(f"failed to send a record: {failure}", failure)
        raise
    return sent


def _by_partition(app: Any, records: Iterable[ProducerRecord]) -> dict[tuple[str, int], list[ProducerRecord]]:
    groups: dict[tuple[str, int], list[ProducerRecord]] = {}
    for record in records:
        partition = record.partition
        if partition is None:
            partition = app.producer.key_partition(record.topic, record.key).partition
        groups.setdefault((record.topic, partition), []).append(record)
    return groups


def _pack(producer: Any, group: Sequence[ProducerRecord]) -> Iterator[Any]:
    batch = producer.create_batch()
    for record in group:
        if _append(batch, record) is None:
            yield batch
            batch = producer.create_batch()
            _append(batch, record)  # the first record of a batch always fits
    batch.close()  # a closed batch doesn't linger
    yield batch


def _append(batch: Any, record: ProducerRecord) -> Any:
    return batch.append(timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=list(record.headers))
