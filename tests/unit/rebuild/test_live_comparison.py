"""A completed comparison is never lost: it waits for samples, and is reported without them after a timeout."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.kafka.batch_producer import BatchProducer
from app.kafka.memory.cluster import MemoryCluster
from app.profile_store.partition_store import Changes, PartitionStore, Shard
from app.profiles.lookup_client import ProfilesClient
from app.profiles.lookup_server import LookupServer
from app.profiles.open_partitions import OpenPartitions
from app.rebuild.diff import compare
from app.rebuild.live_comparison import STALL_TIMEOUT_SECONDS, SampleLoader, profiles_of
from app.store.data_plane import PlaneStore
from app.store.read_store import ReadStore
from projections.profiles.identity_node import Node
from projections.profiles.updates import encode_node

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "00:email:ada"


def profile(city: str) -> Node:
    return Node(KEY, registers={"latest:city": [7, "upload/1", 0, city]})


def store(folder: Path, node: Node) -> PartitionStore:
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


@pytest.fixture
async def views(tmp_path: Path) -> AsyncIterator[ReadStore]:
    opened = await ReadStore.open(f"sqlite+aiosqlite:///{tmp_path / 'views.db'}")
    yield opened
    await opened.close()


async def test_an_owner_that_does_not_respond_loses_no_comparison(tmp_path: Path, views: ReadStore) -> None:
    live, rebuilt = store(tmp_path / "live", profile("Graz")), store(tmp_path / "rebuilt", profile("Linz"))
    comparison = compare(profiles_of([live]), profiles_of([rebuilt]), ())
    seconds = 0.0
    async with ProfilesClient(views.plane, 1) as client:
        async with owner(views.plane, live):
            pass  # it was there, and is on its way to another process
        samples = SampleLoader(comparison, lambda _: {KEY: profile("Linz")}, client, lambda: seconds)
        assert await samples.report(NOW) is None
        async with owner(views.plane, live):
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
