"""Where the stores of a process lie, and what one begins with: its own files, or a snapshot that has read more.

Each partition begins with the newest good state there is; the tail of its update topics does the rest. A generation of
profiles has stores and snapshots of its own.
"""

import asyncio
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from app.profile_store.manifest import Snapshot
from app.profile_store.object_store import SnapshotStoreUnavailable
from app.profile_store.partition_store import CorruptStore, PartitionStore, Shard
from app.profile_store.restore import in_thread, removed
from app.profile_store.snapshots import Snapshots
from app.settings import Settings

FOLDER: Final = "profiles"
FIRST: Final = 0  # the generation that begins with nothing; all others begin with what a rebuild has built

_log = logging.getLogger(__name__)


class LostLogError(RuntimeError):
    """Neither a store nor a snapshot reaches back to where the log of updates begins now, or to what a rebuild made."""


class Storage:
    """The stores of this process, by partition, and the snapshots that are taken of them. `clock` counts seconds."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self._folder = settings.data_dir / FOLDER
        self._snapshots = Snapshots.at(settings.snapshots())
        self._seconds = settings.snapshot_interval_seconds
        self._clock = clock
        self._due: dict[Shard, float] = {}  # when the next snapshot is, of each that is open
        self._taking: dict[Shard, asyncio.Task[None]] = {}
        self._removing: set[asyncio.Task[None]] = set()

    async def open(self, place: Shard, first: Mapping[str, int]) -> PartitionStore:
        """Open the store of a partition. `first` is the lowest offset that each update topic still has.

        Raises:
            LostLogError: nothing that there is to begin with reaches back to the log, or has what a rebuild made.

        """
        path = self._path(place)
        store = await self._own(path)
        store = await self._newer_snapshot(place, path, store, first) or store
        if store is None:
            if place[0] != FIRST:
                raise LostLogError(
                    f"nobody answers for partition {place[1]} of the profiles: neither a store nor a snapshot of "
                    f"generation {place[0]} is there. Bring one back, or rebuild: entrepot rebuild start"
                )
            store = await asyncio.to_thread(PartitionStore.open, path)
        read = {topic: store.offsets().get(topic, 0) for topic in first}
        gap = {topic: offset for topic, offset in first.items() if read[topic] < offset}
        if gap:
            await asyncio.to_thread(store.close)
            raise LostLogError(
                f"nobody answers for partition {place[1]} of the profiles: it has read up to {read}, the log begins "
                f"at {gap}. Bring back a newer snapshot, or rebuild: entrepot rebuild start"
            )
        self._due[place] = self._clock() + self._seconds
        return store

    def snapshot_if_due(self, place: Shard, store: PartitionStore) -> None:
        """Begin to take a snapshot when it is time. It is of what is kept; work goes on meanwhile."""
        if self._clock() < self._due[place] or place in self._taking:
            return
        self._due[place] = self._clock() + self._seconds
        task = asyncio.create_task(self._take(place, store), name=f"snapshot of partition {place[1]}")
        task.add_done_callback(lambda _: self._taking.pop(place, None))
        self._taking[place] = task

    def remove_older(self, than: int) -> None:
        """Remove what is left here of generations before that one, and soon the snapshots of what was open here.

        What is open stays: it is still answered from.
        """
        opened = {self._path(place) for place in self._due}
        for each in self._folder.glob("*.*"):
            generation = each.name.partition(".")[0]
            if generation.isdigit() and int(generation) < than and each not in opened:
                shutil.rmtree(each, ignore_errors=True)
        task = asyncio.create_task(self._remove_snapshots(than), name=f"removing snapshots before generation {than}")
        task.add_done_callback(self._removing.discard)
        self._removing.add(task)

    async def close(self, place: Shard, store: PartitionStore) -> None:
        """Close a store; a snapshot of it that isn't finished is given up."""
        task = self._taking.get(place)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await asyncio.to_thread(store.close)
        self._due.pop(place, None)

    def _path(self, place: Shard) -> Path:
        return self._folder / f"{place[0]}.{place[1]}"

    async def _own(self, path: Path) -> PartitionStore | None:
        try:
            return await asyncio.to_thread(_opened, path)
        except CorruptStore as error:
            _log.error("%s", error)
            await asyncio.to_thread(shutil.rmtree, path)
            return None

    async def _newer_snapshot(
        self, place: Shard, path: Path, own: PartitionStore | None, topics: Iterable[str]
    ) -> PartitionStore | None:
        """Open the newest good snapshot in place of the own store, if it has read more."""
        generation, number = place
        fetched = path.with_name(f"{path.name}.fetched")
        await in_thread(removed, fetched)  # a process that was killed may have left it
        try:
            snapshot = await self._snapshots.newest_valid(number, generation)
            if snapshot is None or not _has_more(snapshot, own, topics):
                return None
            restored = await self._snapshots.restore(snapshot, fetched)
        except SnapshotStoreUnavailable as error:
            if own is None:
                raise
            _log.warning("%s; partition %d begins with its own store", error, number)
            return None
        if restored is None or not _has_more(restored, own, topics):  # newer ones were damaged
            await in_thread(removed, fetched)
            return None
        if own is not None:
            await asyncio.to_thread(own.close)
        await in_thread(removed, path)
        fetched.rename(path)
        _log.info("partition %d begins with the snapshot %s", number, restored.name)
        return await asyncio.to_thread(PartitionStore.open, path)

    async def _take(self, place: Shard, store: PartitionStore) -> None:
        generation, number = place
        try:
            await self._snapshots.take(store, number, generation)
        except SnapshotStoreUnavailable as error:
            _log.warning("no snapshot of partition %d: %s", number, error)

    async def _remove_snapshots(self, than: int) -> None:
        """Nothing is ever answered from them again, and they hold people who were forgotten since."""
        try:
            for number in {number for _, number in self._due}:
                for generation in range(than):
                    await self._snapshots.forget(number, generation)
        except SnapshotStoreUnavailable as error:
            _log.warning("snapshots before generation %d are removed after the next promotion: %s", than, error)


def _has_more(snapshot: Snapshot, own: PartitionStore | None, topics: Iterable[str]) -> bool:
    """Tell whether a snapshot has read more of some topics than a store."""
    if own is None:
        return True
    offsets = own.offsets()
    return sum(snapshot.offsets.get(each, 0) for each in topics) > sum(offsets.get(each, 0) for each in topics)


def _opened(path: Path) -> PartitionStore | None:
    return PartitionStore.open(path) if path.exists() else None
