"""The most recent messages of a stream, within limits of bytes and time.

The ends of both lanes are read first, then the records up to the last known ones of the stream: other streams may have
filled the ends since.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aiokafka import TopicPartition

from app.kafka.clients import Cluster, Consumer, started
from projections.mapping.raw_messages import UNREADABLE, RawMessage, open_raw
from schemas.topics import LANES

LOOKBACK_RECORDS: Final = (1, 10, 100, 1_000)  # from the end of each partition, until there are enough messages
MAX_BYTES: Final = 32 * 1024 * 1024
FETCH_BYTES: Final = 1024 * 1024
READ_TIMEOUT_SECONDS: Final = 5.0
POLL_TIMEOUT_MS: Final = 200

Offsets = Mapping[TopicPartition, int]
NO_OFFSETS: Final[Mapping[tuple[str, int], int]] = {}


@dataclass(slots=True)
class RecentMessages:
    """The messages, and how much was read for them."""

    stream: str
    max_messages: int
    records: int = 0
    bytes: int = 0
    messages: list[RawMessage] = field(default_factory=list)

    @property
    def is_enough(self) -> bool:
        """Whether there are enough messages, or no more may be read."""
        return len(self.messages) >= self.max_messages or self.bytes >= MAX_BYTES

    def add(self, record: Any) -> None:
        """Add the messages of a record when they are of the stream; skip an invalid record."""
        self.records += 1
        self.bytes += len(record.value or b"")
        try:
            raw = open_raw(record)
        except UNREADABLE:
            return
        if raw.stream == self.stream:
            self.messages += [raw.message(number) for number in range(raw.count)[-self.max_messages :]]

    def newest(self) -> list[RawMessage]:
        """Return the messages, the newest first."""
        newest = sorted(self.messages, key=lambda item: (item.arrived, item.batch, item.index), reverse=True)
        return newest[: self.max_messages]


async def recent_messages(
    cluster: Cluster,
    partitions: int,
    stream: str,
    max_messages: int,
    last_offsets: Mapping[tuple[str, int], int] = NO_OFFSETS,
) -> RecentMessages:
    """Return the most recent messages of a stream; `last_offsets` are of its last known records.

    Raises:
        KafkaError, OSError: the cluster is not reachable.

    """
    recent = RecentMessages(stream, max_messages)
    wanted = [TopicPartition(topic.name, number) for topic in LANES.values() for number in range(partitions)]
    client = cluster.consumer(isolation="read_committed", partition_bytes=FETCH_BYTES, fetch_bytes=FETCH_BYTES)
    try:
        async with asyncio.timeout(READ_TIMEOUT_SECONDS) as deadline, started(client) as consumer:
            begin, ends = await consumer.beginning_offsets(wanted), await consumer.end_offsets(wanted)
            reached = await _look_back(consumer, begin, ends, recent)
            known = {
                partition: last_offsets.get((partition.topic, partition.partition), -1) + 1 for partition in wanted
            }
            before = {partition: min(known[partition], reached[partition]) for partition in wanted}
            if not recent.is_enough:
                await _look_back(consumer, begin, before, recent)
    except TimeoutError:
        if not deadline.expired():
            raise
    return recent


async def _look_back(consumer: Consumer, begin: Offsets, ends: Offsets, recent: RecentMessages) -> Offsets:
    """Read ever more records before offsets, until there are enough messages. Return the first offsets read."""
    until = ends
    for count in LOOKBACK_RECORDS:
        start = {partition: max(begin[partition], end - count) for partition, end in ends.items()}
        await _read(consumer, start, until, recent)
        until = start
        if recent.is_enough:
            break
    return until


async def _read(consumer: Consumer, start: Offsets, until: Offsets, recent: RecentMessages) -> None:
    """Read each partition from one offset up to another, as far as the limits allow."""
    unread = {partition for partition in start if start[partition] < until[partition]}
    consumer.assign(list(unread))
    for partition in unread:
        consumer.seek(partition, start[partition])
    while unread and recent.bytes < MAX_BYTES:
        polled = await consumer.getmany(*unread, timeout_ms=POLL_TIMEOUT_MS)
        for partition, records in polled.items():
            for record in records:
                if record.offset < until[partition]:
                    recent.add(record)
        unread = {partition for partition in unread if await consumer.position(partition) < until[partition]}
