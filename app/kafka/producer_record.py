"""Records to produce: their size limit, and the one way to send them."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.errors import InvalidTimestampError, KafkaError

from app.kafka.clients import Producer

RECORD_OVERHEAD_BYTES: Final = 512  # more than a batch header and the lengths of one record's fields take
CLOCK_SKEW: Final = (
    "the Kafka broker refused a record as dated in the future: the clock of this machine is ahead of the broker's; "
    "synchronize both, such as by NTP"
)


@dataclass(frozen=True, slots=True)
class ProducerRecord:
    """One record to publish. Without `partition` the key's hash decides; `value` None is a tombstone."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp_ms: int | None = None  # since 1970 UTC; None: now


class ClockSkewError(KafkaError):  # type: ignore[misc]  # aiokafka ships no types
    """The broker refused the time of a record. Entrepot writes no time in the future, so the clocks differ."""

    def __init__(self) -> None:
        super().__init__(CLOCK_SKEW)

    def __str__(self) -> str:
        return CLOCK_SKEW


class RecordTooLarge(Exception):
    """The record exceeds the limit of the broker; nothing was sent. Make it smaller, or refuse its request."""


def check_size(topic: str, key: bytes | None, value: bytes | None, max_bytes: int, headers: Sequence[Any] = ()) -> None:
    """Raise `RecordTooLarge` for a record of more than `max_bytes` bytes, including key, headers and framing."""
    size = len(key or b"") + len(value or b"") + RECORD_OVERHEAD_BYTES
    size += sum(len(name) + len(content) + 10 for name, content in headers)
    if size > max_bytes:
        raise RecordTooLarge(f"a record of {size} bytes for {topic} is over the limit of {max_bytes} bytes")


async def send(producer: Producer, records: Iterable[ProducerRecord]) -> Sequence[Any]:
    """Send records, in order within each partition; return their metadata (`offset`) once the broker has acked all.

    Raises:
        ClockSkewError: the clock of this machine is wrong, or that of the broker.
        KafkaError: a record is not acked; it may be written nevertheless.

    """
    acks = list[asyncio.Future[Any]]()
    try:
        for record in records:
            ack = await producer.send(
                record.topic,
                record.value,
                key=record.key,
                partition=record.partition,
                headers=list(record.headers),
                timestamp_ms=record.timestamp_ms,
            )
            acks.append(ack)
    except BaseException:
        for ack in acks:
            ack.add_done_callback(retrieve_exception)
        raise
    try:
        return await asyncio.gather(*acks)
    except InvalidTimestampError as error:
        raise ClockSkewError from error


def retrieve_exception(done: asyncio.Future[Any]) -> None:
    """Retrieve the exception of a future that is no longer awaited: asyncio would log it as lost."""
    if not done.cancelled():
        done.exception()
