"""Records on their way to the broker: packed into batches, counted until acked, and latched when one fails."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from app.kafka.producer_record import ProducerRecord, check_size
from app.kafka.safe_faust.latch import Latch


class Writes:
    """The writes that the broker hasn't acked yet. The first that fails trips the latch."""

    def __init__(self, latch: Latch) -> None:
        self._latch = latch
        self._waiting: set[asyncio.Future[Any]] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def track(self, write: asyncio.Future[Any]) -> None:
        """Count the write until it is acked."""
        self._waiting.add(write)
        write.add_done_callback(self._done)

    async def drained(self, seconds: float) -> bool:
        """Wait for the writes of this moment; False when they aren't all acked after `seconds`, or one failed."""
        waiting = tuple(self._waiting)
        if waiting:
            _, late = await asyncio.wait(waiting, timeout=seconds)
            if late:
                return False
        return self._latch.reason is None

    def _done(self, write: asyncio.Future[Any]) -> None:
        self._waiting.discard(write)
        # A cancelled write is one whose agent was cancelled while it waited: what it answers was never acknowledged.
        if not write.cancelled() and (failure := write.exception()) is not None:
            self._latch.trip(f"the broker refused a write: {failure}", failure)


async def publish(app: Any, records: Iterable[ProducerRecord]) -> None:
    """Send the records and return when the broker has acked them all, in order within each partition.

    Raises `RecordTooLarge` before anything is sent. Any failure after that trips the app's latch.
    """
    sent = await send(app, records)
    if sent:
        await asyncio.gather(*sent)


async def send(app: Any, records: Iterable[ProducerRecord]) -> Sequence[asyncio.Future[Any]]:
    """Hand the records to the producer and return what to await; the next commit waits for it in any case."""
    records = tuple(records)
    for record in records:
        check_size(record.topic, record.key, record.value, app.conf.producer_max_request_size, record.headers)
    producer = app.producer._ensure_producer()  # noqa: SLF001 - Faust's own producer knows no batches
    sent: list[asyncio.Future[Any]] = []
    try:
        for topic in {each.topic for each in records if each.partition is None}:
            await producer.partitions_for(topic)  # a topic that was never written to is unknown until asked for
        lanes = _by_partition(app, records)
        for (topic, partition), lane in lanes.items():
            for batch in _packed(producer, lane):
                write = await producer.send_batch(batch, topic, partition=partition)
                app.writes.track(write)
                sent.append(write)
    except asyncio.CancelledError:
        raise
    except Exception as failure:
        app.latch.trip(f"a write couldn't be sent: {failure}", failure)
        raise
    return sent


def _by_partition(app: Any, records: Iterable[ProducerRecord]) -> dict[tuple[str, int], list[ProducerRecord]]:
    lanes: dict[tuple[str, int], list[ProducerRecord]] = {}
    for record in records:
        partition = record.partition
        if partition is None:
            partition = app.producer.key_partition(record.topic, record.key).partition
        lanes.setdefault((record.topic, partition), []).append(record)
    return lanes


def _packed(producer: Any, lane: Sequence[ProducerRecord]) -> Iterator[Any]:
    batch = producer.create_batch()
    for record in lane:
        if _appended(batch, record) is None:
            yield batch
            batch = producer.create_batch()
            _appended(batch, record)  # the first record of a batch always fits
    batch.close()  # a closed batch doesn't linger
    yield batch


def _appended(batch: Any, record: ProducerRecord) -> Any:
    return batch.append(timestamp=record.timestamp_ms, key=record.key, value=record.value, headers=list(record.headers))
