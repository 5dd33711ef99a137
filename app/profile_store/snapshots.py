"""Snapshots of partitions: taken without stopping a store, checked to the last byte when one is restored.

In the snapshot store, `partition-{n}/generation-{g}/` holds `files/{sha256}` and a manifest `{sequence}-{utc}.json` per
snapshot. Files are named by their content, so what didn't change since the last snapshot is there already. The manifest
is written last: whatever a crash leaves behind is no snapshot, or a whole one.

Several takers of a partition may work at once (an owner that doesn't know yet that it was replaced). Deleted is only
what no manifest names, and of that only what is older than `DELETE_GRACE` or was of a snapshot that has just been
dropped. A taker relies on old files only where a manifest that is kept names them, and looks again once its own is
written.
"""

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import file_digest
from pathlib import Path
from typing import Final, Self

from app.profile_store.manifest import (
    MANIFEST_BYTES,
    MANIFEST_NAME,
    DamagedSnapshot,
    Snapshot,
    SnapshotFile,
    folder_of,
    read,
    written,
)
from app.profile_store.object_store import Entry, MissingObject, SnapshotStore, SnapshotStoreUnavailable
from app.profile_store.partition_store import PartitionStore
from app.profile_store.restore import FILES, in_thread, removed, restored

KEPT: Final = 3
DELETE_GRACE: Final = timedelta(hours=1)
FRESH_FILE_AGE: Final = DELETE_GRACE / 2  # a file that no manifest names yet is relied on for so long
LAST_SEQUENCE: Final = 10**12 - 1

_log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class Snapshots:
    """The snapshots in one snapshot store. Everything raises `SnapshotStoreUnavailable` when that doesn't answer."""

    def __init__(self, store: SnapshotStore, clock: Callable[[], datetime] = _now) -> None:
        self._store = store
        self._clock = clock
        self._hashes: dict[str, dict[tuple[int, int, int], str]] = {}  # of the files of a folder's last checkpoint

    @classmethod
    def at(cls, url: str) -> Self:
        """Return the snapshots in the directory or bucket that a URL names."""
        return cls(SnapshotStore.at(url))

    async def take(self, store: PartitionStore, partition: int, generation: int) -> Snapshot:
        """Write down a partition as it is now and return that; then remove what is no longer needed.

        Only files that aren't there yet are sent. The store goes on meanwhile; it has to stay open until this ends.
        """
        folder = folder_of(partition, generation)
        before = await self._manifests(folder)
        checkpoint = store.scratch()
        try:
            offsets = await in_thread(store.checkpoint, checkpoint)
            snapshot = Snapshot(
                partition=partition,
                generation=generation,
                sequence=min(1 + max((int(each[:12]) for each in before), default=0), LAST_SEQUENCE),
                taken_at=self._clock().strftime("%Y%m%dT%H%M%S%fZ"),
                offsets=offsets,
                files=await in_thread(self._described, checkpoint, folder),
            )
            lacking = await self._lacking(snapshot)
            await self._send(snapshot, lacking, checkpoint)
            await self._store.put(f"{folder}/{snapshot.name}", written(snapshot))
            await self._send(snapshot, await self._absent(snapshot), checkpoint)  # another taker may have removed some
        finally:
            await in_thread(removed, checkpoint)
        _log.info("snapshot %s/%s: %d of %d files sent", folder, snapshot.name, len(lacking), len(snapshot.files))
        try:
            await self._prune(folder)
        except SnapshotStoreUnavailable:  # the snapshot is complete, and the next one tidies up
            _log.warning("old snapshots in %s could not be removed", folder, exc_info=True)
        return snapshot

    async def newest_valid(self, partition: int, generation: int) -> Snapshot | None:
        """Return the newest snapshot whose manifest is right and whose files are there; None when there is none."""
        folder = folder_of(partition, generation)
        for name, entry in (await self._manifests(folder)).items():
            try:
                snapshot = await self._read(folder, name, entry.size)
                await self._check_complete(snapshot)
            except DamagedSnapshot as why:
                _log.warning("in %s: %s The one before it is looked at.", folder, why)
            else:
                return snapshot
        return None

    async def restore(self, snapshot: Snapshot, directory: Path) -> Snapshot | None:
        """Make a store in a directory that doesn't exist, of a snapshot or, when that is damaged, of one before it.

        Returns:
            The snapshot that the store was made of; None, and no directory, when none is any good.

        Raises:
            FileExistsError: something is in the directory.

        """
        folder = snapshot.folder
        older = {name: entry for name, entry in (await self._manifests(folder)).items() if name < snapshot.name}
        for name, size in [(snapshot.name, None), *((name, entry.size) for name, entry in older.items())]:
            try:
                found = snapshot if size is None else await self._read(folder, name, size)
                await self._check_complete(found)
                await restored(self._store, found, directory)
            except DamagedSnapshot as why:
                _log.warning("in %s: %s The one before it is tried.", folder, why)
            else:
                return found
        _log.warning("no snapshot in %s can be restored", folder)
        return None

    async def forget(self, partition: int, generation: int) -> None:
        """Remove all snapshots of a generation, while nobody takes one."""
        folder = folder_of(partition, generation)
        for each in (folder, f"{folder}/{FILES}"):  # manifests first: none may name what isn't there
            await self._store.delete([f"{each}/{name}" for name in await self._store.folder(each)])

    async def _manifests(self, folder: str) -> dict[str, Entry]:
        """Return the manifests, newest first."""
        found = await self._store.folder(folder)
        return {name: found[name] for name in sorted(found, reverse=True) if re.fullmatch(MANIFEST_NAME, name)}

    async def _read(self, folder: str, name: str, size: int) -> Snapshot:
        if size > MANIFEST_BYTES:
            raise DamagedSnapshot(name, f"its manifest has {size:,} bytes, and {MANIFEST_BYTES:,} are the most")
        try:
            return read(folder, name, b"".join([each async for each in self._store.get(f"{folder}/{name}", size)]))
        except MissingObject:
            raise DamagedSnapshot(name, "it was removed meanwhile") from None

    async def _kept(self, folder: str) -> tuple[dict[str, Snapshot | None], dict[str, Snapshot | None]]:
        """Return the manifests to keep, and those to drop; None where one can't be read, perhaps as it is newer."""
        kept: dict[str, Snapshot | None] = {}
        dropped: dict[str, Snapshot | None] = {}
        for name, entry in (await self._manifests(folder)).items():
            try:
                found = await self._read(folder, name, entry.size)
            except DamagedSnapshot:
                found = None
            enough = sum(each is not None for each in kept.values()) >= KEPT
            useless = found is None and entry.modified < self._clock() - DELETE_GRACE
            (dropped if enough or useless else kept)[name] = found
        return kept, dropped

    def _described(self, checkpoint: Path, folder: str) -> tuple[SnapshotFile, ...]:
        """Return the files of a checkpoint. RocksDB never changes one, so those of the last checkpoint are known."""
        known, self._hashes[folder] = self._hashes.get(folder, {}), {}
        files = []
        for path in sorted(checkpoint.iterdir()):
            stat = path.stat()
            identity = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            self._hashes[folder][identity] = digest = known.get(identity) or _hash_of(path)
            files.append(SnapshotFile(name=path.name, size=stat.st_size, sha256=digest))
        return tuple(files)

    async def _absent(self, snapshot: Snapshot) -> list[SnapshotFile]:
        """Return the files that the snapshot store hasn't, or not whole."""
        there = await self._store.folder(f"{snapshot.folder}/{FILES}")
        return [each for each in snapshot.files if each.sha256 not in there or there[each.sha256].size != each.size]

    async def _check_complete(self, snapshot: Snapshot) -> None:
        if absent := await self._absent(snapshot):
            raise DamagedSnapshot(snapshot.name, f"{absent[0].name} is missing, or has another size than it had")

    async def _lacking(self, snapshot: Snapshot) -> list[SnapshotFile]:
        """Return the files to send: those that aren't there, and those that another taker might be about to remove."""
        there = await self._store.folder(f"{snapshot.folder}/{FILES}")
        kept, _ = await self._kept(snapshot.folder)
        fresh = {name for name, entry in there.items() if entry.modified > self._clock() - FRESH_FILE_AGE}
        there_to_stay = {each for each in there if each in fresh | _named_by(kept)}
        return [
            each for each in snapshot.files if each.sha256 not in there_to_stay or there[each.sha256].size != each.size
        ]

    async def _send(self, snapshot: Snapshot, files: list[SnapshotFile], checkpoint: Path) -> None:
        for each in files:
            await self._store.put(f"{snapshot.folder}/{FILES}/{each.sha256}", checkpoint / each.name)

    async def _prune(self, folder: str) -> None:
        files = await self._store.folder(f"{folder}/{FILES}")  # first: what is sent from now on isn't looked at
        kept, dropped = await self._kept(folder)
        await self._store.delete([f"{folder}/{each}" for each in dropped])
        if None in kept.values():  # it may name any of the files
            return
        named, old = _named_by(kept), self._clock() - DELETE_GRACE
        unneeded = {name for name, entry in files.items() if entry.modified < old} | (_named_by(dropped) & files.keys())
        await self._store.delete([f"{folder}/{FILES}/{each}" for each in sorted(unneeded - named)])
        for each in (folder, f"{folder}/{FILES}"):
            await in_thread(self._store.remove_unfinished, each, old)


def _named_by(manifests: dict[str, Snapshot | None]) -> set[str]:
    return {file.sha256 for each in manifests.values() if each is not None for file in each.files}


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
