"""A store made of a snapshot's files: fetched, checked to the last byte, opened once, and only then put into place."""

import asyncio
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from app.profile_store.manifest import DamagedSnapshot, Snapshot, SnapshotFile
from app.profile_store.object_store import MissingObject, SnapshotStore
from app.profile_store.partition_store import CorruptStore, PartitionStore

FILES: Final = "files"  # the folder of them, in the snapshot's own

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


async def restored(store: SnapshotStore, snapshot: Snapshot, directory: Path) -> None:
    """Make a store in a directory that doesn't exist, or is empty.

    Raises:
        DamagedSnapshot: something isn't as the manifest says, or isn't a store; there is no directory then.
        FileExistsError: something is in the directory.

    """
    unfinished = directory.with_name(f"{directory.name}.unfinished")
    try:
        await in_thread(_made_empty, unfinished, directory)
        for each in snapshot.files:
            await _fetch(store, snapshot, each, unfinished / each.name)
        await in_thread(_put_into_place, snapshot, unfinished, directory)
    finally:
        await in_thread(removed, unfinished)


async def _fetch(store: SnapshotStore, snapshot: Snapshot, file: SnapshotFile, target: Path) -> None:
    """Write a file, a piece of a few megabytes at a time."""
    digest = sha256()

    def absorb(piece: bytes) -> None:
        digest.update(piece)
        with target.open("ab") as written:
            written.write(piece)

    await in_thread(target.touch)
    try:
        async for piece in store.get(f"{snapshot.folder}/{FILES}/{file.sha256}", file.size):
            await in_thread(absorb, piece)
    except MissingObject:
        raise DamagedSnapshot(snapshot.name, f"{file.name} is missing") from None
    if digest.hexdigest() != file.sha256:
        raise DamagedSnapshot(snapshot.name, f"{file.name} has changed since it was taken")


def _made_empty(unfinished: Path, directory: Path) -> None:
    if directory.exists() and any(directory.iterdir()):
        raise FileExistsError(f"{directory} isn't empty: remove it before a snapshot is restored there")
    removed(unfinished)
    unfinished.mkdir(mode=0o700, parents=True)


def _put_into_place(snapshot: Snapshot, unfinished: Path, directory: Path) -> None:
    try:
        opened = PartitionStore.open(unfinished)
        try:
            offsets = opened.offsets()
        finally:
            opened.close()
    except CorruptStore as why:
        raise DamagedSnapshot(snapshot.name, f"its files are no store: {why}") from None
    if offsets != snapshot.offsets:
        raise DamagedSnapshot(snapshot.name, f"its offsets are {offsets}, and its manifest says {snapshot.offsets}")
    unfinished.rename(directory)  # over an empty one, too


def removed(directory: Path) -> None:
    """Remove a directory with all that is in it, if it is there."""
    shutil.rmtree(directory, ignore_errors=True)


async def in_thread(
    function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
) -> Result:
    """Run a function in a thread and, also when cancelled, wait for its end: what it works on is removed next."""
    running = asyncio.ensure_future(asyncio.to_thread(function, *arguments, **named))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise
