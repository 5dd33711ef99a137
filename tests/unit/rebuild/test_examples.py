"""What was compared is never thrown away: examples are waited for; where they don't come, the counts are told alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.profile_store.partition_store import Changes, PartitionStore
from app.profiles.lookup_client import ProfilesClient
from app.profiles.lookup_server import LookupServer
from app.profiles.partition import ProfilePartition
from app.rebuild.diff import compare
from app.rebuild.live_comparison import STALL_TIMEOUT_SECONDS, SampleLoader, side_of
from app.store.data_plane import PlaneStore
from app.store.read_store import ReadStore
from projections.profiles.identity_node import Node
from projections.profiles.updates import encode_node

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = "00:email:ada"


def profile(city: str) -> Node:
    return Node(KEY, cells={"latest:city": [7, "upload/1", 0, city]})


def store(folder: Path, node: Node) -> PartitionStore:
    made = PartitionStore.open(folder)
    made.write(Changes(nodes={node.key.encode(): encode_node(node)}))
    return made


@asynccontextmanager
async def owner(plane: PlaneStore, live: PartitionStore) -> AsyncIterator[None]:
    partition = ProfilePartition(0, 1, live, generation=0, most_nodes=10, clock=lambda: 0.0)
    async with LookupServer("127.0.0.1", plane, {(0, 0): partition}) as serving:
        await serving.announce((0, 0))
        yield


@pytest.fixture
async def views(tmp_path: Path) -> AsyncIterator[ReadStore]:
    opened = await ReadStore.open(f"sqlite+aiosqlite:///{tmp_path / 'views.db'}")
    yield opened
    await opened.close()


async def test_an_owner_that_does_not_answer_costs_no_comparison(tmp_path: Path, views: ReadStore) -> None:
    live, rebuilt = store(tmp_path / "live", profile("Graz")), store(tmp_path / "rebuilt", profile("Linz"))
    found = compare(side_of([live]), side_of([rebuilt]), ())
    seconds = 0.0
    async with ProfilesClient(views.plane, 1) as asking:
        async with owner(views.plane, live):
            pass  # it was there, and is on its way to another process
        examples = SampleLoader(found, lambda _: {KEY: profile("Linz")}, asking, lambda: seconds)
        assert await examples.report(NOW) is None
        async with owner(views.plane, live):
            report = await examples.report(NOW)
        assert report
        assert report["counts"]["changed"] == 1
        (sample,) = report["samples"]["changed"]
        assert [sample[each]["attributes"]["city"] for each in ("before", "after")] == ["Graz", "Linz"]
        assert await examples.report(NOW) is None
        seconds = STALL_TIMEOUT_SECONDS + 1
        report = await examples.report(NOW)
        assert report
        assert (report["counts"]["changed"], report["samples"]) == (1, {})
    live.close()
    rebuilt.close()
