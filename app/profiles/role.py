"""The `profiles` role: owns partitions of identities, applies updates to them, answers look-ups, forgets persons.

When a rebuild hands over a generation, it is opened beside the live one and reads the same topics; look-ups switch
when all its partitions are up to date. A new owner of a partition answers look-ups once it has read as far as the last
owner had.
"""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from itertools import product
from typing import Any, Final

from aiokafka import TopicPartition

from app.definitions.forgetting_catalog import ForgettingCatalog
from app.definitions.rules import RulesReader
from app.definitions.tail import DefinitionsTail
from app.kafka.batch_producer import BatchProducer
from app.kafka.clients import Cluster
from app.kafka.cluster import cluster_of
from app.kafka.group_consumer import GroupConsumer
from app.process import Clock, Monotonic, shutdown_event, utc_now
from app.profile_store.object_store import SnapshotStoreUnavailable
from app.profile_store.partition_store import Shard
from app.profile_store.stores import LostLogError, Storage
from app.profiles.forgetting import ForgettingWorker
from app.profiles.lookup_client import ProfilesClient
from app.profiles.lookup_server import LookupServer
from app.profiles.open_partitions import OpenPartitions
from app.profiles.update_consumer import UpdateConsumer
from app.settings import Settings
from app.store.data_plane import Generations, PlaneStore
from app.store.read_store import ReadStore
from schemas.topics import UPDATES

GROUP: Final = "entrepot.profiles"
MAX_CACHED_NODES: Final = 60_000  # in memory, decoded, of all partitions together
POLL_INTERVAL: Final = 0.5  # seconds between two reads of the generations
LOST_LOG_RETRY_DELAY: Final = 10.0  # seconds, until a snapshot may have been brought back
GRACE_SECONDS: Final = 30.0  # for look-ups that began before a generation was replaced

_log = logging.getLogger(__name__)


class GenerationWatch:
    """The generations to have open: the live one, the next one, and for a while those that it replaced."""

    def __init__(self, plane: PlaneStore, monotonic: Monotonic) -> None:
        self._plane = plane
        self._monotonic = monotonic
        self._polled_at = float("-inf")
        self._expiry: dict[int, float] = {}  # of generations that are no longer live
        self.current = Generations()

    @property
    def wanted(self) -> list[int]:
        """The generations to open."""
        return [self.current.live, *([] if self.current.next is None else [self.current.next])]

    @property
    def oldest(self) -> int:
        """The oldest generation whose stores and snapshots are kept."""
        return self.current.live if self.current.previous is None else self.current.previous

    async def poll(self) -> list[int]:
        """Read the generations, at most every `POLL_INTERVAL`, and return those to close now."""
        now = self._monotonic()
        if now - self._polled_at < POLL_INTERVAL:
            return []
        self._polled_at = now
        before, self.current = self.current, await self._plane.generations()
        if before.live != self.current.live:
            self._expiry[before.live] = now + GRACE_SECONDS
        expired = [
            generation for generation, until in self._expiry.items() if until <= now and generation != self.current.live
        ]
        for generation in expired:
            del self._expiry[generation]
        return expired

    def postpone_next(self) -> None:
        """Leave the next generation closed until the next poll."""
        self.current = replace(self.current, next=None)


class ProfilesWorker:
    """Opens the partitions that the group assigns to this process, and keeps them up to date.

    It announces a partition at `server` when it may answer look-ups.
    """

    def __init__(  # its parts
        self,
        cluster: Cluster,
        settings: Settings,
        storage: Storage,
        rules: RulesReader,
        partitions: OpenPartitions,
        server: LookupServer,
        plane: PlaneStore,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._storage = storage
        self._partitions = partitions
        self._server = server
        self._monotonic = monotonic
        self._generations = GenerationWatch(plane, monotonic)
        self._announced: set[Shard] = set()
        self._assigned: frozenset[int] = frozenset()
        self._retry_at: dict[Shard, float] = {}  # of partitions whose log is lost
        self._first: dict[TopicPartition, int] = {}  # first offsets of the update topics, read before updates are
        self._committed: dict[TopicPartition, int] = {}  # the last owner had read at least as far
        self._reader = GroupConsumer(
            cluster,
            [topic.name for topic in UPDATES.values()],
            GROUP,
            f"{GROUP}-{settings.worker_id}",
            on_assigned=self._on_assigned,
            on_revoked=self._on_revoked,
            background=[UPDATES["backfill"].name],
            monotonic=monotonic,
        )
        self._consumer = UpdateConsumer(self._reader, rules.of, partitions, monotonic)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Every error escapes; what was not flushed is read again by the next owner."""
        yield_to_realtime = self._consumer.yield_to_realtime
        async with self._reader.running():
            try:
                while not stop.is_set():
                    async with self._reader.guarded():
                        await self._close_expired()
                        await self._open_next()
                        await self._consumer.apply_next(self._partitions.seconds_until_flush())
                        await self._partitions.flush_due(yield_to_realtime, is_idle=self._consumer.is_idle)
                        for shard, store in self._partitions.stores():
                            self._storage.snapshot_if_due(shard, store)
                        self._reader.commit_soon(self._partitions.flushed_offsets(self._generations.current.live))
                async with self._reader.guarded():
                    await self._partitions.flush_all(yield_to_realtime)
            finally:
                await self._close(self._partitions)

    def owns(self, number: int) -> bool:
        """Return whether the group has assigned a partition to this process."""
        return number in self._assigned

    async def _on_assigned(self, numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        self._assigned = numbers
        self._first.clear()
        return {}

    async def _on_revoked(self, numbers: frozenset[int]) -> None:
        self._assigned -= numbers
        await self._partitions.flush_all(self._consumer.yield_to_realtime)
        await self._close(shard for shard in self._partitions if shard.partition in numbers)

    async def _close(self, shards: Iterable[Shard]) -> None:
        for shard in shards:
            self._announced.discard(shard)
            await self._storage.close(shard, self._partitions.remove(shard))

    async def _close_expired(self) -> None:
        expired = await self._generations.poll()
        if expired:
            await self._partitions.flush_all(self._consumer.yield_to_realtime)
            await self._close(shard for shard in self._partitions if shard.generation in expired)
            self._storage.remove_older(self._generations.oldest)

    async def _open_next(self) -> None:
        """Open one partition that is assigned and not open yet, or announce those that are up to date."""
        now = self._monotonic()
        wanted = [Shard(*pair) for pair in product(self._generations.wanted, sorted(self._assigned))]
        missing = [shard for shard in wanted if shard not in self._partitions and self._retry_at.get(shard, now) <= now]
        if not missing:
            self._first.clear()
            await self._announce_caught_up()
            return
        await self._read_offsets(missing)
        try:
            await self._open(missing[0], MAX_CACHED_NODES // max(len(wanted), 1))
        except LostLogError as error:
            _log.error("%s", error)
            self._retry_at[missing[0]] = now + LOST_LOG_RETRY_DELAY
        except SnapshotStoreUnavailable as error:
            if missing[0].generation == self._generations.current.live:
                raise
            _log.warning("generation %d can't be opened yet: %s", missing[0].generation, error)
            self._generations.postpone_next()

    async def _open(self, shard: Shard, max_nodes: int) -> None:
        """Open a partition and read its updates from the offset of its store on."""
        sources = {lane: TopicPartition(topic.name, shard.partition) for lane, topic in UPDATES.items()}
        store = await self._storage.open(shard, {source.topic: self._first[source] for source in sources.values()})
        self._partitions.open(shard, store, max_nodes)
        for lane, source in sources.items():
            generations = self._partitions.generations_of(shard.partition)
            self._reader.seek(source, min(partition.next_offset(lane) for partition in generations))
        gc.freeze()  # loaded nodes live long, so the collector need not visit them

    async def _read_offsets(self, missing: Iterable[Shard]) -> None:
        """Read the first and the committed offsets of all missing partitions at once: after a fetch it takes 0.5 s."""
        sources = {TopicPartition(topic.name, shard.partition) for shard in missing for topic in UPDATES.values()}
        if not sources <= self._first.keys():
            self._first |= await self._reader.beginning_offsets(list(sources))
            self._committed |= await self._reader.committed(sources)

    async def _announce_caught_up(self) -> None:
        """Announce the partitions that have read as far as those that answered look-ups before."""
        for shard in self._partitions:
            if shard not in self._announced and self._has_caught_up(shard):
                await self._server.announce(shard)
                self._announced.add(shard)

    def _has_caught_up(self, shard: Shard) -> bool:
        partition = self._partitions.get(shard)
        return partition is not None and all(
            partition.next_offset(lane) >= self._answered_offset(shard, lane) for lane in UPDATES
        )

    def _answered_offset(self, shard: Shard, lane: str) -> int:
        """Return the offset up to which updates are part of what look-ups were answered from."""
        if shard.generation == self._generations.current.live:
            return self._committed[TopicPartition(UPDATES[lane].name, shard.partition)]
        return max(partition.next_offset(lane) for partition in self._partitions.generations_of(shard.partition))


async def run_profiles(settings: Settings, clock: Clock = utc_now) -> int:
    """Run the role until SIGTERM or SIGINT; return the exit code of the process."""
    gc.set_threshold(200_000, 100, 100)  # nodes are many and have no cycles: collections took a sixth of the time
    async with AsyncExitStack() as stack:
        store = await ReadStore.open(settings.database())
        stack.push_async_callback(store.close)
        cluster = cluster_of(settings)
        definitions = DefinitionsTail(cluster)
        rules, forgettings = RulesReader(definitions), ForgettingCatalog()
        definitions.subscribe(forgettings.apply)
        stack.push_async_callback(definitions.stop)
        definitions.start()
        await definitions.caught_up()
        producer = await stack.enter_async_context(BatchProducer(cluster))
        partitions = OpenPartitions(producer, settings.partitions, clock)
        server = await stack.enter_async_context(LookupServer(settings.profiles_bind_host, store.plane, partitions))
        storage = Storage(settings, time.monotonic)
        worker = ProfilesWorker(cluster, settings, storage, rules, partitions, server, store.plane)
        client = await stack.enter_async_context(ProfilesClient(store.plane, settings.partitions))
        forgetting = ForgettingWorker(
            cluster, settings.partitions, store.plane, client, rules, forgettings, producer, clock
        )
        stop = shutdown_event()
        async with _beside(forgetting.run(worker.owns), stop):
            await worker.run(stop)
    return 0


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> AsyncIterator[None]:
    """Run `work` beside the block, and cancel it at the end. If it fails, set `stop`, and raise its error then."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda _: stop.set())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
