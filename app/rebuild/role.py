"""The `rebuild` role: builds what a rebuild asks for, says when it is ready, and hands it over once it is promoted.

One process of a deployment does it, whichever the consumer group gives the one partition of rules. Its stores are in
its own data directory; all else that it needs to go on after a kill is in the read store and in Kafka.
"""

import asyncio
import gc
import logging
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

import pyarrow as pa
from aiokafka import TopicPartition

from app.clock import Clock, utc_now
from app.kafka.batch_producer import BatchProducer
from app.kafka.clients import Cluster, KafkaCluster
from app.kafka.group_consumer import GroupConsumer
from app.kafka.producer_record import ProducerRecord
from app.profile_store.snapshots import Snapshots
from app.profiles.lookup_client import ProfilesClient
from app.rebuild.builder import RebuildBuilder
from app.rebuild.handover import SnapshotHandover
from app.rebuild.live_comparison import LiveComparison
from app.rebuild.progress import Phase, RebuildProgress
from app.rebuild.raw_reader import Bounds
from app.rebuild.stores import FOLDER, folder_of, remove_others
from app.rebuild.tasks import RebuildTask, RebuildTasks
from app.settings import Settings
from app.signals import shutdown_event
from app.store.read_store import ReadStore
from schemas.definitions import PARTITION, ReportRebuilt
from schemas.topics import DEFINITIONS_COMMANDS, DEFINITIONS_EVENTS, LANES, UPDATES, Topic
from schemas.wire.codec import encode
from schemas.wire.headers import headers_of

GROUP: Final = "entrepot.rebuild"
IDLE_SECONDS: Final = 0.5
POLL_INTERVAL_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Rebuilder:
    """Works on one rebuild at a time: first on what was promoted and isn't live yet, then on what is under way."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        store: ReadStore,
        asking: ProfilesClient,
        following: RebuildTasks,
        clock: Clock,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._plane = store.plane
        self._lanes = store.lanes
        self._asking = asking
        self._following = following
        self._clock = clock
        snapshots, scratch = Snapshots.at(settings.snapshots()), settings.data_dir / FOLDER / "tried"
        self._handing = SnapshotHandover(snapshots, store.plane, settings.partitions, scratch)
        self._writer = BatchProducer(cluster)
        self._mine = False
        self._building: RebuildBuilder | None = None
        self._comparing: LiveComparison | None = None
        self._progress = RebuildProgress()
        self._looked_at = float("-inf")
        self._ends_before: Bounds = {}
        self._ends = cluster.consumer(isolation="read_committed")
        self._reader = GroupConsumer(
            cluster,
            [DEFINITIONS_EVENTS.name],
            GROUP,
            f"{GROUP}-{settings.worker_id}",
            on_assigned=self._assigned,
            on_revoked=self._revoked,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Whatever goes wrong escapes; what wasn't kept is built again."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._writer)
            stack.push_async_callback(self._ends.stop)
            await self._ends.start()
            names = [each.name for each in self._following.tasks.values()]
            await asyncio.to_thread(remove_others, self._settings.data_dir, names)  # nobody else knows of them any more
            await stack.enter_async_context(self._reader.running())
            stack.push_async_callback(self._close)
            while not stop.is_set():
                async with self._reader.guarded():
                    worked = self._mine and await self._work()
                    await self._reader.poll_idle(0)
                if not worked:
                    await asyncio.sleep(IDLE_SECONDS)

    async def _assigned(self, numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        self._mine = PARTITION in numbers or self._mine
        return {}

    async def _revoked(self, numbers: frozenset[int]) -> None:
        if PARTITION in numbers:
            self._mine = False
            await self._close()

    async def _work(self) -> bool:
        """Do a little of what there is to do; return whether there was anything."""
        await self._clear_up()
        live = (await self._plane.generations()).live
        task = next((each for each in self._following.tasks.values() if each.rebuild.generation > live), None)
        if task is not None:
            await self._bring_live(task, live)
            return True
        task = next((each for each in self._following.tasks.values() if each.rebuild.is_under_way), None)
        if task is not None:
            await self._build(task)
        return task is not None

    async def _clear_up(self) -> None:
        """Remove what was built for rebuilds that are over."""
        live = (await self._plane.generations()).live
        for name, task in tuple(self._following.tasks.items()):
            promoted = task.rebuild.status == "promoted"
            if task.rebuild.status == "discarded" or (promoted and task.rebuild.generation <= live):
                if self._building and self._building.name == name:
                    await self._close()
                await asyncio.to_thread(shutil.rmtree, folder_of(self._settings.data_dir, task.name), True)
                self._following.done(name)

    async def _build(self, task: RebuildTask) -> None:
        """Read on; say that it is ready when it has caught up for the first time."""
        building = await self._open(task)
        await building.read_some(self._following.rules.forgotten)
        if time.monotonic() - self._looked_at < POLL_INTERVAL_SECONDS:
            return
        await self._note_updates(task)
        is_ready = task.rebuild.version > 0
        caught_up = await self._look(task, "comparing" if self._comparing and not is_ready else "building")
        if caught_up:
            await building.stores.forget(task.forgotten)
            if not is_ready:
                await self._compare(task, building)

    async def _compare(self, task: RebuildTask, building: RebuildBuilder) -> None:
        """Compare with what is live, and then say that it is ready."""
        if self._comparing is None:
            numbers = self._settings.partitions
            self._comparing = LiveComparison(self._cluster, self._lanes, self._asking, building, numbers)
        report = await self._comparing.report(self._clock)
        if report:
            await self._report(task, report)

    async def _bring_live(self, task: RebuildTask, live: int) -> None:
        """Read to where the lanes began to map by these rules, hand over, and let look-ups change over."""
        generation = task.rebuild.generation
        if (await self._plane.generations()).next != generation:
            building = await self._open(task)
            await building.read_some(self._following.rules.forgotten)
            if await self._has_all(task, building):
                await self._hand_over(task, building, range(self._settings.partitions))
        elif lost := await self._handing.lost(generation):
            await self._hand_over_again(task, lost)
        elif not await self._handing.unanswered(generation):
            await self._plane.activate(generation, live)
            await self._note(task, "live")
            _log.info("profiles are those of generation %d", generation)
        else:
            await self._note(task, "activating")
            await asyncio.sleep(IDLE_SECONDS / 2)

    async def _has_all(self, task: RebuildTask, building: RebuildBuilder) -> bool:
        """Tell whether everything is read that the lanes have mapped by other rules."""
        position, waiting = await building.position(), list[str]()
        there = True
        for topic in LANES.values():
            for number in range(self._settings.partitions):
                pins = await self._plane.rules_of(topic.name, number)
                bound = next((offset for offset, rules_at in pins if rules_at >= task.rules_at), None)
                if bound is None:
                    waiting.append(f"{topic.name}/{number}")
                there = there and bound is not None and position[TopicPartition(topic.name, number)] >= bound
        self._progress.waiting_for = waiting
        await self._look(task, "waiting_for_lanes")
        return there

    async def _hand_over_again(self, task: RebuildTask, numbers: Sequence[int]) -> None:
        """Hand over what was lost as it was: what one partition has told others is in those that are open by now."""
        building = await self._open(task)
        if building.stores.is_finished(task.rules_at):
            await self._hand_over(task, building, numbers)
        else:
            _log.error(
                "generation %d can't go live: snapshots of partitions %s are lost, and so is what they were built in. "
                "Bring the snapshots back",
                task.rebuild.generation,
                numbers,
            )

    async def _hand_over(self, task: RebuildTask, building: RebuildBuilder, numbers: Iterable[int]) -> None:
        await self._note(task, "handover")
        await building.stores.forget(task.forgotten)
        begin = {
            TopicPartition(topic.name, n): 0 for topic in UPDATES.values() for n in range(self._settings.partitions)
        }
        building.stores.finish(task.rules_at, begin | self._progress.begin_of_updates())
        await self._handing.hand_over(task.rebuild.generation, building.stores.partition_stores, numbers)
        await self._close()

    async def _report(self, task: RebuildTask, report: str) -> None:
        """Say that it is ready; the same command when it is said again."""
        word = ReportRebuilt(
            command_id=f"{task.rebuild.definition_id}/ready/{task.rebuild.version}",
            definition_id=task.rebuild.definition_id,
            issued_at=self._clock(),
            issued_by="rebuild",
            expected_version=task.rebuild.version,
            report=report,
        )
        key = task.rebuild.definition_id.encode()
        await self._writer.write(
            [
                ProducerRecord(
                    DEFINITIONS_COMMANDS.name, encode(word), key=key, partition=PARTITION, headers=headers_of(word)
                )
            ]
        )

    async def _open(self, task: RebuildTask) -> RebuildBuilder:
        if self._building and self._building.name != task.rebuild.definition_id:
            await self._close()
        if self._building is None:
            folder = folder_of(self._settings.data_dir, task.name)
            self._progress = RebuildProgress.read_back(await self._plane.progress(task.rebuild.definition_id))
            self._progress.began_at = self._progress.began_at or self._clock()
            self._ends_before = {}
            self._building = RebuildBuilder(task, folder, self._cluster, self._settings.partitions)
            await self._building.__aenter__()
        return self._building

    async def _close(self) -> None:
        comparing, self._comparing = self._comparing, None
        if comparing is not None:
            await comparing.stop()
        building, self._building = self._building, None
        if building is not None:
            await building.__aexit__()

    async def _note_updates(self, task: RebuildTask) -> None:
        """Note where the topics of updates end, if it is certain that the rebuild wasn't promoted by then."""
        rules = TopicPartition(DEFINITIONS_EVENTS.name, PARTITION)
        ends = await self._ends.end_offsets(self._topics(UPDATES))
        known = (await self._ends.end_offsets([rules]))[rules]
        now = self._following.tasks.get(task.rebuild.definition_id)
        if self._following.rules_at >= known and now and not now.rules_at:
            self._progress.note_updates(ends)

    def _topics(self, topics: Mapping[str, Topic]) -> list[TopicPartition]:
        return [TopicPartition(topic.name, n) for topic in topics.values() for n in range(self._settings.partitions)]

    async def _look(self, task: RebuildTask, phase: Phase) -> bool:
        """Note how far it is, and return whether all that there was at the last look is read."""
        assert self._building
        now, before = time.monotonic(), self._progress.messages
        ends = await self._ends.end_offsets(self._topics(LANES))  # its own consumer: behind a fetch, answers take 0.5 s
        position = await self._building.position()
        seconds = min(now - self._looked_at, 60.0)
        progress = self._progress
        progress.messages += self._building.take_messages()
        progress.rate = (progress.messages - before) / seconds
        progress.total = sum(ends.values())
        progress.read = min(sum(position.values()), progress.total)
        self._looked_at = now
        caught_up = bool(self._ends_before) and all(position[each] >= end for each, end in self._ends_before.items())
        self._ends_before = ends
        await self._note(task, "caught_up" if phase == "building" and task.rebuild.version else phase)
        return caught_up

    async def _note(self, task: RebuildTask, phase: Phase) -> None:
        self._progress.phase = phase
        self._progress.updated_at = self._clock()
        await self._plane.save_progress(task.rebuild.definition_id, self._progress.written())


async def run_rebuild(settings: Settings, clock: Clock = utc_now) -> int:
    """Run the role until it is told to stop; return the process's exit code."""
    gc.set_threshold(200_000, 100, 100)  # nodes are many and have no cycles, as in the `profiles` role
    sys.setswitchinterval(0.0005)  # seconds: threads that fold hand over to the loop as soon as it has something to do
    pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own keeps what it once had: 100 MB
    async with AsyncExitStack() as stack:
        store = await ReadStore.open(settings.database())
        stack.push_async_callback(store.close)
        cluster = KafkaCluster(settings.bootstrap_servers)
        following = RebuildTasks(cluster)
        stack.push_async_callback(following.stop)
        await following.start()
        asking = await stack.enter_async_context(ProfilesClient(store.plane, settings.partitions))
        await Rebuilder(cluster, settings, store, asking, following, clock).run(shutdown_event())
    return 0
