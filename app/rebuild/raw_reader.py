"""Reads raw messages of both lanes from any offset on, in windows that are worth folding and fit in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from app.lane.raw import arrival
from schemas.topics import LANES

FETCH_BYTES: Final = 4 * 1024 * 1024  # packed, of each partition; a larger record comes all the same
WINDOW_BYTES: Final = 16 * 1024 * 1024  # unpacked
FIRST_RECORDS: Final = 16  # until it is known how large they are
MOST_RECORDS: Final = 20_000  # single messages at a time
DAY: Final = 24 * 60 * 60 * 1_000_000  # microseconds

Bounds = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive raw records of one partition, which arrived on the same day: repeats are known for days.

    `size` is in bytes; `arrived` is when the last of them came in, in microseconds since 1970 UTC.
    """

    where: TopicPartition
    records: Sequence[Any]
    size: int
    arrived: int


class RawReader:
    """The raw topics, read from where it is told; `start` it, and `stop` it at the end."""

    def __init__(self, bootstrap_servers: str, partitions: int) -> None:
        self.where = [TopicPartition(topic.name, number) for topic in LANES.values() for number in range(partitions)]
        self._most = FIRST_RECORDS
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=FETCH_BYTES,
        )

    async def start(self, begin: Bounds) -> None:
        """Begin to read there."""
        await self._consumer.start()
        self._consumer.assign(self.where)
        for each, offset in begin.items():
            self._consumer.seek(each, offset)

    async def stop(self) -> None:
        """Stop, also when it wasn't started."""
        await self._consumer.stop()

    async def ends(self) -> Bounds:
        """Return where each partition ends now."""
        found: Bounds = await self._consumer.end_offsets(self.where)
        return found

    async def position(self, where: TopicPartition) -> int:
        """Return how far a partition is read, what holds no message included."""
        found: int = await self._consumer.position(where)
        return found

    async def read(self, wait_ms: int) -> Sequence[Window]:
        """Return what comes next, about as much as one window has; empty when there is nothing for so long."""
        found = await self._consumer.getmany(timeout_ms=wait_ms, max_records=self._most)
        windows = [each for where, records in found.items() for each in windows_of(where, records)]
        if size := sum(each.size for each in windows):
            fitting = WINDOW_BYTES * sum(len(each.records) for each in windows) // size
            self._most = max(min(fitting, 2 * self._most, MOST_RECORDS), 1)
        return windows


def windows_of(where: TopicPartition, records: Sequence[Any]) -> Iterator[Window]:
    """Cut what was read of a partition into windows."""
    found, size, arrived = list[Any](), 0, 0
    for each in records:
        before, arrived = arrived, arrival(each)
        if found and (size >= WINDOW_BYTES or arrived // DAY != before // DAY):
            yield Window(where, found, size, before)
            found, size = [], 0
        found.append(each)
        size += len(each.value or b"")
    if found:
        yield Window(where, found, size, arrived)
