"""The `rebuild` role: builds rebuilds, compares them with the live profiles, and hands them over once promoted.

One process of a deployment works: the one that the consumer group assigns the partition of definitions. Its stores are
in its data directory; the rest of its state is in the read store and in Kafka, so it resumes after a crash.
"""

import asyncio
import gc
import logging
import shutil
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import pyarrow as pa
from aiokafka import TopicPartition

from app.kafka.batch_producer import BatchProducer
from app.kafka.clients import Cluster
from app.kafka.cluster import cluster_of
from app.kafka.group_consumer import GroupConsumer
from app.process import Clock, Monotonic, shutdown_event, utc_now
from app.profile_store.snapshots import Snapshots
from app.profiles.lookup_client import ProfilesClient
from app.rebuild.builder import RebuildBuilder
from app.rebuild.handover import SnapshotHandover
from app.rebuild.live_comparison import LiveComparison
from app.rebuild.progress import RebuildPhase, RebuildProgress
from app.rebuild.raw_reader import Bounds
from app.rebuild.stores import FOLDER, rebuild_folder, remove_others
from app.rebuild.tasks import RebuildTask, RebuildTasks
from app.records.encoding import encoded
from app.settings import Settings
from app.store.data_plane import Generations
from app.store.read_store import ReadStore
from schemas.definitions import PARTITION, ReportRebuilt
from schemas.topics import DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS, LANES, UPDATES, Topic

GROUP: Final = "entrepot.rebuild"
IDLE_DELAY: Final = 0.5  # seconds
PROGRESS_INTERVAL: Final = 1.0  # seconds

_log = logging.getLogger(__name__)


class Rebuilder:
    """Works on one rebuild at a time: first on one that is promoted and not live yet, then on one under way."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        store: ReadStore,
        client: ProfilesClient,
        tasks: RebuildTasks,
        clock: Clock,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._plane = store.plane
        self._lanes = store.lanes
        self._client = client
        self._tasks = tasks
        self._clock = clock
        self._monotonic = monotonic
        snapshots, scratch = Snapshots.at(settings.snapshots()), settings.data_dir / FOLDER / "trial"
        self._handover = SnapshotHandover(snapshots, store.plane, settings.partitions, scratch, monotonic)
        self._producer = BatchProducer(cluster)
        self._is_assigned = False
        self._builder: RebuildBuilder | None = None
        self._comparison: LiveComparison | None = None
        self._progress = RebuildProgress()
        self._progress_at = float("-inf")
        self._previous_ends: Bounds = {}
        self._offsets = cluster.consumer(isolation="read_committed")
        self._reader = GroupConsumer(
            cluster,
            [DEFINITIONS_EVENTS.name],
            GROUP,
            f"{GROUP}-{settings.worker_id}",
            on_assigned=self._on_assigned,
            on_revoked=self._on_revoked,
            monotonic=monotonic,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Every error escapes; what was not flushed is built again."""
        async with self.running():
            while not stop.is_set():
                if not await self.step():
                    await asyncio.sleep(IDLE_DELAY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect, remove the stores of unknown rebuilds, and join the group; leave it at the end."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._producer)
            stack.push_async_callback(self._offsets.stop)
            await self._offsets.start()
            names = [task.name for task in self._tasks.tasks.values()]
            await asyncio.to_thread(remove_others, self._settings.data_dir, names)
            await stack.enter_async_context(self._reader.running())
            stack.push_async_callback(self._close)
            yield

    async def step(self) -> bool:
        """Do a little work if this process is the one that works; return whether there may be more at once."""
        async with self._reader.guarded():
            has_worked = self._is_assigned and await self._work()
            await self._reader.poll_idle(0)
        return has_worked

    async def _on_assigned(self, numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        self._is_assigned = PARTITION in numbers or self._is_assigned
        return {}

    async def _on_revoked(self, numbers: frozenset[int]) -> None:
        if PARTITION in numbers:
            self._is_assigned = False
            await self._close()

    async def _work(self) -> bool:
        generations = await self._plane.generations()
        await self._remove_finished(generations.live)
        task = next((task for task in self._tasks.tasks.values() if task.rebuild.generation > generations.live), None)
        if task is not None:
            return await self._activate(task, generations)
        task = next((task for task in self._tasks.tasks.values() if task.rebuild.is_under_way), None)
        if task is not None:
            await self._build(task)
        return task is not None

    async def _remove_finished(self, live: int) -> None:
        """Remove the stores of rebuilds that are discarded or live."""
        for name, task in tuple(self._tasks.tasks.items()):
            promoted = task.rebuild.status == "promoted"
            if task.rebuild.status == "discarded" or (promoted and task.rebuild.generation <= live):
                if self._builder and self._builder.name == name:
                    await self._close()
                await asyncio.to_thread(shutil.rmtree, rebuild_folder(self._settings.data_dir, task.name), True)
                self._tasks.remove(name)

    async def _build(self, task: RebuildTask) -> None:
        """Apply more messages; compare when it has caught up for the first time."""
        builder = await self._open(task)
        await builder.read_some(self._tasks.rules.forgotten)
        if self._monotonic() - self._progress_at < PROGRESS_INTERVAL:
            return
        await self._record_updates(task)
        is_ready = task.rebuild.version > 0
        caught_up = await self._update_progress(task, "comparing" if self._comparison and not is_ready else "building")
        if caught_up:
            await builder.stores.forget(task.forgotten)
            if not is_ready:
                await self._compare(task, builder)

    async def _compare(self, task: RebuildTask, builder: RebuildBuilder) -> None:
        """Compare with the live profiles, and then report that the rebuild is ready."""
        if self._comparison is None:
            self._comparison = LiveComparison(
                self._cluster, self._lanes, self._client, builder, self._settings.partitions, self._monotonic
            )
        report = await self._comparison.report(self._clock)
        if report:
            await self._report(task, report)

    async def _activate(self, task: RebuildTask, generations: Generations) -> bool:
        """Apply all messages before the lanes switched to these rules, hand over, and switch look-ups.

        False: the owners of some partitions have not opened the generation yet.
        """
        generation = task.rebuild.generation
        if generations.next != generation:
            builder = await self._open(task)
            await builder.read_some(self._tasks.rules.forgotten)
            if await self._has_all(task, builder):
                await self._hand_over(task, builder, range(self._settings.partitions))
        elif lost := await self._handover.lost(generation):
            await self._hand_over_again(task, lost)
        elif not await self._handover.pending(generation):
            await self._plane.activate(generation, generations.live)
            await self._save_progress(task, "live")
            _log.info("profile generation %d is now live", generation)
        else:
            await self._save_progress(task, "activating")
            return False
        return True

    async def _has_all(self, task: RebuildTask, builder: RebuildBuilder) -> bool:
        """Return whether all messages that the lanes mapped by other rules are applied."""
        position, waiting = await builder.position(), list[str]()
        has_all = True
        for topic in LANES.values():
            for number in range(self._settings.partitions):
                rules = await self._plane.rules_of(topic.name, number)
                bound = next((offset for offset, rules_offset in rules if rules_offset >= task.rules_offset), None)
                if bound is None:
                    waiting.append(f"{topic.name}/{number}")
                has_all = has_all and bound is not None and position[TopicPartition(topic.name, number)] >= bound
        self._progress.waiting_for = waiting
        await self._update_progress(task, "waiting_for_lanes")
        return has_all

    async def _hand_over_again(self, task: RebuildTask, numbers: Sequence[int]) -> None:
        """Hand lost partitions over again, unchanged: their messages to others are applied in those already open."""
        builder = await self._open(task)
        if builder.stores.is_finished(task.rules_offset):
            await self._hand_over(task, builder, numbers)
        else:
            _log.error(
                "generation %d can't be activated: snapshots of partitions %s and their stores are lost. "
                "Restore the snapshots",
                task.rebuild.generation,
                numbers,
            )

    async def _hand_over(self, task: RebuildTask, builder: RebuildBuilder, numbers: Iterable[int]) -> None:
        await self._save_progress(task, "handover")
        await builder.stores.forget(task.forgotten)
        begin = {
            TopicPartition(topic.name, n): 0 for topic in UPDATES.values() for n in range(self._settings.partitions)
        }
        builder.stores.finish(task.rules_offset, begin | self._progress.first_updates())
        await self._handover.hand_over(task.rebuild.generation, builder.stores.partition_stores, numbers)
        await self._close()

    async def _report(self, task: RebuildTask, report: str) -> None:
        """Report that the rebuild is ready; a repeat sends the same command."""
        command = ReportRebuilt(
            command_id=f"{task.rebuild.definition_id}/ready/{task.rebuild.version}",
            definition_id=task.rebuild.definition_id,
            issued_at=self._clock(),
            issued_by="rebuild",
            expected_version=task.rebuild.version,
            report=report,
        )
        await self._producer.write([encoded(DEFINITIONS_COMMANDS, command, command.definition_id, PARTITION)])

    async def _open(self, task: RebuildTask) -> RebuildBuilder:
        if self._builder and self._builder.name != task.rebuild.definition_id:
            await self._close()
        if self._builder is None:
            folder = rebuild_folder(self._settings.data_dir, task.name)
            self._progress = RebuildProgress.decode(await self._plane.progress(task.rebuild.definition_id))
            self._progress.started_at = self._progress.started_at or self._clock()
            self._previous_ends = {}
            self._builder = RebuildBuilder(
                task, folder, self._cluster, self._settings.partitions, self._clock, self._monotonic
            )
            await self._builder.__aenter__()
        return self._builder

    async def _close(self) -> None:
        comparison, self._comparison = self._comparison, None
        if comparison is not None:
            await comparison.stop()
        builder, self._builder = self._builder, None
        if builder is not None:
            await builder.__aexit__()

    async def _record_updates(self, task: RebuildTask) -> None:
        """Record the end offsets of the update topics, if the rebuild was certainly not promoted by then."""
        rules = TopicPartition(DEFINITIONS_EVENTS.name, PARTITION)
        ends = await self._offsets.end_offsets(self._topics(UPDATES))
        rules_end = (await self._offsets.end_offsets([rules]))[rules]
        newest = self._tasks.tasks.get(task.rebuild.definition_id)
        if self._tasks.rules_offset >= rules_end and newest and not newest.rules_offset:
            self._progress.record_updates(ends)

    def _topics(self, topics: Mapping[str, Topic]) -> list[TopicPartition]:
        return [TopicPartition(topic.name, n) for topic in topics.values() for n in range(self._settings.partitions)]

    async def _update_progress(self, task: RebuildTask, phase: RebuildPhase) -> bool:
        """Measure and store the progress, and return whether it has reached the end offsets of the last call."""
        assert self._builder
        now, before = self._monotonic(), self._progress.messages
        ends = await self._offsets.end_offsets(self._topics(LANES))  # its own consumer: after a fetch it takes 0.5 s
        position = await self._builder.position()
        seconds = min(now - self._progress_at, 60.0)
        progress = self._progress
        progress.messages += self._builder.take_messages()
        progress.rate = (progress.messages - before) / seconds
        progress.total = sum(ends.values())
        progress.read = min(sum(position.values()), progress.total)
        self._progress_at = now
        caught_up = bool(self._previous_ends) and all(
            position[source] >= end for source, end in self._previous_ends.items()
        )
        self._previous_ends = ends
        await self._save_progress(task, "caught_up" if phase == "building" and task.rebuild.version else phase)
        return caught_up

    async def _save_progress(self, task: RebuildTask, phase: RebuildPhase) -> None:
        self._progress.phase = phase
        self._progress.updated_at = self._clock()
        await self._plane.save_progress(task.rebuild.definition_id, self._progress.encode())


async def run_rebuild(settings: Settings, clock: Clock = utc_now) -> int:
    """Run the role until SIGTERM or SIGINT; return the exit code of the process."""
    gc.set_threshold(200_000, 100, 100)  # nodes are many and have no cycles, as in the `profiles` role
    sys.setswitchinterval(0.0005)  # seconds: folding threads yield to the event loop soon
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own pool retains 100 MB
    async with AsyncExitStack() as stack:
        store = await ReadStore.open(settings.database())
        stack.push_async_callback(store.close)
        cluster = cluster_of(settings)
        tasks = RebuildTasks(cluster)
        stack.push_async_callback(tasks.stop)
        await tasks.start()
        client = await stack.enter_async_context(ProfilesClient(store.plane, settings.partitions))
        await Rebuilder(cluster, settings, store, client, tasks, clock).run(shutdown_event())
    return 0
