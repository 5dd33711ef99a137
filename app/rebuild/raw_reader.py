"""Reads raw messages of both lanes from given offsets, in windows that are worth folding and fit in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import TopicPartition

from app.kafka.clients import Cluster
from projections.mapping.raw_messages import arrival
from schemas.topics import LANES

FETCH_BYTES: Final = 4 * 1024 * 1024  # compressed, of each partition; a larger record is fetched nevertheless
WINDOW_BYTES: Final = 16 * 1024 * 1024  # decompressed
RECORD_BYTES: Final = 500  # of a record in memory, besides its value
FETCH_MS: Final = 20
FIRST_RECORDS: Final = 16  # until the size of records is known
MAX_RECORDS: Final = 20_000  # in one read
DAY: Final = 24 * 60 * 60 * 1_000_000  # microseconds

Bounds = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive raw records of one partition that arrived on the same day, as the dedup window is one of days.

    `size` is in bytes; `arrived` is the arrival of the last record, in microseconds since 1970 UTC.
    """

    source: TopicPartition
    records: Sequence[Any]
    size: int
    arrived: int


class RawReader:
    """A consumer of the raw topics. Call `start` before reading, and `stop` at the end."""

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self.sources = [TopicPartition(topic.name, number) for topic in LANES.values() for number in range(partitions)]
        self._max_records = FIRST_RECORDS
        self._consumer = cluster.consumer(
            isolation="read_committed",
            partition_bytes=FETCH_BYTES,
            fetch_wait_ms=FETCH_MS,  # partitions with records wait for the fetch of idle ones
        )

    async def start(self, begin: Bounds) -> None:
        """Connect, and read from these offsets on."""
        await self._consumer.start()
        self._consumer.assign(self.sources)
        for source, offset in begin.items():
            self._consumer.seek(source, offset)

    async def stop(self) -> None:
        """Disconnect, also when not started."""
        await self._consumer.stop()

    async def position(self, source: TopicPartition) -> int:
        """Return the offset up to which a partition is read, records without messages included."""
        position: int = await self._consumer.position(source)
        return position

    async def read(self, wait_ms: int) -> Sequence[Window]:
        """Return the next windows, full ones where possible; none when nothing arrives in time."""
        polled = await self._consumer.getmany(timeout_ms=wait_ms, max_records=self._max_records)
        windows = list[Window]()
        for source, records in polled.items():
            windows += windows_of(source, await self._filled(source, records))
        if windows:
            count, size = sum(len(window.records) for window in windows), sum(window.size for window in windows)
            self._max_records = max(min(WINDOW_BYTES * count // size, 2 * self._max_records, MAX_RECORDS), 1)
        return windows

    async def _filled(self, source: TopicPartition, records: list[Any]) -> Sequence[Any]:
        """Return records and those that follow in their partition, to fill a window: one fetch rarely does."""
        size = sum(map(size_of, records))
        while size < WINDOW_BYTES and await self.position(source) < (self._consumer.highwater(source) or 0):
            missing = max(len(records) * (WINDOW_BYTES - size) // size, 1)
            polled = await self._consumer.getmany(source, timeout_ms=FETCH_MS, max_records=min(missing, MAX_RECORDS))
            more = polled.get(source)
            if not more:
                break  # the rest is in an open transaction
            records += more
            size += sum(map(size_of, more))
        return records


def size_of(record: Any) -> int:
    """Return the minimum size of a record in memory, in bytes."""
    return RECORD_BYTES + len(record.value or b"")


def windows_of(source: TopicPartition, records: Sequence[Any]) -> Iterator[Window]:
    """Cut consecutive records of a partition into windows."""
    window, size, arrived = list[Any](), 0, 0
    for record in records:
        before, arrived = arrived, arrival(record) or arrived
        if window and (size >= WINDOW_BYTES or arrived // DAY != before // DAY):
            yield Window(source, window, size, before)
            window, size = [], 0
        window.append(record)
        size += size_of(record)
    if window:
        yield Window(source, window, size, arrived)
