"""The most recent messages of a stream, read from the ends of both lanes: few, and within bounds of bytes and time."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import TopicPartition

from app.kafka.clients import Cluster, Consumer
from projections.mapping.raw_messages import UNREADABLE, Raw, open_raw
from schemas.topics import LANES

LOOKBACK_RECORDS: Final = (
    1,
    10,
    100,
    1_000,
)  # records from the end of a partition: farther when too few messages were found
MAX_BYTES: Final = 32 * 1024 * 1024
FETCH_BYTES: Final = 1024 * 1024
READ_SECONDS: Final = 5.0
WAIT_MS: Final = 200

Offsets = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class RecentMessage:
    """One message with its id, when it happened as far as the record says, and when it came in."""

    batch: str
    index: int
    at: int  # microseconds since 1970 UTC
    arrived: int
    line: bytes

    @property
    def message_id(self) -> str:
        """The id as people see it."""
        return f"{self.batch}/{self.index}"


@dataclass(slots=True)
class RecentMessages:
    """What was found, and how much was read for it."""

    stream: str
    most: int
    records: int = 0
    bytes: int = 0
    found: list[RecentMessage] = field(default_factory=list)

    @property
    def is_enough(self) -> bool:
        """Whether no more has to be read, or may be."""
        return len(self.found) >= self.most or self.bytes >= MAX_BYTES

    def take(self, record: Any) -> None:
        """Look whether a record has messages of the stream; of one that can't be read the dead letter tells."""
        self.records += 1
        self.bytes += len(record.value or b"")
        try:
            raw = open_raw(record)
        except UNREADABLE:
            return
        if raw.stream == self.stream:
            self.found += [_message(raw, place) for place in range(raw.count)[-self.most :]]

    def newest(self) -> list[RecentMessage]:
        """Return what was found, the newest first."""
        return sorted(self.found, key=lambda each: (each.arrived, each.batch, each.index), reverse=True)[: self.most]


def _message(raw: Raw, place: int) -> RecentMessage:
    at = raw.timestamps[place] if raw.timestamps else raw.arrived
    return RecentMessage(raw.batch, raw.first + place, at, raw.arrived, raw.lines[place])


async def recent_messages(cluster: Cluster, partitions: int, stream: str, most: int) -> RecentMessages:
    """Return the most recent messages of a stream, as far as they stand near the ends of the partitions.

    Raises:
        KafkaError, OSError: they can't be read now.

    """
    recent = RecentMessages(stream, most)
    places = [TopicPartition(topic.name, number) for topic in LANES.values() for number in range(partitions)]
    consumer = cluster.consumer(isolation="read_committed", partition_bytes=FETCH_BYTES, fetch_bytes=FETCH_BYTES)
    try:
        async with asyncio.timeout(READ_SECONDS) as patience:
            await consumer.start()
            first, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
            until: Offsets = ends
            for back in LOOKBACK_RECORDS:
                start = {where: max(first[where], ends[where] - back) for where in places}
                await _read(consumer, start, until, recent)
                until = start
                if recent.is_enough:
                    break
    except TimeoutError:
        if not patience.expired():
            raise
    finally:
        await consumer.stop()
    return recent


async def _read(consumer: Consumer, start: Offsets, until: Offsets, recent: RecentMessages) -> None:
    """Read every partition from one offset up to another, as far as the bounds allow."""
    left = {where for where in start if start[where] < until[where]}
    consumer.assign(list(left))
    for where in left:
        consumer.seek(where, start[where])
    while left and recent.bytes < MAX_BYTES:
        polled = await consumer.getmany(*left, timeout_ms=WAIT_MS)
        for where, records in polled.items():
            for record in records:
                if record.offset < until[where]:
                    recent.take(record)
        left = {where for where in left if await consumer.position(where) < until[where]}
