"""The broker's data directory: who holds it, what is in it, its log. Starts and stops nothing."""

import asyncio
import fcntl
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from app.supervisor.broker.config import DATA, PROPERTIES
from app.supervisor.broker.errors import BrokerDied, BrokerError, DataInUse, DiskFull, PortTaken

FREE_BYTES: Final = 256 * 1024 * 1024
FULL_BYTES: Final = 1024 * 1024
LOG_BYTES: Final = 8 * 1024 * 1024
LET_GO_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Directory:
    """Where one broker keeps everything. Moving it is moving the data."""

    root: Path

    @property
    def data(self) -> Path:
        """Kafka's own: one directory per partition."""
        return self.root / DATA

    @property
    def properties(self) -> Path:
        """Written anew at each start."""
        return self.root / PROPERTIES

    @property
    def log(self) -> Path:
        """What the JVM prints; the log of the start before is kept beside it."""
        return self.root / "kafka.log"

    @property
    def jvm_pid(self) -> Path:
        """The JVM's process id, for people and for `DataInUse`."""
        return self.root / "jvm.pid"

    @property
    def formatted(self) -> bool:
        """Whether Kafka's first start is done; this file is the last that formatting writes."""
        return (self.data / "meta.properties").exists()

    def refuse_full_disk(self, needed: int = FREE_BYTES) -> None:
        """Raise `DiskFull` while Kafka could still be started but would soon stop."""
        free = shutil.disk_usage(self.root).free
        if free < needed:
            raise DiskFull(self.root, f"{free // 1024**2} MB free, {needed // 1024**2} MB needed")

    def rotate_log(self) -> None:
        """Keep the log of the start before, drop the older ones."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))

    def bound_log(self, limit: int = LOG_BYTES) -> None:
        """Empty a log that grew too large, keeping a copy; the JVM goes on writing, as it appends."""
        if self.log.stat().st_size > limit:
            shutil.copyfile(self.log, self.log.with_suffix(".log.1"))
            os.truncate(self.log, 0)

    def log_tail(self, lines: int = 12) -> str:
        """The end of the log, for a person."""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 16 * 1024))
            return b"\n".join(log.read().splitlines()[-lines:]).decode(errors="replace")

    def explain_death(self, how: str) -> BrokerError:
        """Why the JVM ended, told from its log."""
        tail = self.log_tail(lines=200)
        # Where the log is on the full disk too, its last words are missing.
        if "No space left on device" in tail or shutil.disk_usage(self.root).free < FULL_BYTES:
            return DiskFull(self.root, "no space left on device")
        if "Address already in use" in tail:
            return PortTaken(f"Kafka could not listen. {PortTaken.__doc__}")
        if "Failed to acquire lock" in tail:
            return DataInUse(self.root, "another Kafka")
        return BrokerDied(f"Kafka {how}. {BrokerDied.__doc__} ({self.log})\n{self.log_tail()}")

    async def wait_let_go(self) -> None:
        """Wait until no JVM holds Kafka's lock: one that was killed or orphaned may need a moment to end."""
        deadline = time.monotonic() + LET_GO_SECONDS
        while is_locked(self.data / ".lock"):
            if time.monotonic() > deadline:
                pid = self.jvm_pid.read_text() if self.jvm_pid.exists() else "unknown"
                raise DataInUse(self.root, f"Kafka, process {pid}")
            await asyncio.sleep(0.05)


def is_locked(file: Path) -> bool:
    """Whether another process has a POSIX lock on the file: that is what Java's `FileChannel.tryLock` takes."""
    try:
        with file.open("r+b") as opened:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except (BlockingIOError, PermissionError):
        return True
    return False


class Hold:
    """Our own lock on a data directory, for as long as its broker is started, run or stopped.

    Kafka's lock is not enough: two first starts at the same time would format the same directory.
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
        """Let others start a broker here."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
