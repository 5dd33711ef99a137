"""Reads raw messages of both lanes from any offset on, in windows that are worth folding and fit in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiokafka import TopicPartition

from app.kafka.clients import Cluster
from projections.mapping.raw_messages import arrival
from schemas.topics import LANES

FETCH_BYTES: Final = 4 * 1024 * 1024  # packed, of each partition; a larger record comes all the same
WINDOW_BYTES: Final = 16 * 1024 * 1024  # unpacked
RECORD_BYTES: Final = 500  # of a record beside its value
FETCH_MS: Final = 20
FIRST_RECORDS: Final = 16  # until it is known how large they are
MAX_RECORDS: Final = 20_000  # single messages at a time
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

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self.where = [TopicPartition(topic.name, number) for topic in LANES.values() for number in range(partitions)]
        self._most = FIRST_RECORDS
        self._consumer = cluster.consumer(
            isolation="read_committed",
            partition_bytes=FETCH_BYTES,
            fetch_wait_ms=FETCH_MS,  # partitions that have more wait while others are asked for news
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

    async def position(self, where: TopicPartition) -> int:
        """Return how far a partition is read, what holds no message included."""
        found: int = await self._consumer.position(where)
        return found

    async def read(self, wait_ms: int) -> Sequence[Window]:
        """Return what comes next, a whole window if there is one; empty when nothing comes for so long."""
        found = await self._consumer.getmany(timeout_ms=wait_ms, max_records=self._most)
        windows = list[Window]()
        for where, records in found.items():
            windows += windows_of(where, await self._filled(where, records))
        if windows:
            fitting = WINDOW_BYTES * sum(len(each.records) for each in windows) // sum(each.size for each in windows)
            self._most = max(min(fitting, 2 * self._most, MAX_RECORDS), 1)
        return windows

    async def _filled(self, where: TopicPartition, records: list[Any]) -> Sequence[Any]:
        """Return records and those that follow in their partition, to fill a window: one fetch seldom does."""
        size = sum(map(size_of, records))
        while size < WINDOW_BYTES and await self.position(where) < (self._consumer.highwater(where) or 0):
            room = max(len(records) * (WINDOW_BYTES - size) // size, 1)
            found = await self._consumer.getmany(where, timeout_ms=FETCH_MS, max_records=min(room, MAX_RECORDS))
            more = found.get(where)
            if not more:
                break  # it waits for a transaction to end
            records += more
            size += sum(map(size_of, more))
        return records


def size_of(record: Any) -> int:
    """Return how many bytes a record takes in memory, at the least."""
    return RECORD_BYTES + len(record.value or b"")


def windows_of(where: TopicPartition, records: Sequence[Any]) -> Iterator[Window]:
    """Cut what was read of a partition into windows."""
    found, size, arrived = list[Any](), 0, 0
    for each in records:
        before, arrived = arrived, arrival(each)
        if found and (size >= WINDOW_BYTES or arrived // DAY != before // DAY):
            yield Window(where, found, size, before)
            found, size = [], 0
        found.append(each)
        size += size_of(each)
    if found:
        yield Window(where, found, size, arrived)
