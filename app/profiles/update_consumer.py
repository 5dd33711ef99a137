"""Reads what lanes and nodes say and applies it to the partitions that are open: what happens now before history.

History gets what is left, one record at a time, and at least every ninth turn. While something happens it is applied in
slices, between which look-ups and what happens have their turn.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from aiokafka import TopicPartition

from app.definitions.rules import RulesReader
from app.kafka.group_consumer import GroupConsumer
from app.profile_store.partition_store import Shard
from app.profiles.partition import ALL_ROWS, ProfilePartition
from app.profiles.update_records import heard
from projections.definitions.compiled_rules import identity_of
from projections.definitions.rebuild_spec import AppliedBody
from schemas.topics import UPDATES

IDLE_MS: Final = 50
REALTIME_RECORDS: Final = 16
BACKFILL_RECORDS: Final = 1  # between two looks at real time
FAIR_TURNS: Final = 8  # of real time alone, before backfill has one in any case
SLICE_ROWS: Final = 200  # of history at a time: about two milliseconds
HAPPENS_SECONDS: Final = 1.0  # since the last of real time, in which more of it is expected
STEPS: Final = 5  # of the loop: an answer that is asked for, or fetched, takes some

REALTIME: Final = UPDATES["realtime"].name
BACKFILL: Final = UPDATES["backfill"].name
LANES: Final = {topic.name: lane for lane, topic in UPDATES.items()}

PolledRecords = Mapping[TopicPartition, Sequence[Any]]


class UpdateConsumer:
    """Applies a little at a time. `is_idle`: there was nothing to read at once, the last time."""

    def __init__(self, reader: GroupConsumer, rules: RulesReader, partitions: Mapping[Shard, ProfilePartition]) -> None:
        self._reader = reader
        self._rules = rules
        self._partitions = partitions
        self._bounds: dict[int, tuple[AppliedBody | None, int]] = {}
        self._alone = 0  # turns that real time had in a row
        self._happened_at = float("-inf")
        self.is_idle = True

    async def take_some(self, seconds: float) -> None:
        """Apply what there is, or wait so long for it at most, and never longer than a moment."""
        realtime, backfill = self._inputs(REALTIME), self._inputs(BACKFILL)
        if not realtime:
            await asyncio.sleep(IDLE_MS / 1000)
            return
        now = await self._take_what_happens()
        self.is_idle = False
        if now and self._alone < FAIR_TURNS:
            self._alone += 1
            return
        self._alone = 0
        found = await self._reader.read(*backfill, wait_ms=0, max_records=BACKFILL_RECORDS)
        self.is_idle = not now and not found
        if self.is_idle:
            wait = max(round(min(1000 * seconds, IDLE_MS)), 1)
            found = await self._reader.read(*realtime, *backfill, wait_ms=wait, max_records=BACKFILL_RECORDS)
        await self._take(found)

    async def make_way(self) -> None:
        """Let look-ups go on, and apply what happens, in the middle of long work."""
        if self._happens():
            for _ in range(STEPS):
                await asyncio.sleep(0)
            await self._take_what_happens()

    def _happens(self) -> bool:
        return time.monotonic() - self._happened_at < HAPPENS_SECONDS

    def _inputs(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in sorted({number for _, number in self._partitions})]

    async def _take_what_happens(self) -> bool:
        found = await self._reader.read(*self._inputs(REALTIME), wait_ms=0, max_records=REALTIME_RECORDS)
        for where, records in found.items():
            self._apply_now(where, records)
        return bool(found)

    async def _take(self, found: PolledRecords) -> None:
        for where, records in found.items():
            if where.topic == REALTIME:
                self._apply_now(where, records)
            elif self._happens():
                for _ in self._slices(where, records, SLICE_ROWS):
                    await self.make_way()
            else:
                self._apply(where, records)
                await asyncio.sleep(0)  # for who looks something up

    def _apply_now(self, where: TopicPartition, records: Sequence[Any]) -> None:
        self._happened_at = time.monotonic()
        self._apply(where, records)

    def _apply(self, where: TopicPartition, records: Sequence[Any]) -> None:
        for _ in self._slices(where, records, ALL_ROWS):
            pass

    def _slices(self, where: TopicPartition, records: Sequence[Any], rows: int) -> Iterator[int]:
        """Apply records a slice at a time; nothing may be kept in between."""
        lane = LANES[where.topic]
        partitions = open_of(self._partitions, where.partition)
        most = {each.generation: self._most_identities(each.generation) for each in partitions}
        for record in records:
            if all(record.offset < each.next_offset(lane) for each in partitions):
                continue
            update = heard(record)
            for each in partitions:
                yield from each.slices(lane, record.offset, update, most[each.generation], rows)

    def _most_identities(self, generation: int) -> int:
        """Return the bound of the rules that a generation is made by, read once for each of them."""
        rules = self._rules.of(generation).identity
        if self._bounds.get(generation, (None, 0))[0] is not rules:
            self._bounds[generation] = (rules, identity_of(self._rules.of(generation)).max_identities)
        return self._bounds[generation][1]


def open_of(partitions: Mapping[Shard, ProfilePartition], number: int) -> list[ProfilePartition]:
    """Return the generations of a partition that are open: they read the same records, each from where it is."""
    return [partition for (_, each), partition in partitions.items() if each == number]
