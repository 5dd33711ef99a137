"""An object store for snapshots: a directory or an S3 bucket behind the same methods.

S3's endpoint, region and credentials come from the usual environment variables: `AWS_ENDPOINT_URL`, `AWS_REGION`,
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, …; on AWS also from the instance.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from app.documented_error import DocumentedError

CHUNK_BYTES: Final = 4 * 1024 * 1024  # read, written and held in memory at a time
RETRY_TIMEOUT: Final = timedelta(seconds=60)


class UnknownSnapshotStore(DocumentedError, ValueError):
    """Invalid snapshot store {url}: expected a directory (file:///srv/snapshots) or a bucket (s3://bucket/prefix)."""

    def __init__(self, url: str) -> None:
        super().__init__(url=url)


class SnapshotStoreUnavailable(DocumentedError):
    """The snapshot store {url} is unavailable, retry later: {why}."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url=url, why=why.partition("\n")[0])


class MissingObject(DocumentedError):
    """The snapshot store has no object {path}."""

    def __init__(self, path: str) -> None:
        super().__init__(path=path)


@dataclass(frozen=True, slots=True)
class Entry:
    """An object in a folder. `modified` comes from the clock of the store."""

    size: int
    modified: datetime


class SnapshotStore:
    """Objects by path. `put` writes an object atomically, and returns once it is durable."""

    def __init__(self, url: str, objects: LocalStore | S3Store) -> None:
        self.url = url
        self._objects = objects

    @classmethod
    def at(cls, url: str) -> Self:
        """Return the store that a URL or a path names; create the directory if needed.

        Raises:
            UnknownSnapshotStore: it is neither a directory nor a bucket.

        """
        parts = urlsplit(url)
        try:
            match parts.scheme:
                case "s3" if parts.netloc and not parts.query:
                    return cls(url, _bucket(parts.netloc, parts.path.strip("/")))
                case "file" if parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
                    return cls(url, _directory(Path(unquote(parts.path))))
                case "" if url:
                    return cls(url, _directory(Path(url)))
        except (BaseError, OSError) as error:
            raise SnapshotStoreUnavailable(url, str(error)) from error
        raise UnknownSnapshotStore(url)

    async def folder(self, path: str) -> dict[str, Entry]:
        """Return the objects directly in a folder by name; none when it doesn't exist."""
        with self._errors_of(path):
            listing = await obstore.list_with_delimiter_async(self._objects, path)
        return {
            entry["path"].rpartition("/")[2]: Entry(entry["size"], entry["last_modified"])
            for entry in listing["objects"]
        }

    async def put(self, path: str, content: bytes | Path) -> None:
        """Write an object from bytes, or from a file in a few pieces at a time."""
        with self._errors_of(path):
            await obstore.put_async(self._objects, path, content, chunk_size=2 * CHUNK_BYTES, max_concurrency=2)
            if (directory := self._directory()) is not None:
                await asyncio.to_thread(_sync_to_disk, directory / path)

    async def get(self, path: str, size: int) -> AsyncIterator[bytes]:
        """Read the first `size` bytes of an object, in pieces.

        Raises:
            MissingObject: it does not exist.

        """
        for start in range(0, size, CHUNK_BYTES):
            with self._errors_of(path):
                end = min(size, start + CHUNK_BYTES)
                piece = await obstore.get_range_async(self._objects, path, start=start, end=end)
            yield bytes(piece)

    async def delete(self, paths: Sequence[str]) -> None:
        """Delete objects; missing ones are ignored."""
        for at in range(0, len(paths), 1000):
            batch = list(paths[at : at + 1000])
            for path in [batch] if isinstance(self._objects, S3Store) else batch:
                try:
                    with self._errors_of(str(path)):
                        await obstore.delete_async(self._objects, path)
                except MissingObject:
                    continue

    def remove_unfinished(self, path: str, before: datetime) -> None:
        """Remove the partial files of killed writers from a folder of a directory (S3: use a lifecycle rule)."""
        if (directory := self._directory()) is not None:
            for file in (directory / path).glob("*#*"):  # obstore's names for partial files
                with suppress(FileNotFoundError):  # its writer has finished
                    if file.stat().st_mtime < before.timestamp():
                        file.unlink()

    def _directory(self) -> Path | None:
        return self._objects.prefix if isinstance(self._objects, LocalStore) else None

    @contextmanager
    def _errors_of(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise MissingObject(path) from error
        except (BaseError, OSError) as error:
            raise SnapshotStoreUnavailable(self.url, str(error)) from error


def _sync_to_disk(file: Path) -> None:
    for path in (file, file.parent):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _directory(path: Path) -> LocalStore:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds customer data
    return LocalStore(path.absolute())


def _bucket(name: str, prefix: str) -> S3Store:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    return S3Store(
        name,
        prefix=prefix or None,
        config={"endpoint": endpoint} if endpoint else None,
        client_options={"allow_http": endpoint.startswith("http://")},
        retry_config={"max_retries": 5, "retry_timeout": RETRY_TIMEOUT},
    )
