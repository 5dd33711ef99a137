"""A rebuilt generation is handed over as snapshots, and those that are lost before an owner opened them are found."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.profile_store.partition_store import Changes, PartitionStore
from app.profile_store.snapshots import Snapshots
from app.rebuild.handover import CHECK_INTERVAL, SnapshotHandover
from app.store.data_plane import Generations, Owner
from app.store.read_store import ReadStore

PARTITIONS = 2
GENERATION = 1


class Rig:
    """A handover with a clock that tests move, and the stores that it hands over."""

    def __init__(self, folder: Path, store: ReadStore) -> None:
        self.now = 0.0
        self.store = store
        self.folder = folder / "snapshots"
        self.snapshots = Snapshots.at(str(self.folder))
        self.handover = SnapshotHandover(self.snapshots, store.plane, PARTITIONS, folder / "trial", lambda: self.now)
        self.stores = [PartitionStore.open(folder / f"built.{number}") for number in range(PARTITIONS)]
        for number, built in enumerate(self.stores):
            built.write(Changes(nodes={b"key": b"%d" % number}, offsets={"updates.realtime": 7}))

    async def lost(self) -> list[int]:
        self.now += CHECK_INTERVAL
        return list(await self.handover.lost(GENERATION))

    def damage(self, number: int) -> None:
        shutil.rmtree(self.folder / f"partition-{number}" / f"generation-{GENERATION}" / "files")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    store = await ReadStore.open(f"sqlite+aiosqlite:///{tmp_path / 'views.db'}")
    made = Rig(tmp_path, store)
    yield made
    for built in made.stores:
        built.close()
    await store.close()


async def test_a_generation_is_handed_over_as_snapshots(rig: Rig, tmp_path: Path) -> None:
    await rig.handover.hand_over(GENERATION, rig.stores, range(PARTITIONS))
    assert await rig.store.plane.generations() == Generations(live=0, next=GENERATION)
    assert await rig.handover.pending(GENERATION) == [0, 1]
    for number in range(PARTITIONS):
        newest = await rig.snapshots.newest_valid(number, GENERATION)
        assert newest
        await rig.snapshots.restore(newest, tmp_path / f"restored.{number}")
        restored = PartitionStore.open(tmp_path / f"restored.{number}")
        assert restored.get_nodes([b"key"]) == [b"%d" % number]
        restored.close()


async def test_a_generation_that_is_handed_over_again_has_no_older_snapshots(rig: Rig) -> None:
    for _ in range(2):
        await rig.handover.hand_over(GENERATION, rig.stores, range(PARTITIONS))
    assert len(list((rig.folder / "partition-0" / f"generation-{GENERATION}").glob("*.json"))) == 1


async def test_partitions_are_pending_until_they_have_an_owner(rig: Rig) -> None:
    await rig.handover.hand_over(GENERATION, rig.stores, range(PARTITIONS))
    await rig.store.plane.claim(0, 0, Owner("http://old", "secret"))
    assert await rig.handover.pending(GENERATION) == [0, 1], "owners of another generation do not count"
    await rig.store.plane.claim(GENERATION, 1, Owner("http://new", "secret"))
    assert await rig.handover.pending(GENERATION) == [0]


async def test_lost_snapshots_are_found_once_an_interval_has_passed(rig: Rig, tmp_path: Path) -> None:
    await rig.handover.hand_over(GENERATION, rig.stores, range(PARTITIONS))
    assert await rig.lost() == []
    rig.damage(1)
    assert await rig.handover.lost(GENERATION) == [], "it was checked just now"
    assert await rig.lost() == [1]
    await rig.handover.hand_over(GENERATION, rig.stores, [1])
    assert await rig.lost() == []
    assert not (tmp_path / "trial").exists()


async def test_a_snapshot_that_an_owner_has_opened_is_not_checked(rig: Rig) -> None:
    await rig.handover.hand_over(GENERATION, rig.stores, range(PARTITIONS))
    await rig.store.plane.claim(GENERATION, 1, Owner("http://new", "secret"))
    rig.damage(1)
    assert await rig.lost() == []


async def test_a_file_damaged_before_the_first_check_is_found_by_the_trial_restore(rig: Rig) -> None:
    await rig.handover.hand_over(GENERATION, rig.stores, range(PARTITIONS))
    for file in (rig.folder / "partition-0" / f"generation-{GENERATION}" / "files").iterdir():
        content = bytearray(file.read_bytes())
        if content:
            content[-1] ^= 1
            file.write_bytes(content)
    assert await rig.lost() == [0]
