"""The comparison waits until both sides have the same messages, and is never lost once it is completed."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.producer_record import ProducerRecord
from app.profile_store.partition_store import Changes, PartitionStore, Shard
from app.profiles.lookup_client import GenerationReader, KeyPage, PartitionUnavailable, ProfilesClient
from app.profiles.lookup_server import LookupServer
from app.profiles.open_partitions import OpenPartitions
from app.rebuild import live_comparison as module
from app.rebuild.builder import RebuildBuilder
from app.rebuild.diff import compare
from app.rebuild.live_comparison import STALL_TIMEOUT_SECONDS, LiveComparison, SampleLoader, profiles_of
from app.rebuild.tasks import RebuildTask
from app.store.data_plane import PlaneStore
from app.store.read_store import ReadStore
from projections.definitions.rules import Forgotten
from projections.profiles.identity_node import Node
from projections.profiles.update_codec import encode_mapped, encode_messages
from projections.profiles.updates import MappedMessages, NodeMessages, encode_node
from schemas.topics import LANES, UPDATES
from schemas.updates import MappedBatch, NodeBatch
from schemas.wire.codec import encode
from tests.clock import ManualMonotonic
from tests.unit.rebuild.deployment import BUILDING, PARTITIONS, SPEC, cluster, send, visits, write

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "00:email:ada"


def profile(city: str) -> Node:
    return Node(KEY, registers={"latest:city": [7, "upload/1", 0, city]})


def store_of(folder: Path, node: Node) -> PartitionStore:
    made = PartitionStore.open(folder)
    made.write(Changes(nodes={node.key.encode(): encode_node(node)}))
    return made


@asynccontextmanager
async def owner(plane: PlaneStore, live: PartitionStore) -> AsyncIterator[None]:
    partitions = OpenPartitions(BatchProducer(MemoryCluster()), 1, lambda: NOW)
    partitions.open(Shard(0, 0), live, max_nodes=10)
    async with LookupServer("127.0.0.1", plane, partitions) as server:
        await server.announce(Shard(0, 0))
        yield


async def test_an_owner_that_does_not_respond_loses_no_comparison(tmp_path: Path, store: ReadStore) -> None:
    live, rebuilt = store_of(tmp_path / "live", profile("Graz")), store_of(tmp_path / "rebuilt", profile("Linz"))
    comparison = compare(profiles_of([live]), profiles_of([rebuilt]), ())
    seconds = 0.0
    async with ProfilesClient(store.plane, 1) as client:
        async with owner(store.plane, live):
            pass  # it was there, and is on its way to another process
        samples = SampleLoader(comparison, lambda _: {KEY: profile("Linz")}, client, lambda: seconds)
        assert await samples.report(NOW) is None
        async with owner(store.plane, live):
            report = await samples.report(NOW)
        assert report
        assert report["counts"]["changed"] == 1
        (sample,) = report["samples"]["changed"]
        assert [sample[item]["attributes"]["city"] for item in ("before", "after")] == ["Graz", "Linz"]
        assert await samples.report(NOW) is None
        seconds = STALL_TIMEOUT_SECONDS + 1
        report = await samples.report(NOW)
        assert report
        assert (report["counts"]["changed"], report["samples"]) == (1, {})
    live.close()
    rebuilt.close()


@dataclass
class CountedClock(ManualMonotonic):
    """Counts its readings: whatever waits reads it before each query."""

    readings: int = 0

    def __call__(self) -> float:
        self.readings += 1
        return self.now


class Rig:
    """A rebuild that has applied three messages of three people, and owners of equal live profiles."""

    def __init__(self, store: ReadStore, live: Sequence[PartitionStore], client: ProfilesClient) -> None:
        self.cluster = cluster()
        self.store = store
        self.live = live
        self.client = client
        self.monotonic = CountedClock()
        self.builder: RebuildBuilder

    async def send(self, people: int) -> None:
        """Send messages; the rebuild applies them."""
        await send(self.cluster, visits(people))
        await self.builder.read_some(Forgotten())

    def copy(self) -> None:
        """Make the live profiles those of the rebuild."""
        self.builder.flush()
        for source, target in zip(self.builder.stores.partition_stores, self.live, strict=True):
            target.write(Changes(nodes=dict(source.iterate_nodes(b"", 100))))

    async def map(self, start: int, end: int) -> None:
        """Note messages as mapped by the lane, as their updates are in the live profiles."""
        assert await self.store.streams.add(LANES["realtime"].name, 0, start, end, [])

    async def update(self, value: bytes) -> None:
        """Send an update to both partitions; the live profiles have read it."""
        topic = UPDATES["realtime"].name
        await write(self.cluster, *(ProducerRecord(topic, value, partition=number) for number in range(PARTITIONS)))
        for number, live in enumerate(self.live):
            live.write(Changes(offsets={topic: len(self.cluster.records(topic, number))}))

    @asynccontextmanager
    async def comparing(self) -> AsyncIterator[LiveComparison]:
        comparison = LiveComparison(
            self.cluster, self.store.lanes, self.client, self.builder, PARTITIONS, self.monotonic
        )
        try:
            yield comparison
        finally:
            await comparison.stop()

    async def queried(self, times: int = 1) -> None:
        """Wait until the comparison has waited and queried again."""
        readings = self.monotonic.readings + 3 * times
        await until(lambda: self.monotonic.readings >= readings)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def counts_of(report: Mapping[str, Any]) -> dict[str, int]:
    return {name: count for name, count in report["counts"].items() if count}


async def report_of(comparison: LiveComparison) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while not (report := await comparison.report(lambda: NOW)):
            await asyncio.sleep(0.001)
    content: dict[str, Any] = json.loads(report)
    return content


@pytest.fixture
async def rig(tmp_path: Path, store: ReadStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(module, "RETRY_DELAY_SECONDS", 0.001)
    monkeypatch.setattr("app.rebuild.builder.WAIT_MS", 1)
    async with AsyncExitStack() as stack:
        live = [PartitionStore.open(tmp_path / f"live.{number}") for number in range(PARTITIONS)]
        client = await stack.enter_async_context(ProfilesClient(store.plane, PARTITIONS))
        rig = Rig(store, live, client)
        partitions = OpenPartitions(BatchProducer(rig.cluster), PARTITIONS, lambda: NOW)
        server = await stack.enter_async_context(LookupServer("127.0.0.1", store.plane, partitions))
        for number, opened in enumerate(live):
            stack.callback(opened.close)
            partitions.open(Shard(0, number), opened, max_nodes=10)
            await server.announce(Shard(0, number))
        task = RebuildTask(BUILDING, SPEC, start_offset=0)
        rig.builder = await stack.enter_async_context(
            RebuildBuilder(task, tmp_path / "rebuilt", rig.cluster, PARTITIONS, lambda: NOW, rig.monotonic)
        )
        await rig.send(people=3)
        rig.copy()
        yield rig


async def test_equal_profiles_are_unchanged(rig: Rig) -> None:
    await rig.map(0, 3)
    async with rig.comparing() as comparison:
        report = await report_of(comparison)
        assert report["equal"]
        assert counts_of(report) == {"unchanged": 3}
        assert await report_of(comparison) == report
    assert rig.builder.stores.touched is None


async def test_other_profiles_of_the_rebuild_are_differences(rig: Rig) -> None:
    await rig.send(people=5)
    await rig.map(0, 8)
    async with rig.comparing() as comparison:
        assert counts_of(await report_of(comparison)) == {"changed": 3, "added": 2}


async def test_it_waits_for_the_lanes_as_long_as_they_make_progress(rig: Rig) -> None:
    async with rig.comparing() as comparison:
        for mapped in (0, 1):
            await rig.queried()
            rig.monotonic.now += STALL_TIMEOUT_SECONDS - 1
            await rig.queried()
            assert not await comparison.report(lambda: NOW)
            await rig.map(mapped, mapped + 1)
        await rig.queried()
        rig.monotonic.now += STALL_TIMEOUT_SECONDS
        reason = (await report_of(comparison))["skipped_reason"]
    assert "1 messages" in reason
    assert "messages.realtime/0" in reason
    assert "messages.realtime/1" not in reason


async def test_it_waits_until_the_live_profiles_have_read_all_updates(rig: Rig) -> None:
    topic = UPDATES["realtime"].name
    await write(rig.cluster, ProducerRecord(topic, b"", partition=1))
    await rig.map(0, 3)
    async with rig.comparing() as comparison:
        await rig.queried()
        assert not await comparison.report(lambda: NOW)
        rig.live[1].write(Changes(offsets={topic: 1}))
        assert (await report_of(comparison))["equal"]


async def test_owners_that_do_not_respond_are_a_reason(rig: Rig) -> None:
    await rig.map(0, 3)
    await rig.store.plane.open_next(1)
    await rig.store.plane.activate(1, 0)  # of this generation there are no owners
    async with rig.comparing() as comparison:
        await rig.queried()
        rig.monotonic.now += STALL_TIMEOUT_SECONDS
        assert "has no owner" in (await report_of(comparison))["skipped_reason"]


async def test_a_partition_that_moves_while_it_is_read_is_waited_for(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    is_moving, read = True, GenerationReader.page

    async def page(reader: GenerationReader, partition: int, start: str, limit: int) -> KeyPage:
        if is_moving and limit:
            raise PartitionUnavailable("it is moving")
        return await read(reader, partition, start, limit)

    monkeypatch.setattr(GenerationReader, "page", page)
    await rig.map(0, 3)
    async with rig.comparing() as comparison:
        await rig.queried(times=9)  # until it reads pages
        rig.monotonic.now += STALL_TIMEOUT_SECONDS - 1
        await rig.queried()
        is_moving = False
        assert (await report_of(comparison))["equal"]
    is_moving = True
    async with rig.comparing() as comparison:
        await rig.queried(times=9)  # until it reads pages
        rig.monotonic.now += STALL_TIMEOUT_SECONDS
        assert (await report_of(comparison))["skipped_reason"] == "it is moving"


async def test_profiles_that_change_meanwhile_are_not_compared(rig: Rig) -> None:
    idle = rig.cluster.connections
    async with rig.comparing() as comparison:
        await rig.queried()  # it has begun
        links = MappedMessages(links=[("00:email:p0@x.org", "00:email:x", 0, "b", 0)])
        joins = NodeMessages(joins=[("00:email:p1@x.org", ("", 0), {}, {})])
        mapped = MappedBatch(
            topic="messages.realtime", partition=0, first_offset=3, next_offset=4, rules_offset=0,
            payload=encode_mapped(links),
        )  # fmt: skip
        for update in (mapped, NodeBatch(payload=encode_messages(joins)), NodeBatch(payload=b"malformed")):
            await rig.update(encode(update))
        await rig.update(b"malformed")
        await send(rig.cluster, [{"email": "p2@x.org", "city": "Wels"}])
        await rig.map(0, 3)
        await until(lambda: rig.cluster.connections == idle)
        assert not await comparison.report(lambda: NOW), "the rebuild has to apply the last message first"
        await rig.builder.read_some(Forgotten())
        assert counts_of(await report_of(comparison)) == {"changing": 3}


async def test_too_many_changes_are_a_reason(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CHANGED_KEYS", 2)
    async with rig.comparing() as comparison:
        await rig.queried()
        await rig.send(people=2)
        await rig.map(0, 3)
        assert "more than 2 identities" in (await report_of(comparison))["skipped_reason"]


async def test_a_stopped_comparison_reads_nothing_more(rig: Rig) -> None:
    idle = rig.cluster.connections
    async with rig.comparing():
        await rig.queried()
        assert rig.cluster.connections == idle + 1
    assert rig.cluster.connections == idle
    assert rig.builder.stores.touched is None
