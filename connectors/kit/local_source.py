"""A regular file under one of the operator's directories. Nothing outside of them can be opened or even noticed."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from connectors.contract import FixConfiguration, RetryLater
from connectors.kit.read_ahead import in_thread

# Which directories there are is said to nobody: whoever makes jobs need not know the machine.
ALLOW: Final = "its operator allows another with `entrepot up --files DIRECTORY` or ENTREPOT_FILE_ROOTS"
FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(slots=True)
class LocalSource:
    """An open file and the place in it."""

    name: str
    start: int
    total: int | None
    _descriptor: int
    _at: int
    _seen: tuple[int, int]  # size and modification time
    validator: str | None = None

    @property
    def modified(self) -> float:
        """When the file was last written to, as far as it was read."""
        return self._seen[1] / 1e9

    async def head(self, count: int) -> bytes:
        """The first bytes of the file, wherever reading goes on."""
        return await in_thread(lambda: os.pread(self._descriptor, count, 0))

    async def read(self, size: int) -> bytes:
        """The next bytes; b"" at the end. Raises `RetryLater` when the file was written to, other than at its end."""
        return await in_thread(lambda: self._read(size))

    async def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _read(self, size: int) -> bytes:
        try:
            some = os.pread(self._descriptor, size, self._at)
            now = os.fstat(self._descriptor)
        except OSError as error:
            raise RetryLater("unreadable", f"`{self.name}` can't be read: {error.strerror}") from error
        before, self._seen = self._seen, (now.st_size, now.st_mtime_ns)
        if now.st_size < before[0] or (now.st_size == before[0] and now.st_mtime_ns != before[1]):
            raise RetryLater("source_changing", f"`{self.name}` was changed while it was read")
        self._at += len(some)
        return some


async def open_local(source: str, roots: tuple[Path, ...], start: int) -> LocalSource:
    """Open a file to be read from byte `start`; `FixConfiguration` says why it can't be."""
    return await in_thread(lambda: _open(source, roots, start), LocalSource.close)


def _open(source: str, roots: tuple[Path, ...], start: int) -> LocalSource:
    if not roots:
        raise FixConfiguration(
            "no_file_roots",
            f"this service may read no local files; {ALLOW}",
        )
    if "\0" in source or ".." in Path(source).parts:
        raise FixConfiguration("forbidden_path", "a path must not contain `..` or NUL")
    descriptor = _descriptor(source, roots)
    try:
        found = _regular(descriptor, source)
    except FixConfiguration:
        os.close(descriptor)
        raise
    return LocalSource(source, start, found.st_size, descriptor, start, (found.st_size, found.st_mtime_ns))


def _regular(descriptor: int, source: str) -> os.stat_result:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise FixConfiguration("not_a_file", f"`{source}` is not a regular file")
    return found


def _descriptor(source: str, roots: tuple[Path, ...]) -> int:
    inside = False
    for each in roots:
        try:
            root = each.resolve(strict=True)
            path = (root / source).resolve(strict=True)
            if path.is_relative_to(root):
                return _walk(root, path.relative_to(root).parts)
        except (FileNotFoundError, NotADirectoryError):
            inside = inside or (each / source).is_relative_to(each)
        except (OSError, RuntimeError) as error:  # permissions, loops of links, names that are too long
            if (each / source).is_relative_to(each):
                reason = error.strerror if isinstance(error, OSError) else "its links go round in circles"
                raise FixConfiguration("unreadable", f"`{source}` can't be opened: {reason}") from error
    if inside:
        raise FixConfiguration(
            "not_found", f"there is no file `{source}` in the directories this service may read; {ALLOW}"
        )
    raise FixConfiguration("forbidden_path", f"`{source}` is outside of the directories this service may read; {ALLOW}")


def _walk(root: Path, parts: tuple[str, ...]) -> int:
    """Open step by step without following links, so that nothing can be swapped between the check and the opening."""
    directory = os.open(root, FLAGS | os.O_DIRECTORY)
    for each in parts[:-1]:
        try:
            inner = os.open(each, FLAGS | os.O_DIRECTORY, dir_fd=directory)
        finally:
            os.close(directory)
        directory = inner
    try:
        return os.open(parts[-1] if parts else ".", FLAGS, dir_fd=directory)
    finally:
        os.close(directory)
