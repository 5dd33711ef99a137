"""The local stores of a process, and the state that each starts from: its own files, or a newer snapshot.

Each partition starts from the newest valid state; the tail of its update topics does the rest. Every generation has its
own stores and snapshots.
"""

import asyncio
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from app.process import Monotonic
from app.profile_store.manifest import Snapshot
from app.profile_store.object_store import SnapshotStoreUnavailable
from app.profile_store.partition_store import CorruptStore, PartitionStore, Shard
from app.profile_store.restore import remove
from app.profile_store.snapshots import Snapshots
from app.settings import Settings
from connectors.kit.threads import in_thread

FOLDER: Final = "profiles"
FIRST_GENERATION: Final = 0  # starts empty; all others start from the stores of a rebuild

_log = logging.getLogger(__name__)


class LostLogError(RuntimeError):
    """No store or snapshot reaches the offset where the update log starts, or has the state that a rebuild built."""


class Storage:
    """The stores of this process, by partition, and their snapshots."""

    def __init__(self, settings: Settings, monotonic: Monotonic) -> None:
        self._folder = settings.data_dir / FOLDER
        self._snapshots = Snapshots.at(settings.snapshots())
        self._snapshot_interval = settings.snapshot_interval_seconds
        self._monotonic = monotonic
        self._due: dict[Shard, float] = {}  # time of the next snapshot of each open store
        self._taking: dict[Shard, asyncio.Task[None]] = {}
        self._removing: set[asyncio.Task[None]] = set()

    async def open(self, shard: Shard, first: Mapping[str, int]) -> PartitionStore:
        """Open the store of a partition. `first` has the first offset of each update topic.

        Raises:
            LostLogError: no state reaches these offsets, or none of a rebuilt generation exists.

        """
        path = self._path(shard)
        own = await self._own(path)
        store = await self._newer_snapshot(shard, path, own, first) or own
        if store is None:
            if shard.generation != FIRST_GENERATION:
                raise LostLogError(
                    f"partition {shard.partition} of the profiles is unavailable: generation {shard.generation} has "
                    "neither a store nor a snapshot. Restore one, or rebuild: entrepot rebuild start"
                )
            store = await asyncio.to_thread(PartitionStore.open, path)
        offsets = store.offsets()
        gap = {topic: offset for topic, offset in first.items() if offsets.get(topic, 0) < offset}
        if gap:
            await asyncio.to_thread(store.close)
            read = {topic: offsets.get(topic, 0) for topic in first}
            raise LostLogError(
                f"partition {shard.partition} of the profiles is unavailable: its state is at {read}, the log starts "
                f"at {gap}. Restore a newer snapshot, or rebuild: entrepot rebuild start"
            )
        self._due[shard] = self._monotonic() + self._snapshot_interval
        return store

    def snapshot_if_due(self, shard: Shard, store: PartitionStore) -> None:
        """Start a snapshot of what is flushed, in the background, when it is time."""
        if self._monotonic() < self._due[shard] or shard in self._taking:
            return
        self._due[shard] = self._monotonic() + self._snapshot_interval
        task = asyncio.create_task(self._take(shard, store), name=f"snapshot of partition {shard.partition}")
        task.add_done_callback(lambda _: self._taking.pop(shard, None))
        self._taking[shard] = task

    def remove_older(self, generation: int) -> None:
        """Remove the local stores of older generations, and in the background the snapshots of partitions open here.

        Open stores stay: they still answer look-ups.
        """
        open_paths = {self._path(shard) for shard in self._due}
        for path in self._folder.glob("*.*"):
            name = path.name.partition(".")[0]
            if name.isdigit() and int(name) < generation and path not in open_paths:
                shutil.rmtree(path, ignore_errors=True)
        task = asyncio.create_task(
            self._remove_snapshots(generation), name=f"removing snapshots before generation {generation}"
        )
        task.add_done_callback(self._removing.discard)
        self._removing.add(task)

    async def close(self, shard: Shard, store: PartitionStore) -> None:
        """Close a store, and cancel a snapshot of it that is not finished."""
        task = self._taking.get(shard)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await asyncio.to_thread(store.close)
        self._due.pop(shard, None)

    def _path(self, shard: Shard) -> Path:
        return self._folder / f"{shard.generation}.{shard.partition}"

    async def _own(self, path: Path) -> PartitionStore | None:
        """Open the local store if there is a valid one; remove a corrupt one."""
        try:
            return await asyncio.to_thread(_opened, path)
        except CorruptStore as error:
            _log.error("%s", error)
            await asyncio.to_thread(shutil.rmtree, path)
            return None

    async def _newer_snapshot(
        self, shard: Shard, path: Path, own: PartitionStore | None, topics: Iterable[str]
    ) -> PartitionStore | None:
        """Replace the local store by the newest valid snapshot, if that has read more of the topics."""
        fetched = path.with_name(f"{path.name}.fetched")
        await in_thread(remove, fetched)  # left by a killed process
        try:
            snapshot = await self._snapshots.newest_valid(shard.partition, shard.generation)
            if snapshot is None or not _has_more(snapshot, own, topics):
                return None
            restored = await self._snapshots.restore(snapshot, fetched)
        except SnapshotStoreUnavailable as error:
            if own is None:
                raise
            _log.warning("partition %d: using the local store: %s", shard.partition, error)
            return None
        if restored is None or not _has_more(restored, own, topics):  # newer ones were damaged
            await in_thread(remove, fetched)
            return None
        if own is not None:
            await asyncio.to_thread(own.close)
        await in_thread(remove, path)
        fetched.rename(path)
        _log.info("partition %d: restored from snapshot %s", shard.partition, restored.name)
        return await asyncio.to_thread(PartitionStore.open, path)

    async def _take(self, shard: Shard, store: PartitionStore) -> None:
        try:
            await self._snapshots.take(store, shard.partition, shard.generation)
        except SnapshotStoreUnavailable as error:
            _log.warning("no snapshot of partition %d: %s", shard.partition, error)

    async def _remove_snapshots(self, before: int) -> None:
        """Remove the snapshots of older generations: they are not needed, and hold people who were forgotten since."""
        try:
            for number in {shard.partition for shard in self._due}:
                for generation in range(before):
                    await self._snapshots.remove_all(number, generation)
        except SnapshotStoreUnavailable as error:
            _log.warning("snapshots before generation %d stay until the next promotion: %s", before, error)


def _has_more(snapshot: Snapshot, own: PartitionStore | None, topics: Iterable[str]) -> bool:
    """Return whether a snapshot has read more of some topics than a store."""
    if own is None:
        return True
    offsets = own.offsets()
    return sum(snapshot.offsets.get(topic, 0) for topic in topics) > sum(offsets.get(topic, 0) for topic in topics)


def _opened(path: Path) -> PartitionStore | None:
    return PartitionStore.open(path) if path.exists() else None
