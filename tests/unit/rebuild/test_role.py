"""The rebuild role on a cluster in memory: which rebuild it works on, and the steps from start to activation."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.kafka.producer_record import ProducerRecord
from app.profile_store.snapshots import Snapshots
from app.profiles.lookup_client import ProfilesClient
from app.rebuild.handover import CHECK_INTERVAL
from app.rebuild.live_comparison import STALL_TIMEOUT_SECONDS
from app.rebuild.progress import RebuildProgress
from app.rebuild.role import PROGRESS_INTERVAL, Rebuilder
from app.rebuild.stores import RebuildStores, rebuild_folder
from app.rebuild.tasks import RebuildTasks
from app.settings import Settings
from app.store.data_plane import Generations, Owner
from app.store.read_store import ReadStore
from projections.definitions.rules import key_hash
from schemas.definitions import DefinitionEvent, ForgettingStarted, RebuildDiscarded, ReportRebuilt
from schemas.topics import DEFINITIONS_COMMANDS, LANES, UPDATES
from schemas.wire.codec import decode
from tests.clock import ManualMonotonic
from tests.unit.rebuild.deployment import (
    NOON,
    PARTITIONS,
    REBUILD_ID,
    attributes,
    cluster,
    event,
    promoted,
    ready,
    record,
    send,
    started,
    visits,
    write,
)

DISCARDED = event(RebuildDiscarded, 2)
FORGOTTEN = event(
    ForgettingStarted, 1, "forgetting:1", key_hashes=(key_hash("email:p0@x.org"),), at=NOON + timedelta(seconds=1)
)
OWNER = Owner("http://127.0.0.1:1", "secret")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


class Worker:
    """One process of the role. `step` lets a second pass, so that each step stores the progress."""

    def __init__(self, rebuilder: Rebuilder, tasks: RebuildTasks, monotonic: ManualMonotonic) -> None:
        self.rebuilder = rebuilder
        self.tasks = tasks
        self._monotonic = monotonic

    async def step(self, times: int = 1) -> bool:
        has_worked = False
        for _ in range(times):
            self._monotonic.now += PROGRESS_INTERVAL
            has_worked = await self.rebuilder.step()
        return has_worked

    async def wait(self, seconds: float) -> None:
        """Let time pass in steps that are shorter than the session timeout of the consumer group."""
        for _ in range(round(seconds / 5)):
            self._monotonic.now += 5
            await self.rebuilder.step()


class Rig:
    """A deployment: its topics, its store, and the clock of its workers."""

    def __init__(self, folder: Path, store: ReadStore) -> None:
        self.cluster = cluster()
        self.store = store
        self.folder = folder
        self.monotonic = ManualMonotonic()
        self.snapshots = Snapshots.at(str(folder / "snapshots"))
        self.workers: list[Worker] = []
        self._events = 0

    @asynccontextmanager
    async def worker(self, worker_id: str = "1") -> AsyncIterator[Worker]:
        settings = Settings(data_dir=self.folder, partitions=PARTITIONS, worker_id=worker_id)
        async with AsyncExitStack() as stack:
            tasks = RebuildTasks(self.cluster)
            stack.push_async_callback(tasks.stop)
            await tasks.start()
            client = await stack.enter_async_context(ProfilesClient(self.store.plane, PARTITIONS))
            rebuilder = Rebuilder(self.cluster, settings, self.store, client, tasks, lambda: NOON, self.monotonic)
            self.workers.append(Worker(rebuilder, tasks, self.monotonic))
            yield self.workers[-1]
        self.workers.pop()

    @asynccontextmanager
    async def working(self, worker_id: str = "1") -> AsyncIterator[Worker]:
        """Run a worker that has joined the group."""
        async with self.worker(worker_id) as worker, worker.rebuilder.running():
            await worker.rebuilder.step()
            yield worker

    async def record(self, *events: DefinitionEvent) -> None:
        """Write events, and wait until the workers have them."""
        await record(self.cluster, *events)
        self._events += len(events)
        await until(lambda: all(worker.tasks.rules_offset == self._events for worker in self.workers))

    async def progress(self, rebuild_id: str = REBUILD_ID) -> RebuildProgress | None:
        stored = await self.store.plane.progress(rebuild_id)
        return None if stored is None else RebuildProgress.decode(stored)

    async def phase(self) -> str | None:
        progress = await self.progress()
        return None if progress is None else progress.phase

    async def send_updates(self, count: int) -> None:
        await write(self.cluster, *[ProducerRecord(UPDATES["realtime"].name, b"", partition=1)] * count)

    async def switch_lanes(self, rules_offset: int) -> None:
        """Record that the lanes map by the rules at this offset, from the first message on."""
        for topic in LANES.values():
            for number in range(PARTITIONS):
                await self.store.plane.record_rules(topic.name, number, 0, rules_offset)

    async def own(self, generation: int = 1) -> None:
        for number in range(PARTITIONS):
            await self.store.plane.claim(generation, number, OWNER)

    async def handed_over(self, generation: int = 1) -> list[dict[str, int] | None]:
        """Return the offsets of each partition's snapshot; None where there is none."""
        snapshots = [await self.snapshots.newest_valid(number, generation) for number in range(PARTITIONS)]
        return [None if snapshot is None else dict(snapshot.offsets) for snapshot in snapshots]

    def reports(self) -> list[ReportRebuilt]:
        return [decode(item.value or b"") for item in self.cluster.records(DEFINITIONS_COMMANDS.name)]  # type: ignore[misc]  # decode returns any record; the test knows which

    def stored_people(self) -> list[str]:
        """Return those of two people who are in the stores, which no worker has open."""
        stores = RebuildStores(rebuild_folder(self.folder, "1"), PARTITIONS, max_identities=10, start_offset=0)
        people = [email for email in ("p0@x.org", "p1@x.org") if attributes(stores, email)]
        stores.close()
        return people

    def has_stores(self, name: str = "1") -> bool:
        return rebuild_folder(self.folder, name).exists()


@pytest.fixture
def rig(tmp_path: Path, store: ReadStore, monkeypatch: pytest.MonkeyPatch) -> Rig:
    monkeypatch.setattr("app.rebuild.builder.WAIT_MS", 1)
    monkeypatch.setattr("app.rebuild.live_comparison.RETRY_DELAY_SECONDS", 0.001)
    return Rig(tmp_path, store)


@pytest.fixture
async def worker(rig: Rig) -> AsyncIterator[Worker]:
    async with rig.working() as worker:
        yield worker


async def test_without_a_rebuild_there_is_no_work(rig: Rig, worker: Worker) -> None:
    assert not await worker.step()
    await rig.record(started())
    assert await worker.step()
    await rig.record(DISCARDED)
    assert not await worker.step()


async def test_a_promoted_rebuild_comes_before_one_under_way(rig: Rig, worker: Worker) -> None:
    await rig.record(started("rebuild:2"), started(), promoted())
    await worker.step(2)
    assert await rig.phase() == "waiting_for_lanes"
    assert await rig.progress("rebuild:2") is None
    await rig.store.plane.open_next(1)
    await rig.store.plane.activate(1, 0)
    await worker.step()
    assert await rig.progress("rebuild:2") is not None
    assert await rig.phase() == "waiting_for_lanes", "nothing is done for one that is live"


async def test_a_promoted_rebuild_has_stores_of_its_own_beside_one_under_way(rig: Rig, worker: Worker) -> None:
    await rig.record(started())
    await worker.step()
    await rig.record(started("rebuild:2"), promoted("rebuild:2"))
    await rig.switch_lanes(rules_offset=3)
    await worker.step()
    assert (rig.has_stores("1"), rig.has_stores("2")) == (True, True)
    assert None not in await rig.handed_over()


async def test_the_stores_of_a_discarded_rebuild_are_removed(rig: Rig, worker: Worker) -> None:
    await rig.record(started())
    await worker.step()
    assert rig.has_stores()
    await rig.record(DISCARDED)
    await worker.step()
    assert not rig.has_stores()
    assert worker.tasks.tasks == {}


async def test_the_stores_of_a_live_rebuild_are_removed(rig: Rig, worker: Worker) -> None:
    await rig.record(started())
    await worker.step()
    await rig.record(promoted())
    await worker.step()
    assert rig.has_stores(), "it is not live yet"
    await rig.store.plane.open_next(1)
    await rig.store.plane.activate(1, 0)
    await worker.step()
    assert not rig.has_stores()
    assert worker.tasks.tasks == {}


async def test_a_finished_rebuild_is_removed_while_another_is_built(rig: Rig, worker: Worker) -> None:
    await rig.record(started("rebuild:2"), started())
    await worker.step()
    await rig.record(DISCARDED)
    await send(rig.cluster, visits(people=1))
    await worker.step()
    progress = await rig.progress("rebuild:2")
    assert progress is not None
    assert progress.messages == 1
    assert not rig.has_stores()


async def test_stores_of_unknown_rebuilds_are_removed_at_the_start(rig: Rig) -> None:
    await rig.record(started())
    for name in ("1", "2"):
        rebuild_folder(rig.folder, name).mkdir(parents=True)
    async with rig.working():
        assert (rig.has_stores("1"), rig.has_stores("2")) == (True, False)


async def test_progress_counts_messages_and_offsets(rig: Rig, worker: Worker) -> None:
    await rig.record(started())
    await send(rig.cluster, visits(people=3))
    await worker.step()
    await send(rig.cluster, visits(people=4))
    await send(rig.cluster, visits(people=2), partition=1)
    await worker.step()
    progress = await rig.progress()
    assert progress is not None
    assert (progress.messages, progress.read, progress.total) == (7, 7, 9)
    assert progress.rate == 4, "the messages of one second"
    assert progress.started_at == progress.updated_at == NOON


async def test_progress_is_stored_once_an_interval(rig: Rig, worker: Worker) -> None:
    await rig.record(started())
    await worker.step()
    await send(rig.cluster, visits(people=3))
    rig.monotonic.now += 0.9 * PROGRESS_INTERVAL
    await worker.rebuilder.step()
    progress = await rig.progress()
    assert progress is not None
    assert progress.messages == 0
    rig.monotonic.now += 0.1 * PROGRESS_INTERVAL
    await worker.rebuilder.step()
    progress = await rig.progress()
    assert progress is not None
    assert progress.messages == 3


async def test_a_restarted_worker_continues_the_progress(rig: Rig) -> None:
    await rig.record(started())
    await send(rig.cluster, visits(people=3))
    async with rig.working() as worker:
        await worker.step()
        await worker.wait(5)  # flushes
    rig.cluster.expire_sessions()
    await send(rig.cluster, visits(people=2))
    async with rig.working() as worker:
        await worker.step()
        progress = await rig.progress()
        assert progress is not None
        assert (progress.messages, progress.read) == (5, 5)


async def test_a_rebuild_that_has_reached_the_end_of_the_call_before_is_compared(rig: Rig, worker: Worker) -> None:
    await rig.record(started())
    for number in range(PARTITIONS):
        await send(rig.cluster, visits(people=1), partition=number)
    for phase in ("building", "building", "comparing"):  # each step applies one partition
        await worker.step()
        assert await rig.phase() == phase, "it keeps up, and is never at the end"
        for number in range(PARTITIONS):
            await send(rig.cluster, visits(people=1), partition=number)


async def test_a_rebuild_that_is_behind_is_not_compared(rig: Rig, worker: Worker) -> None:
    await rig.record(started())
    for lane in LANES:
        for number in range(PARTITIONS):
            await send(rig.cluster, visits(people=1), lane, number)
    for phase in ("building", "building", "building", "building", "comparing"):
        await worker.step()
        assert await rig.phase() == phase


async def reported(rig: Rig, worker: Worker) -> list[ReportRebuilt]:
    """Have a comparison skipped: no owner of live profiles responds."""
    await worker.step(2)
    async with asyncio.timeout(10):
        while not rig.reports():
            await worker.wait(STALL_TIMEOUT_SECONDS)
            await asyncio.sleep(0.001)
    return rig.reports()


async def test_a_rebuild_is_reported_as_ready_until_control_knows_it(rig: Rig, worker: Worker) -> None:
    await rig.record(started())
    first = (await reported(rig, worker))[0]
    assert (first.command_id, first.definition_id, first.expected_version) == ("rebuild:1/ready/0", REBUILD_ID, 0)
    assert (first.issued_by, first.issued_at) == ("rebuild", NOON)
    report: dict[str, Any] = json.loads(first.report)
    assert "no owner" in report["skipped_reason"]
    before = len(rig.reports())
    await worker.step()
    assert rig.reports()[before:] == [first], "control has not read it yet"
    await rig.record(ready())
    before = len(rig.reports())
    await worker.step(3)
    assert len(rig.reports()) == before
    assert await rig.phase() == "caught_up"


async def test_the_ends_of_updates_are_recorded_until_the_promotion(rig: Rig, worker: Worker) -> None:
    topic = UPDATES["realtime"].name
    await rig.record(started())
    await rig.send_updates(3)
    await worker.step()
    progress = await rig.progress()
    assert progress is not None
    assert progress.updates == {"updates.backfill/0": 0, "updates.backfill/1": 0, f"{topic}/0": 0, f"{topic}/1": 3}
    await rig.send_updates(2)
    await worker.step()
    await rig.record(promoted())
    await rig.send_updates(4)
    await worker.step(2)
    await rig.switch_lanes(rules_offset=2)
    await worker.step()
    first, second = await rig.handed_over()
    assert first is not None
    assert second is not None
    assert (first[topic], second[topic], second[UPDATES["backfill"].name]) == (0, 5, 0)


async def test_the_ends_of_updates_are_not_recorded_while_events_are_unread(rig: Rig, worker: Worker) -> None:
    await rig.record(started())
    await worker.step()
    await worker.tasks.stop()
    await record(rig.cluster, promoted())
    await rig.send_updates(1)
    await worker.step()
    progress = await rig.progress()
    assert progress is not None
    assert set(progress.updates.values()) == {0}, "it may be promoted"


async def test_the_ends_of_updates_are_not_recorded_in_the_step_of_the_promotion(
    rig: Rig, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.record(started())
    await worker.step()
    monkeypatch.setattr("app.rebuild.builder.WAIT_MS", 10_000)
    stepping = asyncio.create_task(worker.step())
    await rig.send_updates(1)
    await rig.record(promoted())
    await send(rig.cluster, visits(people=1))
    await stepping
    progress = await rig.progress()
    assert progress is not None
    assert progress.messages == 1
    assert set(progress.updates.values()) == {0}


async def test_without_recorded_ends_updates_are_read_from_the_beginning(rig: Rig, worker: Worker) -> None:
    await rig.send_updates(3)
    await rig.record(started(), promoted())
    await rig.switch_lanes(rules_offset=2)
    await worker.step()
    for offsets in await rig.handed_over():
        assert offsets is not None
        assert {offsets[topic.name] for topic in UPDATES.values()} == {0}


async def test_a_person_forgotten_since_the_start_is_removed_once_it_has_caught_up(rig: Rig) -> None:
    async with rig.working() as worker:
        await rig.record(started())
        await send(rig.cluster, visits(people=2))
        await worker.step()
        await rig.record(FORGOTTEN)
        await worker.step()
    assert rig.stored_people() == ["p1@x.org"]


async def test_a_person_forgotten_since_the_promotion_is_not_handed_over(rig: Rig) -> None:
    async with rig.working() as worker:
        await rig.record(started())
        await send(rig.cluster, visits(people=2))
        await worker.step()
        await rig.record(promoted(), FORGOTTEN)
        await rig.switch_lanes(rules_offset=2)
        await worker.step()
        assert await rig.phase() == "handover"
    assert rig.stored_people() == ["p1@x.org"]


async def test_a_promoted_rebuild_waits_until_all_lanes_use_its_rules(rig: Rig, worker: Worker) -> None:
    await rig.record(started(), promoted())
    await rig.switch_lanes(rules_offset=1)
    await rig.store.plane.record_rules(LANES["realtime"].name, 0, 0, 2)
    await worker.step()
    progress = await rig.progress()
    assert progress is not None
    assert (progress.phase, progress.waiting_for) == (
        "waiting_for_lanes",
        ["messages.realtime/1", "messages.backfill/0", "messages.backfill/1"],
    )
    assert await rig.handed_over() == [None, None]
    await rig.switch_lanes(rules_offset=2)
    await worker.step()
    assert await rig.phase() == "handover"
    assert None not in await rig.handed_over()


async def test_all_messages_before_the_switch_of_the_lanes_are_applied_first(rig: Rig, worker: Worker) -> None:
    await rig.record(started(), promoted())
    topic = LANES["realtime"].name
    await rig.switch_lanes(rules_offset=2)
    await rig.store.plane.record_rules(topic, 0, 0, 1)
    await rig.store.plane.record_rules(topic, 0, 2, 2)
    await rig.store.plane.record_rules(topic, 0, 9, 3)  # rules that were applied since
    await send(rig.cluster, visits(people=1))
    await worker.step(2)
    progress = await rig.progress()
    assert progress is not None
    assert (progress.phase, progress.waiting_for) == ("waiting_for_lanes", [])
    assert await rig.handed_over() == [None, None]
    await send(rig.cluster, visits(people=1))
    await worker.step()
    assert [offsets and offsets.get(f"{topic}/0") for offsets in await rig.handed_over()] == [2, 2]


async def test_look_ups_switch_once_every_partition_has_an_owner(rig: Rig, worker: Worker) -> None:
    await rig.record(started(), promoted())
    await rig.switch_lanes(rules_offset=2)
    await worker.step()
    assert await rig.store.plane.generations() == Generations(live=0, next=1)
    await rig.store.plane.claim(1, 0, OWNER)
    assert not await worker.step(), "partition 1 has no owner yet"
    assert await rig.phase() == "activating"
    await rig.own()
    assert await worker.step()
    assert await rig.phase() == "live"
    assert await rig.store.plane.generations() == Generations(live=1, previous=0)
    assert not await worker.step()
    assert not rig.has_stores()


async def test_lost_snapshots_are_handed_over_again(rig: Rig, worker: Worker) -> None:
    await rig.record(started(), promoted())
    await rig.switch_lanes(rules_offset=2)
    await worker.step()
    before = await rig.handed_over()
    shutil.rmtree(rig.folder / "snapshots")
    await worker.wait(CHECK_INTERVAL)
    assert await rig.handed_over() == before
    assert await rig.phase() == "handover"
    await worker.step()
    assert await rig.phase() == "activating"


async def test_snapshots_that_are_lost_with_their_stores_can_not_be_handed_over(
    rig: Rig, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.record(started(), promoted())
    await rig.switch_lanes(rules_offset=2)
    await worker.step()
    for name in ("snapshots", "rebuild"):
        shutil.rmtree(rig.folder / name)
    await worker.wait(CHECK_INTERVAL)
    assert await rig.handed_over() == [None, None]
    errors = [item for item in caplog.records if item.levelname == "ERROR"]
    assert [item.args for item in errors] == [(1, [0, 1])]


async def test_a_revoked_partition_closes_what_is_open_and_the_next_owner_continues(rig: Rig) -> None:
    async with rig.working("2") as one:
        idle = rig.cluster.connections
        await rig.record(started())
        await send(rig.cluster, visits(people=1))
        await one.step(3)
        assert await rig.phase() == "comparing"
        assert rig.cluster.connections > idle + 1, "the builder's, and the comparison's"
        async with rig.working("1") as other:
            assert rig.cluster.connections == 2 * idle
            assert not await one.step()
            assert await other.step()
            progress = await rig.progress()
            assert progress is not None
            assert progress.read == 1


async def test_a_stopped_worker_closes_what_is_open(rig: Rig) -> None:
    await rig.record(started())
    async with rig.working() as worker:
        await worker.step(3)
    assert rig.cluster.connections == 0


async def test_a_worker_works_until_it_is_stopped(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.rebuild.role.IDLE_DELAY", 0.001)
    await rig.record(started())
    async with rig.worker() as worker:
        stop = asyncio.Event()
        running = asyncio.create_task(worker.rebuilder.run(stop))
        async with asyncio.timeout(10):
            while await rig.phase() != "building":
                await asyncio.sleep(0.001)
        stop.set()
        await running
