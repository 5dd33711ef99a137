"""The state that a partition starts from, and the removal of older generations."""

import asyncio
import time
from pathlib import Path

import pytest

from app.profile_store.partition_store import Changes, CorruptStore, PartitionStore, Shard
from app.profile_store.snapshots import Snapshots
from app.profile_store.stores import LostLogError, Storage
from app.settings import Settings
from schemas.topics import UPDATES
from tests.unit.profile_store.test_store import filled as filled_with_rows
from tests.unit.profile_store.test_store import flip, nodes_file

UPDATES_NAMES = [topic.name for topic in UPDATES.values()]
NOTHING_READ = dict.fromkeys(UPDATES_NAMES, 0)


async def test_a_rebuilt_partition_without_updates_is_opened(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    built = PartitionStore.open(tmp_path / "built")
    built.write(Changes(nodes={b"key": b"node"}, offsets=NOTHING_READ))
    await Snapshots.at(settings.snapshots()).take(built, 2, 1)
    built.close()
    storage = Storage(settings, time.monotonic)
    opened = await storage.open(Shard(1, 2), NOTHING_READ)
    assert opened.offsets() == NOTHING_READ
    await storage.close(Shard(1, 2), opened)
    with pytest.raises(LostLogError, match="partition 3 of the profiles is unavailable"):
        await storage.open(Shard(1, 3), NOTHING_READ)


def filled(path: Path, read: int) -> PartitionStore:
    """A store that says how much it has read."""
    store = PartitionStore.open(path)
    store.write(Changes(nodes={b"read": b"%d" % read}, offsets=dict.fromkeys(UPDATES_NAMES, read)))
    return store


async def test_a_lost_log_leaves_the_files_unchanged(tmp_path: Path) -> None:
    filled(tmp_path / "profiles" / "0.2", 5).close()
    storage = Storage(Settings(data_dir=tmp_path), time.monotonic)
    for _ in range(2):
        with pytest.raises(LostLogError, match="partition 2"):
            await storage.open(Shard(0, 2), dict.fromkeys(UPDATES_NAMES, 6))
    opened = await storage.open(Shard(0, 2), dict.fromkeys(UPDATES_NAMES, 5))
    assert opened.get_nodes([b"read"]) == [b"5"]
    await storage.close(Shard(0, 2), opened)


@pytest.mark.parametrize("older", [None, 3])
async def test_a_damaged_snapshot_leaves_the_local_store(tmp_path: Path, older: int | None) -> None:
    settings = Settings(data_dir=tmp_path)
    snapshots = Snapshots.at(settings.snapshots())
    for read in [item for item in (older, 9) if item]:
        store = filled(tmp_path / f"another's.{read}", read)
        newest = await snapshots.take(store, 2, 0)
        store.close()
    for path in (tmp_path / "snapshots" / newest.folder / "files").iterdir():
        if path.name in {file.sha256 for file in newest.files if file.name.endswith(".sst")}:
            path.write_bytes(b"x" * path.stat().st_size)
    filled(tmp_path / "profiles" / "0.2", 5).close()
    storage = Storage(settings, time.monotonic)
    opened = await storage.open(Shard(0, 2), NOTHING_READ)
    assert opened.get_nodes([b"read"]) == [b"5"], "it has read more than any good snapshot"
    await storage.close(Shard(0, 2), opened)
    assert [path.name for path in (tmp_path / "profiles").iterdir()] == ["0.2"]


async def test_a_damage_found_while_reading_is_repaired_by_the_next_start(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    good = filled_with_rows(tmp_path / "another's")
    store = PartitionStore.open(good)
    await Snapshots.at(settings.snapshots()).take(store, 2, 0)
    store.close()
    flip(nodes_file(filled_with_rows(tmp_path / "profiles" / "0.2")), 100)
    storage = Storage(settings, time.monotonic)
    opened = await storage.open(Shard(0, 2), NOTHING_READ)
    with pytest.raises(CorruptStore):
        opened.get_nodes([b"000001"])
    await storage.close(Shard(0, 2), opened)
    opened = await storage.open(Shard(0, 2), NOTHING_READ)
    assert opened.get_nodes([b"000001"]) == [b"node 1"]
    await storage.close(Shard(0, 2), opened)


async def test_a_partly_fetched_snapshot_is_replaced(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    store = filled(tmp_path / "another's", 9)
    await Snapshots.at(settings.snapshots()).take(store, 2, 0)
    store.close()
    filled(tmp_path / "profiles" / "0.2.fetched", 7).close()
    storage = Storage(settings, time.monotonic)
    opened = await storage.open(Shard(0, 2), NOTHING_READ)
    assert opened.get_nodes([b"read"]) == [b"9"]
    await storage.close(Shard(0, 2), opened)


async def test_older_generations_are_removed_with_their_snapshots(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    snapshots = Snapshots.at(settings.snapshots())
    storage = Storage(settings, time.monotonic)
    for generation in range(4):
        store = filled(tmp_path / "profiles" / f"{generation}.1", generation + 1)
        await snapshots.take(store, 1, generation)
        store.close()
    (tmp_path / "profiles" / "a.file").touch()
    opened = await storage.open(Shard(3, 1), NOTHING_READ)
    storage.remove_older(2)
    assert sorted(path.name for path in (tmp_path / "profiles").iterdir()) == ["2.1", "3.1", "a.file"]
    async with asyncio.timeout(10):
        while [path for path in (tmp_path / "snapshots").glob("partition-1/generation-[01]/**/*") if path.is_file()]:
            await asyncio.sleep(0.01)
    assert await snapshots.newest_valid(1, 2)
    assert await snapshots.newest_valid(1, 3)
    await storage.close(Shard(3, 1), opened)


async def test_an_open_store_survives_two_quick_promotions(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    for generation in (1, 2):
        built = PartitionStore.open(tmp_path / "profiles" / f"{generation}.0")
        built.write(Changes(offsets=NOTHING_READ))
        built.close()
    storage = Storage(settings, time.monotonic)
    first = await storage.open(Shard(0, 0), NOTHING_READ)
    second = await storage.open(Shard(1, 0), NOTHING_READ)
    await storage.close(Shard(0, 0), first)
    storage.remove_older(2)
    second.write(Changes(nodes={b"key": b"node"}, offsets=NOTHING_READ))
    assert sorted(path.name for path in (tmp_path / "profiles").iterdir()) == ["1.0", "2.0"]
    await storage.close(Shard(1, 0), second)
    storage.remove_older(2)
    assert [path.name for path in (tmp_path / "profiles").iterdir()] == ["2.0"]
