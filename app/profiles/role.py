"""The `profiles` role: owns partitions of identities, and has what lanes and nodes tell them taken, kept and answered.

When a rebuild hands over a generation, it is opened beside the live one and follows the same topics; look-ups change
over when all partitions of it are up to date. Whoever takes a partition over answers when it has read as far as the
last owner had.
"""

import asyncio
import gc
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

from aiokafka import TopicPartition

from app.clock import Clock, utc_now
from app.definitions.rules import RulesReader
from app.definitions.tail import DefinitionsTail
from app.kafka.batch_producer import BatchProducer
from app.kafka.clients import Cluster, KafkaCluster
from app.kafka.group_consumer import GroupConsumer
from app.profile_store.object_store import SnapshotStoreUnavailable
from app.profile_store.partition_store import Shard
from app.profile_store.stores import LostLogError, Storage
from app.profiles.flush import FlushScheduler
from app.profiles.lookup_server import LookupServer
from app.profiles.partition import ProfilePartition
from app.profiles.update_consumer import UpdateConsumer, open_of
from app.settings import Settings
from app.signals import told_to_stop
from app.store.data_plane import Generations, PlaneStore
from app.store.read_store import ReadStore
from schemas.topics import UPDATES

GROUP: Final = "entrepot.profiles"
MAX_CACHED_NODES: Final = 60_000  # in memory, decoded, of all partitions together
POLL_INTERVAL_SECONDS: Final = 0.5  # between two looks at which generations there are
LOST_SECONDS: Final = 10.0  # between two looks whether a snapshot was brought back
GRACE_SECONDS: Final = 30.0  # for answers that began before a generation went live

Announce = Callable[[Shard], Awaitable[None]]

_log = logging.getLogger(__name__)


class Profiles:
    """The partitions that this process owns. `partitions` are those that are open and up to date with their store."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        storage: Storage,
        rules: RulesReader,
        clock: Clock,
        partitions: dict[Shard, ProfilePartition],
        announce: Announce,
        plane: PlaneStore,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._rules = rules
        self._plane = plane
        self._stage = Generations()
        self._looked_at = float("-inf")
        self._announced: set[Shard] = set()
        self._unneeded: dict[int, float] = {}  # generations that are no longer live, and when they are closed
        self._clock = clock
        self._announce = announce
        self.partitions = partitions
        self._wanted: frozenset[int] = frozenset()
        self._lost: dict[Shard, float] = {}  # what can't be opened as its log is gone, and when that is tried again
        self._first: dict[TopicPartition, int] = {}  # offsets that updates still have, asked for before reading begins
        self._told: dict[TopicPartition, int] = {}  # up to where the last owner had read at least
        self._writer = BatchProducer(cluster)
        self._reader = GroupConsumer(
            cluster,
            [each.name for each in UPDATES.values()],
            GROUP,
            f"{GROUP}-{settings.worker_id}",
            on_assigned=self._assigned,
            on_revoked=self._revoked,
            background=[UPDATES["backfill"].name],
        )
        self._taking = UpdateConsumer(self._reader, rules, partitions)
        self._keeper = FlushScheduler(self._writer, partitions, self._taking.make_way)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Whatever goes wrong escapes; what wasn't kept is read again."""
        async with self._writer, self._reader.running():
            try:
                while not stop.is_set():
                    async with self._reader.guarded():
                        await self._open_wanted()
                        await self._taking.take_some(self._keeper.seconds_left())
                        await self._keeper.keep_if_due(is_awaited=self._taking.is_idle)
                        self._snapshot_if_due()
                        self._reader.commit_soon(self._keeper.offsets(self._stage.live))
                async with self._reader.guarded():
                    await self._keeper.keep()
            finally:
                await self._close(self.partitions.keys())

    async def _assigned(self, numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        self._wanted = numbers
        self._first.clear()
        return {}

    async def _revoked(self, numbers: frozenset[int]) -> None:
        self._wanted -= numbers
        await self._keeper.keep()
        await self._close([each for each in self.partitions if each[1] in numbers])

    async def _close(self, places: Iterable[Shard]) -> None:
        for place in tuple(places):
            self._announced.discard(place)
            self._keeper.note_closed(place)
            partition = self.partitions.pop(place, None)
            if partition is not None:
                await self._storage.close(place, partition.store)

    async def _follow_generations(self) -> None:
        """Look which generations are to be open, and close those that nobody asks any more."""
        now = time.monotonic()
        if now - self._looked_at < POLL_INTERVAL_SECONDS:
            return
        self._looked_at = now
        before, self._stage = self._stage, await self._plane.stage()
        if before.live != self._stage.live:
            self._unneeded[before.live] = now + GRACE_SECONDS
        over = [each for each, until in self._unneeded.items() if until <= now and each != self._stage.live]
        if over:
            await self._keeper.keep()
            await self._close([place for place in self.partitions if place[0] in over])
            self._unneeded = {each: until for each, until in self._unneeded.items() if each not in over}
            self._storage.remove_older(self._stage.live if self._stage.former is None else self._stage.former)

    async def _open_wanted(self) -> None:
        """Open one partition that is owned and not open yet, and read on where its store is."""
        await self._follow_generations()
        coming = self._stage.coming
        generations = [self._stage.live, *([] if coming is None else [coming])]
        now, wanted = time.monotonic(), [(each, number) for each in generations for number in sorted(self._wanted)]
        missing = [each for each in wanted if each not in self.partitions and self._lost.get(each, now) <= now]
        if not missing:
            self._first.clear()
            await self._announce_those_that_caught_up()
            return
        place = missing[0]
        where = {lane: TopicPartition(topic.name, place[1]) for lane, topic in UPDATES.items()}
        first = await self._first_offsets(missing)
        try:
            store = await self._storage.open(place, {each.topic: first[each] for each in where.values()})
        except LostLogError as error:
            _log.error("%s", error)
            self._lost[place] = now + LOST_SECONDS
            return
        except SnapshotStoreUnavailable as error:
            if place[0] == self._stage.live:
                raise
            _log.warning("generation %d can't be opened yet: %s", place[0], error)
            self._stage = replace(self._stage, coming=None)  # until the next look
            return
        partition = ProfilePartition(
            place[1],
            self._settings.partitions,
            store,
            generation=place[0],
            most_nodes=MAX_CACHED_NODES // max(len(self._wanted) * len(generations), 1),
            clock=lambda: self._clock().timestamp(),
        )
        self.partitions[place] = partition
        self._keeper.note_kept(place)
        for lane, each in where.items():
            self._reader.seek(each, min(open_.next_offset(lane) for open_ in open_of(self.partitions, place[1])))
        gc.freeze()  # what has been loaded lives long; collections needn't look at it

    async def _first_offsets(self, missing: Iterable[Shard]) -> Mapping[TopicPartition, int]:
        """Return the first offsets of all that is missing, asked for at once: behind a fetch, an answer takes 0.5 s."""
        where = {TopicPartition(topic.name, number) for _, number in missing for topic in UPDATES.values()}
        if not where <= self._first.keys():
            self._first |= await self._reader.beginning_offsets(list(where))
            self._told |= await self._reader.committed(where)
        return self._first

    async def _announce_those_that_caught_up(self) -> None:
        """Answer for what is live when it knows all that was answered before, and for what comes when it does, too."""
        for place in self.partitions.keys() - self._announced:
            if all(self.partitions[place].next_offset(lane) >= self._known(place, lane) for lane in UPDATES):
                await self._announce(place)
                self._announced.add(place)

    def _known(self, place: Shard, lane: str) -> int:
        """Return up to where updates were read by what has answered so far."""
        if place[0] == self._stage.live:
            return self._told[TopicPartition(UPDATES[lane].name, place[1])]
        return max(each.next_offset(lane) for each in open_of(self.partitions, place[1]))

    def _snapshot_if_due(self) -> None:
        for place, partition in self.partitions.items():
            self._storage.snapshot_if_due(place, partition.store)


async def run_profiles(settings: Settings, clock: Clock = utc_now) -> int:
    """Run the role until it is told to stop; return the process's exit code."""
    gc.set_threshold(200_000, 100, 100)  # nodes are many and have no cycles: to search them cost a sixth of all
    async with AsyncExitStack() as stack:
        store = await ReadStore.open(settings.database())
        stack.push_async_callback(store.close)
        cluster = KafkaCluster(settings.bootstrap_servers)
        definitions = DefinitionsTail(cluster)
        rules = RulesReader(definitions)
        stack.push_async_callback(definitions.stop)
        definitions.start()
        await definitions.caught_up()
        partitions: dict[Shard, ProfilePartition] = {}
        serving = await stack.enter_async_context(LookupServer(settings.profiles_bind_host, store.plane, partitions))
        storage = Storage(settings, time.monotonic)
        profiles = Profiles(cluster, settings, storage, rules, clock, partitions, serving.announce, store.plane)
        await profiles.run(told_to_stop())
    return 0
