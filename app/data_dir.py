"""The files of the data directory that processes find each other by, and the lock that keeps it to one supervisor."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from app.settings import Settings

LOCK: Final = "supervisor.lock"
KAFKA: Final = "kafka-address"
FORMAT: Final = 2  # of topics, read store and profiles together; raised when older data can't be read
FORMAT_FILE: Final = "format"
DATA: Final = ("broker", "views.db", "profiles", "snapshots")  # what a start writes before anything else


class InUseError(Exception):
    """The data directory {path} is in use by the process {pid}; stop it, or name another with --data-dir."""

    def __init__(self, path: Path, pid: str) -> None:
        super().__init__((self.__doc__ or "").format(path=path, pid=pid or "?"))


class IncompatibleFormatError(Exception):
    """The data directory {path} has format {found}; this version of Entrepot reads format {expected} only.

    Start with another directory (--data-dir) and send the data again, or run the version that wrote this one.
    """

    def __init__(self, path: Path, found: str) -> None:
        advice = " ".join((self.__doc__ or "").split())
        super().__init__(advice.format(path=path, found=found, expected=FORMAT))


@contextmanager
def only_one(data_dir: Path) -> Iterator[None]:
    """Lock the data directory for one supervisor. The kernel releases the lock when its holder ends, however it ends.

    Raises:
        InUseError: another supervisor has it.
        IncompatibleFormatError: its data was written by a version with another format.

    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)  # it holds customer data
    descriptor = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError(data_dir, os.read(descriptor, 20).decode().strip()) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        _check_format(data_dir)
        yield
    finally:
        os.close(descriptor)


def _check_format(data_dir: Path) -> None:
    """Stamp the format into a directory without data; refuse data of another format."""
    stamp = data_dir / FORMAT_FILE
    if not stamp.exists() and not any((data_dir / name).exists() for name in DATA):
        stamp.write_text(f"{FORMAT}\n")
        return
    found = stamp.read_text(errors="replace")[:20].strip() if stamp.exists() else "1"
    if found != str(FORMAT):
        raise IncompatibleFormatError(data_dir, found if found.isdecimal() else repr(found))


def holder(data_dir: Path) -> int | None:
    """Return the process that supervises the data directory, or None when none does."""
    try:
        with (data_dir / LOCK).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int((data_dir / LOCK).read_text() or 0)
    return None


def announce_kafka(data_dir: Path, bootstrap_servers: str) -> None:
    """Say where the broker of this data directory is; it has another port when the usual one is taken."""
    (data_dir / KAFKA).write_text(bootstrap_servers + "\n")


def with_kafka(settings: Settings) -> Settings:
    """Return settings that name the cluster: the one they name, or that of `entrepot up` in the data directory."""
    if settings.bootstrap_servers:
        return settings
    try:
        found = (settings.data_dir / KAFKA).read_text().strip()
    except FileNotFoundError:
        found = f"127.0.0.1:{settings.broker_port}"
    return settings.model_copy(update={"bootstrap_servers": found})
