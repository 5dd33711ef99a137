"""Open regular files under the configured directories. Reveals nothing about paths outside of them."""

import asyncio
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from connectors.contract import FixConfiguration, Limits, RestoreSource, RetryLater
from connectors.kit.threads import in_thread

MAX_COMPARED_BYTES: Final = 256 * 1024 * 1024  # of a file that grows; takes about half a second
VERSION: Final = re.compile(r"(?P<inode>\d{1,20})-(?P<size>\d{1,20})-\d{1,20}", re.ASCII)
OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(slots=True)
class LocalSource:
    """An open file and the read position."""

    name: str
    start: int
    total: int | None
    _descriptor: int
    _position: int
    _last_status: tuple[int, int]  # size and modification time
    _received: Callable[[int], None]
    validator: str | None = None
    content_type: str = ""
    content_encoding: str = ""

    @property
    def modified(self) -> float:
        """Return the modification time of the last read, in seconds since 1970."""
        return self._last_status[1] / 1e9

    async def head(self, count: int) -> bytes:
        """Return the first bytes of the file, whatever the read position."""
        return await in_thread(os.pread, self._descriptor, count, 0)

    async def read(self, size: int) -> bytes:
        """Return the next bytes; b"" at the end. Raise `RetryLater` when the file changed other than by appending."""
        chunk = await in_thread(self._read, size)
        self._received(len(chunk))
        return chunk

    async def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _read(self, size: int) -> bytes:
        try:
            chunk = os.pread(self._descriptor, size, self._position)
            status = os.fstat(self._descriptor)
        except OSError as error:
            raise RetryLater("unreadable", {"source": self.name, "error": error.strerror}) from error
        (size, modified), self._last_status = self._last_status, (status.st_size, status.st_mtime_ns)
        if status.st_size < size or (status.st_size == size and status.st_mtime_ns != modified):
            raise RetryLater("source_changing", {"source": self.name})
        self._position += len(chunk)
        return chunk


async def open_local(source: str, limits: Limits, start: int, validator: str | None) -> LocalSource:
    """Open a file at byte `start` if `validator` still matches its version, else at its beginning.

    A large file that grew is opened at `start`, too: reading it again at every growth takes too long.

    Raises:
        FixConfiguration: it is not readable.

    """
    opened: list[LocalSource] = []
    try:
        await in_thread(lambda: opened.append(_open(source, limits, start, validator)))
    except asyncio.CancelledError:
        for file in opened:  # the caller never receives it
            await file.close()
        raise
    return opened[0]


def _open(source: str, limits: Limits, start: int, validator: str | None) -> LocalSource:
    if not limits.file_roots:
        raise FixConfiguration("no_file_roots")
    if "\0" in source or ".." in Path(source).parts:
        raise FixConfiguration("forbidden_path", {"source": source})
    descriptor = _open_under(source, limits.file_roots)
    try:
        status = _regular_file_status(descriptor, source)
    except FixConfiguration:
        os.close(descriptor)
        raise
    last_status = (status.st_size, status.st_mtime_ns)
    if not _may_skip(start, validator, status):
        start = 0
    version = _version(status)
    return LocalSource(source, start, status.st_size, descriptor, start, last_status, limits.received, version)


def _version(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_size}-{status.st_ctime_ns}"


def _may_skip(start: int, validator: str | None, status: os.stat_result) -> bool:
    """Whether the text before `start` need not be compared: the file is unchanged, or it is large and grew."""
    if validator == _version(status):
        return True
    before = VERSION.fullmatch(validator or "")
    if before is None or int(before["inode"]) != status.st_ino:
        return False
    return start > MAX_COMPARED_BYTES and int(before["size"]) < status.st_size


def _regular_file_status(descriptor: int, source: str) -> os.stat_result:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise FixConfiguration("not_a_file", {"source": source})
    return status


def _open_under(source: str, roots: tuple[Path, ...]) -> int:
    inside = False
    for root in roots:
        try:
            resolved_root = root.resolve(strict=True)
            path = (resolved_root / source).resolve(strict=True)
            if path.is_relative_to(resolved_root):
                return _open_path(resolved_root, path.relative_to(resolved_root).parts)
        except (FileNotFoundError, NotADirectoryError):
            inside = inside or (root / source).is_relative_to(root)
        except (OSError, RuntimeError) as error:  # permissions, symlink loops, names that are too long
            if (root / source).is_relative_to(root):
                reason = error.strerror if isinstance(error, OSError) else "symbolic link loop"
                raise RestoreSource("unreadable", {"source": source, "error": reason}) from error
    # The sentences don't list the directories: users who create jobs need not know the machine.
    if inside:
        raise RestoreSource("file_not_found", {"source": source})
    raise FixConfiguration("forbidden_path", {"source": source})


def _open_path(root: Path, parts: tuple[str, ...]) -> int:
    """Open component by component without following links: closes the race between the check and the open."""
    directory = os.open(root, OPEN_FLAGS | os.O_DIRECTORY)
    for part in parts[:-1]:
        try:
            inner = os.open(part, OPEN_FLAGS | os.O_DIRECTORY, dir_fd=directory)
        finally:
            os.close(directory)
        directory = inner
    try:
        return os.open(parts[-1] if parts else ".", OPEN_FLAGS, dir_fd=directory)
    finally:
        os.close(directory)
