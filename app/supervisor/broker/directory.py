"""The data directory of the broker: its lock, files and log."""

import asyncio
import fcntl
import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from app.data_dir import write_private
from app.kafka.cluster import PASSWORD_FILE
from app.supervisor.broker.config import DATA, PROPERTIES
from app.supervisor.broker.errors import BrokerError, BrokerExited, DataInUse, DiskFull, PasswordUnusable, PortInUse

MIN_FREE_BYTES: Final = 256 * 1024 * 1024
DISK_FULL_BYTES: Final = 1024 * 1024
MAX_LOG_BYTES: Final = 8 * 1024 * 1024
UNLOCK_TIMEOUT_SECONDS: Final = 5.0
PASSWORD_BYTES: Final = 32
PASSWORD: Final = re.compile(rb"[\w-]{32,128}")  # Kafka reads the file as it is: no end of line


@dataclass(frozen=True, slots=True)
class Directory:
    """The directory that holds all files of one broker. It can be moved."""

    root: Path

    @property
    def data(self) -> Path:
        """The data of Kafka, one directory per partition."""
        return self.root / DATA

    @property
    def properties(self) -> Path:
        """The configuration, rewritten at each start."""
        return self.root / PROPERTIES

    @property
    def password(self) -> Path:
        """The password that clients of the broker need."""
        return self.root / PASSWORD_FILE

    @property
    def log(self) -> Path:
        """The output of the JVM. The log of the previous start is kept beside it."""
        return self.root / "kafka.log"

    @property
    def jvm_pid(self) -> Path:
        """The process ID of the JVM, for operators and for `DataInUse`."""
        return self.root / "jvm.pid"

    @property
    def formatted(self) -> bool:
        """Whether the directory is formatted: this file is the last one that formatting writes."""
        return (self.data / "meta.properties").exists()

    def check_free_space(self, required: int = MIN_FREE_BYTES) -> None:
        """Raise `DiskFull` if Kafka would start but soon run out of space."""
        free = shutil.disk_usage(self.root).free
        if free < required:
            raise DiskFull(self.root, f"{free // 1024**2} MB free, {required // 1024**2} MB required")

    def ensure_password(self, current: str = "") -> str:
        """Create the password at the first start, and return it. Raise `PasswordUnusable` if another file is there.

        `current` is the password of running clients; it replaces any other.
        """
        try:
            if current or not self.password.exists():
                write_private(self.password, (current or secrets.token_urlsafe(PASSWORD_BYTES)).encode())
            self.password.chmod(0o600)
            content = self.password.read_bytes()
        except OSError as error:
            raise PasswordUnusable(self.password, str(error.strerror)) from error
        if not PASSWORD.fullmatch(content):
            raise PasswordUnusable(self.password, "damaged")
        return content.decode()

    def rotate_log(self) -> None:
        """Keep the log of the previous start, drop older ones."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))

    def bound_log(self, limit: int = MAX_LOG_BYTES) -> None:
        """Copy and truncate a log that is too large; the JVM continues to append to it."""
        if self.log.stat().st_size > limit:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)

    def log_tail(self, lines: int = 12) -> str:
        """Return the end of the log."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 16 * 1024))
            return b"\n".join(log.read().splitlines()[-lines:]).decode(errors="replace")

    def exit_error(self, status: str) -> BrokerError:
        """Return the error that explains the exit of the JVM, derived from its log."""
        tail = self.log_tail(lines=200)
        # If the log is on the full disk as well, its last lines are missing.
        if "No space left on device" in tail or shutil.disk_usage(self.root).free < DISK_FULL_BYTES:
            return DiskFull(self.root, "no space left on device")
        if "Address already in use" in tail:
            return PortInUse(f"Kafka could not listen. {PortInUse.__doc__}")
        if "Failed to acquire lock" in tail:
            return DataInUse(self.root, "another Kafka")
        return BrokerExited(f"Kafka {status}. {BrokerExited.__doc__} ({self.log})\n{self.log_tail()}")

    async def wait_until_unlocked(self) -> None:
        """Wait until no JVM holds the lock of Kafka: a killed or orphaned one may need a moment to exit."""
        deadline = time.monotonic() + UNLOCK_TIMEOUT_SECONDS
        while is_locked(self.data / ".lock"):
            if time.monotonic() > deadline:
                pid = self.jvm_pid.read_text() if self.jvm_pid.exists() else "unknown"
                raise DataInUse(self.root, f"Kafka, process {pid}")
            await asyncio.sleep(0.05)


def is_locked(file: Path) -> bool:
    """Whether another process holds a POSIX lock on the file, as Java's `FileChannel.tryLock` does."""
    try:
        with file.open("r+b") as opened:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError):
        return True
    return False


class DirectoryLock:
    """A lock on a data directory while its broker starts, runs or stops.

    Kafka's own lock is not enough: two concurrent first starts would format the same directory.
    """

    def __init__(self, directory: Directory) -> None:
        directory.root.mkdir(parents=True, exist_ok=True)
        self._file = (directory.root / "holder.pid").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read()
            self._file.close()
            raise DataInUse(directory.root, f"process {holder}") from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Release the lock."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
