"""The `profiles` role: owns partitions of identities, reads what lanes and nodes tell them, real time first.

Backfill gets what is left, one record at a time, and at least every ninth turn. What was applied is kept together, some
times a second, after all that it makes other partitions hear is acked.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from aiokafka import TopicPartition

from app.group_reader import GroupReader
from app.lane.rule_book import identity_of
from app.profiles.partition import ProfilePartition
from app.profiles.serving import Serving
from app.profiles.storage import Storage
from app.rules_reader import RulesReader
from app.settings import Settings
from app.stamp import Clock, utc_now
from app.stopping import told_to_stop
from app.store.read_store import ReadStore
from app.writer import Writer
from schemas.topics import UPDATES
from schemas.updates import MappedBatch, NodeBatch
from schemas.wire import decode

GROUP: Final = "entrepot.profiles"
IDLE_MS: Final = 50
REALTIME_RECORDS: Final = 16
BACKFILL_RECORDS: Final = 1  # between two looks at real time
FAIR_TURNS: Final = 8  # of real time alone, before backfill has one in any case
KEEP_SECONDS: Final = 0.1
KEEP_NODES: Final = 5_000
MOST_NODES: Final = 60_000  # in memory, decoded, of all partitions together

Announce = Callable[[int], Awaitable[None]]

_log = logging.getLogger(__name__)


class Profiles:
    """The partitions that this process owns. `partitions` are those that are open and up to date with their store."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        rules: RulesReader,
        clock: Clock,
        partitions: dict[int, ProfilePartition],
        announce: Announce,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._rules = rules
        self._clock = clock
        self._announce = announce
        self.partitions = partitions
        self._wanted: frozenset[int] = frozenset()
        self._alone = 0  # turns that real time had in a row
        self._kept_at = time.monotonic()
        self._writer = Writer(settings.bootstrap_servers)
        self._reader = GroupReader(
            settings.bootstrap_servers,
            [each.name for each in UPDATES.values()],
            GROUP,
            f"{GROUP}-{settings.worker_id}",
            assigned=self._assigned,
            revoked=self._revoked,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Whatever goes wrong escapes; what wasn't kept is read again."""
        async with self._writer, self._reader.running():
            try:
                while not stop.is_set():
                    async with self._reader.turn():
                        await self._open_wanted()
                        await self._read_some()
                        await self._keep_if_due()
                        self._snapshot_if_due()
                        await self._reader.tell(self._offsets())
                async with self._reader.turn():
                    await self._keep()
            finally:
                await self._close(self.partitions.keys())

    async def _assigned(self, numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        self._wanted = numbers
        return {}

    async def _revoked(self, numbers: frozenset[int]) -> None:
        self._wanted -= numbers
        await self._keep()
        await self._close(numbers)

    async def _close(self, numbers: Iterable[int]) -> None:
        for number in tuple(numbers):
            partition = self.partitions.pop(number, None)
            if partition is not None:
                await self._storage.close(number, partition.store)

    async def _open_wanted(self) -> None:
        """Open one partition that is owned and not open yet, and read on where its store is."""
        missing = sorted(self._wanted - self.partitions.keys())
        if not missing:
            return
        number = missing[0]
        where = {lane: TopicPartition(topic.name, number) for lane, topic in UPDATES.items()}
        first = await self._reader.first_offsets(list(where.values()))
        store = await self._storage.open(number, {each.topic: offset for each, offset in first.items()})
        partition = ProfilePartition(
            number,
            self._settings.partitions,
            store,
            most_nodes=MOST_NODES // max(len(self._wanted), 1),
            clock=lambda: self._clock().timestamp(),
        )
        for lane, each in where.items():
            self._reader.seek(each, partition.next_offset(lane))
        self.partitions[number] = partition
        await self._announce(number)
        gc.freeze()  # what has been loaded lives long; collections needn't look at it

    async def _read_some(self) -> None:
        realtime, backfill = (
            [TopicPartition(UPDATES[lane].name, number) for number in self.partitions] for lane in UPDATES
        )
        if not realtime:
            await asyncio.sleep(IDLE_MS / 1000)
            return
        found = await self._reader.read(*realtime, wait_ms=0, most=REALTIME_RECORDS)
        if found and self._alone < FAIR_TURNS:
            self._alone += 1
        else:
            self._alone = 0
            more = await self._reader.read(*backfill, wait_ms=0, most=BACKFILL_RECORDS)
            found = {**found, **more}
        if not found:
            wait = IDLE_MS if self._nothing_to_keep() else 1
            found = await self._reader.read(*realtime, *backfill, wait_ms=wait, most=BACKFILL_RECORDS)
        for where, records in found.items():
            self._apply(where, records)

    def _apply(self, where: TopicPartition, records: Sequence[Any]) -> None:
        lane = next(lane for lane, topic in UPDATES.items() if topic.name == where.topic)
        partition = self.partitions[where.partition]
        most = identity_of(self._rules.rules).max_identities
        for record in records:
            update = decode(record.value)
            assert isinstance(update, MappedBatch | NodeBatch), "nobody else writes to updates.*"
            partition.apply(lane, record.offset, update, most)

    def _nothing_to_keep(self) -> bool:
        return all(each.is_kept for each in self.partitions.values())

    async def _keep_if_due(self) -> None:
        changes = sum(each.changes for each in self.partitions.values())
        if changes >= KEEP_NODES or time.monotonic() - self._kept_at >= KEEP_SECONDS:
            await self._keep()

    async def _keep(self) -> None:
        unkept = [each for each in self.partitions.values() if not each.is_kept]
        await self._writer.write([record for each in unkept for record in each.to_tell()])
        for each in unkept:
            each.keep()
        self._kept_at = time.monotonic()

    def _snapshot_if_due(self) -> None:
        for number, partition in self.partitions.items():
            self._storage.snapshot_if_due(number, partition.store)

    def _offsets(self) -> Mapping[TopicPartition, int]:
        return {
            TopicPartition(topic.name, number): partition.next_offset(lane)
            for number, partition in self.partitions.items()
            for lane, topic in UPDATES.items()
        }


async def run_profiles(settings: Settings, clock: Clock = utc_now) -> int:
    """Run the role until it is told to stop; return the process's exit code."""
    gc.set_threshold(50_000, 20, 100)  # nodes are many, and have no cycles
    async with AsyncExitStack() as stack:
        store = await ReadStore.open(settings.database())
        stack.push_async_callback(store.close)
        rules = RulesReader(settings.bootstrap_servers)
        stack.push_async_callback(rules.stop)
        rules.start()
        await rules.caught_up()
        partitions: dict[int, ProfilePartition] = {}
        serving = await stack.enter_async_context(Serving(settings.profiles_host, store.plane, partitions))
        profiles = Profiles(settings, Storage(settings, time.monotonic), rules, clock, partitions, serving.announce)
        await profiles.run(told_to_stop())
    return 0
