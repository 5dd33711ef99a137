"""The files of the data directory that processes find each other by, and the lock that keeps it to one supervisor."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LOCK: Final = "supervisor.lock"


class InUseError(Exception):
    """The data directory {path} is in use by the process {pid}; stop it, or name another with --data-dir."""

    def __init__(self, path: Path, pid: str) -> None:
        super().__init__((self.__doc__ or "").format(path=path, pid=pid or "?"))


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Hold the data directory for one supervisor; raise `InUseError` when another has it.

    The kernel lets go of the lock when its holder ends, however it ends.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError(data_dir, os.read(descriptor, 20).decode().strip()) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
