"""When what was applied is kept: one partition after another, so that what happens now waits for one of them at most.

What a partition makes others hear is acked before it is kept.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiokafka import TopicPartition

from app.kafka.batch_producer import BatchProducer
from app.profile_store.partition_store import Shard
from app.profiles.partition import ProfilePartition
from schemas.topics import UPDATES

KEEP_SECONDS: Final = 0.1
BUSY_KEEP_SECONDS: Final = 0.5
KEEP_NODES: Final = 5_000  # of all partitions together
SLICE_NODES: Final = 200  # encoded at a time: two or three milliseconds


class FlushScheduler:
    """Keeps the partitions that are open: each some times a second, and less often while there is much to do.

    `make_way` is what may be done in the middle of it.
    """

    def __init__(
        self,
        writer: BatchProducer,
        partitions: Mapping[Shard, ProfilePartition],
        make_way: Callable[[], Awaitable[None]],
    ) -> None:
        self._writer = writer
        self._partitions = partitions
        self._make_way = make_way
        self._kept: dict[Shard, tuple[float, Mapping[str, int]]] = {}  # when, and up to which offset of each lane

    def note_kept(self, place: Shard) -> None:
        """Take a partition for kept as it is, as it was written or has just been opened."""
        offsets = {lane: self._partitions[place].next_offset(lane) for lane in UPDATES}
        self._kept[place] = (time.monotonic(), offsets)

    def note_closed(self, place: Shard) -> None:
        """Forget a partition."""
        self._kept.pop(place, None)

    def seconds_left(self) -> float:
        """Return how long it takes until something is to be kept."""
        unkept = [self._kept[place][0] for place, each in self._partitions.items() if not each.is_kept]
        return max(min(unkept, default=float("inf")) + KEEP_SECONDS - time.monotonic(), 0.0)

    async def keep_if_due(self, *, is_awaited: bool) -> None:
        """Keep a partition that is due: the one that was kept the longest time ago.

        That is soon while somebody waits for it, or another partition has to hear something, and when much has changed.
        """
        is_much = sum(each.changes for each in self._partitions.values()) >= KEEP_NODES
        now, due = time.monotonic(), list[Shard]()
        for place, partition in self._partitions.items():
            patience = KEEP_SECONDS if is_awaited or partition.has_news else BUSY_KEEP_SECONDS
            if not partition.is_kept and (is_much or now - self._kept[place][0] >= patience):
                due.append(place)
        if due:
            await self._keep(min(due, key=lambda each: self._kept[each][0]))

    async def keep(self) -> None:
        """Keep all of them."""
        for place, partition in self._partitions.items():
            if not partition.is_kept:
                await self._keep(place)

    def offsets(self, generation: int) -> Mapping[TopicPartition, int]:
        """Return up to where the partitions of a generation are kept."""
        return {
            TopicPartition(UPDATES[lane].name, number): offset
            for (each, number), (_, offsets) in self._kept.items()
            if each == generation
            for lane, offset in offsets.items()
        }

    async def _keep(self, place: Shard) -> None:
        partition = self._partitions[place]
        for _ in range(partition.changes // SLICE_NODES):
            partition.encode_some(SLICE_NODES)
            await self._make_way()
        await self._writer.write(partition.to_tell())
        partition.keep()
        self.note_kept(place)
