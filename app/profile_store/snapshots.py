"""Snapshots of partitions, taken without stopping a store, and verified to the last byte when they are restored.

In the snapshot store, `partition-{n}/generation-{g}/` holds `files/{sha256}` and a manifest `{sequence}-{utc}.json` per
snapshot. Files are named by their content, so unchanged ones are not sent again. The manifest is written last: a crash
leaves either no snapshot or a complete one.

Two processes may take snapshots of a partition at the same time (an owner that does not know yet that it was replaced).
Only files that no manifest names are deleted, and only when they are older than `DELETE_GRACE` or belong to a snapshot
that has just been deleted. A process relies on old files only where a retained manifest names them, and checks again
once its own manifest is written.
"""

import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import file_digest
from pathlib import Path
from typing import Final, Self

from app.profile_store.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    DamagedSnapshot,
    Snapshot,
    SnapshotFile,
    decode_manifest,
    encode_manifest,
    snapshot_folder,
)
from app.profile_store.object_store import Entry, MissingObject, SnapshotStore, SnapshotStoreUnavailable
from app.profile_store.partition_store import PartitionStore
from app.profile_store.restore import FILES, remove, restore
from connectors.kit.threads import in_thread

RETAINED: Final = 3  # snapshots of a partition
DELETE_GRACE: Final = timedelta(hours=1)
FRESH_FILE_AGE: Final = DELETE_GRACE / 2  # a file that no manifest names yet is relied on up to this age
LAST_SEQUENCE: Final = 10**12 - 1

Manifests = dict[str, Snapshot | None]  # by name; None where a manifest can't be read

_log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class Snapshots:
    """The snapshots in one snapshot store. Methods raise `SnapshotStoreUnavailable` when that does not respond."""

    def __init__(self, store: SnapshotStore, clock: Callable[[], datetime] = _now) -> None:
        self._store = store
        self._clock = clock
        self._hashes: dict[str, dict[tuple[int, int, int], str]] = {}  # of the files of a folder's last checkpoint

    @classmethod
    def at(cls, url: str) -> Self:
        """Return the snapshots in the directory or bucket that a URL names."""
        return cls(SnapshotStore.at(url))

    async def take(self, store: PartitionStore, partition: int, generation: int) -> Snapshot:
        """Take a snapshot of a store, then delete what is no longer needed.

        Only files that are missing are sent. The store stays usable meanwhile, and has to stay open until this ends.
        """
        folder = snapshot_folder(partition, generation)
        manifests = await self._manifests(folder)
        checkpoint = store.scratch()
        try:
            offsets = await in_thread(store.checkpoint, checkpoint)
            snapshot = Snapshot(
                partition=partition,
                generation=generation,
                sequence=min(1 + max((int(name[:12]) for name in manifests), default=0), LAST_SEQUENCE),
                taken_at=self._clock().strftime("%Y%m%dT%H%M%S%fZ"),
                offsets=offsets,
                files=await in_thread(self._described, checkpoint, folder),
            )
            files = await self._files_to_send(snapshot)
            await self._send(snapshot, files, checkpoint)
            await self._store.put(f"{folder}/{snapshot.name}", encode_manifest(snapshot))
            deleted_meanwhile = await self._missing(snapshot)  # by another process
            await self._send(snapshot, deleted_meanwhile, checkpoint)
        finally:
            await in_thread(remove, checkpoint)
        _log.info("snapshot %s/%s: %d of %d files sent", folder, snapshot.name, len(files), len(snapshot.files))
        try:
            await self._prune(folder)
        except SnapshotStoreUnavailable:  # the snapshot is complete, and the next one prunes again
            _log.warning("old snapshots in %s could not be removed", folder, exc_info=True)
        return snapshot

    async def newest_valid(self, partition: int, generation: int) -> Snapshot | None:
        """Return the newest snapshot with a valid manifest and all its files; None when there is none."""
        folder = snapshot_folder(partition, generation)
        for name, entry in (await self._manifests(folder)).items():
            try:
                snapshot = await self._read(folder, name, entry.size)
                await self._check_complete(snapshot)
            except DamagedSnapshot as error:
                _log.warning("in %s: %s Trying the previous one.", folder, error)
            else:
                return snapshot
        return None

    async def restore(self, snapshot: Snapshot, directory: Path) -> Snapshot | None:
        """Restore a store into a directory that doesn't exist, from a snapshot or, when it is damaged, an older one.

        Returns:
            The snapshot that was restored; None, and no directory, when all are damaged.

        Raises:
            FileExistsError: the directory isn't empty.

        """
        folder = snapshot.folder
        older = {name: entry for name, entry in (await self._manifests(folder)).items() if name < snapshot.name}
        for name, size in [(snapshot.name, None), *((name, entry.size) for name, entry in older.items())]:
            try:
                candidate = snapshot if size is None else await self._read(folder, name, size)
                await self._check_complete(candidate)
                await restore(self._store, candidate, directory)
            except DamagedSnapshot as error:
                _log.warning("in %s: %s Trying the previous one.", folder, error)
            else:
                return candidate
        _log.warning("no snapshot in %s can be restored", folder)
        return None

    async def remove_all(self, partition: int, generation: int) -> None:
        """Delete all snapshots of a partition's generation. Nothing may take one meanwhile."""
        folder = snapshot_folder(partition, generation)
        for path in (folder, f"{folder}/{FILES}"):  # manifests first: none may name a missing file
            await self._store.delete([f"{path}/{name}" for name in await self._store.folder(path)])

    async def _manifests(self, folder: str) -> dict[str, Entry]:
        """Return the manifests, newest first."""
        entries = await self._store.folder(folder)
        return {name: entries[name] for name in sorted(entries, reverse=True) if re.fullmatch(MANIFEST_NAME, name)}

    async def _read(self, folder: str, name: str, size: int) -> Snapshot:
        if size > MAX_MANIFEST_BYTES:
            raise DamagedSnapshot(name, f"its manifest has {size:,} bytes; the maximum is {MAX_MANIFEST_BYTES:,}")
        try:
            content = b"".join([piece async for piece in self._store.get(f"{folder}/{name}", size)])
        except MissingObject:
            raise DamagedSnapshot(name, "it was removed meanwhile") from None
        return decode_manifest(folder, name, content)

    async def _retention(self, folder: str) -> tuple[Manifests, Manifests]:
        """Return the manifests to retain, and those to delete.

        A manifest that can't be read may be of a newer version, so it is retained for `DELETE_GRACE`.
        """
        retained: Manifests = {}
        expired: Manifests = {}
        for name, entry in (await self._manifests(folder)).items():
            try:
                snapshot = await self._read(folder, name, entry.size)
            except DamagedSnapshot:
                snapshot = None
            is_enough = sum(other is not None for other in retained.values()) >= RETAINED
            is_useless = snapshot is None and entry.modified < self._clock() - DELETE_GRACE
            (expired if is_enough or is_useless else retained)[name] = snapshot
        return retained, expired

    def _described(self, checkpoint: Path, folder: str) -> tuple[SnapshotFile, ...]:
        """Return the files of a checkpoint. RocksDB never changes one, so hashes of the last checkpoint are reused."""
        hashes, self._hashes[folder] = self._hashes.get(folder, {}), {}
        files = []
        for path in sorted(checkpoint.iterdir()):
            stat = path.stat()
            identity = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            self._hashes[folder][identity] = digest = hashes.get(identity) or _hash_of(path)
            files.append(SnapshotFile(name=path.name, size=stat.st_size, sha256=digest))
        return tuple(files)

    async def _missing(self, snapshot: Snapshot) -> list[SnapshotFile]:
        """Return the files that the snapshot store does not have, or not completely."""
        stored = await self._store.folder(f"{snapshot.folder}/{FILES}")
        return [file for file in snapshot.files if file.sha256 not in stored or stored[file.sha256].size != file.size]

    async def _check_complete(self, snapshot: Snapshot) -> None:
        if missing := await self._missing(snapshot):
            raise DamagedSnapshot(snapshot.name, f"{missing[0].name} is missing or has another size")

    async def _files_to_send(self, snapshot: Snapshot) -> list[SnapshotFile]:
        """Return the missing files, and those that another process may be about to delete."""
        stored = await self._store.folder(f"{snapshot.folder}/{FILES}")
        retained, _ = await self._retention(snapshot.folder)
        fresh = {name for name, entry in stored.items() if entry.modified > self._clock() - FRESH_FILE_AGE}
        reliable = stored.keys() & (fresh | _named_by(retained))
        return [file for file in snapshot.files if file.sha256 not in reliable or stored[file.sha256].size != file.size]

    async def _send(self, snapshot: Snapshot, files: list[SnapshotFile], checkpoint: Path) -> None:
        for file in files:
            await self._store.put(f"{snapshot.folder}/{FILES}/{file.sha256}", checkpoint / file.name)

    async def _prune(self, folder: str) -> None:
        files = await self._store.folder(f"{folder}/{FILES}")  # listed first, so that later files are not considered
        retained, expired = await self._retention(folder)
        await self._store.delete([f"{folder}/{name}" for name in expired])
        if None in retained.values():  # it may name any of the files
            return
        named, old = _named_by(retained), self._clock() - DELETE_GRACE
        unneeded = {name for name, entry in files.items() if entry.modified < old} | (_named_by(expired) & files.keys())
        await self._store.delete([f"{folder}/{FILES}/{name}" for name in sorted(unneeded - named)])
        for path in (folder, f"{folder}/{FILES}"):
            await in_thread(self._store.remove_unfinished, path, old)


def _named_by(manifests: Manifests) -> set[str]:
    return {file.sha256 for snapshot in manifests.values() if snapshot is not None for file in snapshot.files}


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
