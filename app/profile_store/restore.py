"""Restores a store from a snapshot: fetches its files, verifies every byte, opens it, and moves it into place."""

import shutil
from hashlib import sha256
from pathlib import Path
from typing import Final

from app.profile_store.manifest import DamagedSnapshot, Snapshot, SnapshotFile
from app.profile_store.object_store import MissingObject, SnapshotStore
from app.profile_store.partition_store import CorruptStore, PartitionStore
from connectors.kit.threads import in_thread

FILES: Final = "files"  # the folder of the files, inside that of the snapshots


async def restore(store: SnapshotStore, snapshot: Snapshot, directory: Path) -> None:
    """Restore a store into a directory that doesn't exist or is empty.

    Raises:
        DamagedSnapshot: a file differs from the manifest, or the files are not a store; the directory is not created.
        FileExistsError: the directory isn't empty.

    """
    unfinished = directory.with_name(f"{directory.name}.unfinished")
    try:
        await in_thread(_make_empty, unfinished, directory)
        for file in snapshot.files:
            await _fetch(store, snapshot, file, unfinished / file.name)
        await in_thread(_move_into_place, snapshot, unfinished, directory)
    finally:
        await in_thread(remove, unfinished)


async def _fetch(store: SnapshotStore, snapshot: Snapshot, file: SnapshotFile, target: Path) -> None:
    """Write a file, a piece of a few megabytes at a time."""
    digest = sha256()

    def append(piece: bytes) -> None:
        digest.update(piece)
        with target.open("ab") as output:
            output.write(piece)

    await in_thread(target.touch)
    try:
        async for piece in store.get(f"{snapshot.folder}/{FILES}/{file.sha256}", file.size):
            await in_thread(append, piece)
    except MissingObject:
        raise DamagedSnapshot(snapshot.name, f"{file.name} is missing") from None
    if digest.hexdigest() != file.sha256:
        raise DamagedSnapshot(snapshot.name, f"{file.name} has changed since it was taken")


def _make_empty(unfinished: Path, directory: Path) -> None:
    if directory.exists() and any(directory.iterdir()):
        raise FileExistsError(f"{directory} isn't empty: remove it before a snapshot is restored there")
    remove(unfinished)
    unfinished.mkdir(mode=0o700, parents=True)


def _move_into_place(snapshot: Snapshot, unfinished: Path, directory: Path) -> None:
    try:
        store = PartitionStore.open(unfinished)
        try:
            offsets = store.offsets()
        finally:
            store.close()
    except CorruptStore as error:
        raise DamagedSnapshot(snapshot.name, f"its files are not a store: {error}") from None
    if offsets != snapshot.offsets:
        raise DamagedSnapshot(snapshot.name, f"its offsets are {offsets}, but its manifest has {snapshot.offsets}")
    unfinished.rename(directory)  # replaces an empty one


def remove(directory: Path) -> None:
    """Remove a directory and its contents, if it exists."""
    shutil.rmtree(directory, ignore_errors=True)
