"""The partitions of profiles that this process has open, and when each of them is flushed.

Flushes go one partition at a time, so that real-time updates never wait for more than one of them.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from aiokafka import TopicPartition

from app.kafka.producer_record import ProducerRecord
from app.process import Clock, Monotonic
from app.profile_store.partition_store import PartitionStore, Shard
from app.profiles.partition import ProfilePartition
from schemas.topics import UPDATES

FLUSH_INTERVAL: Final = 0.1  # seconds, while the process is idle or another partition waits for messages
BUSY_FLUSH_INTERVAL: Final = 0.5  # seconds
MAX_CHANGED_NODES: Final = 5_000  # of all partitions together, before one is flushed at once
SLICE_NODES: Final = 200  # encoded at a time: two or three milliseconds

BetweenSlices = Callable[[], Awaitable[None]]


class RecordWriter(Protocol):
    """Writes records and returns once they are acked."""

    async def write(self, records: Iterable[ProducerRecord]) -> None:
        """Write records and return once the broker has acked them all."""
        ...


@dataclass(slots=True)
class _Open:
    """An open partition, with the time of its last flush and the offset of each lane that was flushed then."""

    partition: ProfilePartition
    flushed_at: float
    offsets: Mapping[str, int]


class OpenPartitions:
    """The open partitions by generation and number.

    `writer` takes the messages to other partitions, which are acked before a flush. The flushing methods call
    `between_slices` in the middle of long work.
    """

    def __init__(
        self, writer: RecordWriter, partitions: int, clock: Clock, monotonic: Monotonic = time.monotonic
    ) -> None:
        self._writer = writer
        self._partitions = partitions
        self._clock = clock
        self._monotonic = monotonic
        self._open: dict[Shard, _Open] = {}

    def __contains__(self, shard: Shard) -> bool:
        return shard in self._open

    def __iter__(self) -> Iterator[Shard]:
        return iter(tuple(self._open))

    def open(self, shard: Shard, store: PartitionStore, max_nodes: int) -> None:
        """Add a partition with the state of its store; up to `max_nodes` nodes are cached."""
        partition = ProfilePartition(
            shard.partition,
            self._partitions,
            store,
            generation=shard.generation,
            max_nodes=max_nodes,
            clock=lambda: self._clock().timestamp(),
        )
        self._open[shard] = self._flushed_now(partition)

    def remove(self, shard: Shard) -> PartitionStore:
        """Remove a partition and return its store; what was not flushed is dropped."""
        return self._open.pop(shard).partition.store

    def get(self, shard: Shard) -> ProfilePartition | None:
        """Return an open partition; None when it is not open."""
        entry = self._open.get(shard)
        return None if entry is None else entry.partition

    def generations_of(self, number: int) -> list[ProfilePartition]:
        """Return the open generations of a partition. They read the same records, each from its own offset."""
        return [entry.partition for shard, entry in self._open.items() if shard.partition == number]

    def numbers(self) -> list[int]:
        """Return the numbers of the open partitions, in order."""
        return sorted({shard.partition for shard in self._open})

    def stores(self) -> Iterator[tuple[Shard, PartitionStore]]:
        """Yield the store of each open partition."""
        for shard, entry in self._open.items():
            yield shard, entry.partition.store

    def flushed_offsets(self, generation: int) -> Mapping[TopicPartition, int]:
        """Return the flushed offsets of a generation."""
        return {
            TopicPartition(UPDATES[lane].name, shard.partition): offset
            for shard, entry in self._open.items()
            if shard.generation == generation
            for lane, offset in entry.offsets.items()
        }

    def seconds_until_flush(self) -> float:
        """Return the time until the next flush of an idle process is due; infinity when all is flushed."""
        oldest = min((entry.flushed_at for entry in self._dirty()), default=float("inf"))
        return max(oldest + FLUSH_INTERVAL - self._monotonic(), 0.0)

    async def flush_due(self, between_slices: BetweenSlices, *, is_idle: bool) -> None:
        """Flush the partition with the oldest flush among those that are due, if any.

        Due is soon after the last flush when the process is idle or other partitions wait for messages, later when it
        is busy, and at once when many nodes have changed.
        """
        now = self._monotonic()
        is_full = sum(entry.partition.changes for entry in self._open.values()) >= MAX_CHANGED_NODES
        due = [
            entry
            for entry in self._dirty()
            if is_full
            or now - entry.flushed_at
            >= (FLUSH_INTERVAL if is_idle or entry.partition.has_outgoing else BUSY_FLUSH_INTERVAL)
        ]
        if due:
            await self._flush(min(due, key=lambda entry: entry.flushed_at), between_slices)

    async def flush_all(self, between_slices: BetweenSlices) -> None:
        """Flush every partition."""
        for entry in tuple(self._open.values()):
            if not entry.partition.is_clean:
                await self._flush(entry, between_slices)

    def _dirty(self) -> Iterator[_Open]:
        return (entry for entry in self._open.values() if not entry.partition.is_clean)

    async def _flush(self, entry: _Open, between_slices: BetweenSlices) -> None:
        partition = entry.partition
        for _ in range(partition.changes // SLICE_NODES):
            partition.encode_changed(SLICE_NODES)
            await between_slices()
        await self._writer.write(partition.outgoing_records())
        partition.flush()
        flushed = self._flushed_now(partition)
        entry.flushed_at, entry.offsets = flushed.flushed_at, flushed.offsets

    def _flushed_now(self, partition: ProfilePartition) -> _Open:
        return _Open(partition, self._monotonic(), {lane: partition.next_offset(lane) for lane in UPDATES})
