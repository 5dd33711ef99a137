"""The data directory: its lock, permissions and format, and the files that the command line finds in it."""

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from app.documented_error import DocumentedError

API_ADDRESS_FILE: Final = "api.json"
ADMIN_FILE: Final = "admin-token"  # its secret
PENDING_ADMIN_FILE: Final = "admin-token.new"  # the secret of a token that is not valid yet
LOCK_FILE: Final = "supervisor.lock"
FORMAT: Final = 7  # of topics, read store, tokens and profiles; incremented when older data can't be read
FORMAT_FILE: Final = "format"
DATA_FILES: Final = ("broker", "views.db", "profiles", "snapshots")  # written first, at the first start
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class InUseError(DocumentedError):
    """The data directory {path} is in use by process {pid}; stop it, or choose another with --data-dir."""

    def __init__(self, path: Path, pid: str) -> None:
        super().__init__(path=path, pid=pid or "?")


class UnsafeDataDirError(DocumentedError):
    """The data directory {path} {problem}; choose another (--data-dir or ENTREPOT_DATA_DIR)."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path=path, problem=problem)


class IncompatibleFormatError(DocumentedError):
    """The data directory {path} has format {actual}; this version of Entrepot requires format {expected}.

    Start with another directory (--data-dir) and import the data again, or run the version that wrote this one.
    """

    def __init__(self, path: Path, actual: str) -> None:
        super().__init__(path=path, actual=actual, expected=FORMAT)


def prepare_data_dir(data_dir: Path) -> None:
    """Create the data directory, or restrict an existing one to its owner: it holds customer data.

    Raises:
        UnsafeDataDirError: it belongs to another user, is shared, or can't be restricted.

    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = data_dir.stat()
    if status.st_uid != os.geteuid():
        raise UnsafeDataDirError(data_dir, f"belongs to user {status.st_uid}, not to user {os.geteuid()}")
    if status.st_mode & stat.S_ISVTX:  # as /tmp: a mode of 0700 would lock out everybody else
        raise UnsafeDataDirError(data_dir, "is shared by all users")
    try:
        if is_exposed(data_dir):
            data_dir.chmod(0o700)
    except OSError as error:
        raise UnsafeDataDirError(data_dir, f"can't be restricted to its owner: {error.strerror}") from error
    if is_exposed(data_dir):
        raise UnsafeDataDirError(data_dir, "is on a file system without permissions")


def is_exposed(path: Path) -> bool:
    """Whether the mode of a file or directory gives other users access."""
    return bool(path.stat().st_mode & OTHERS)


@contextmanager
def lock_data_dir(data_dir: Path) -> Iterator[None]:
    """Lock the data directory for one supervisor. The kernel releases the lock when the holder ends for any reason.

    Raises:
        UnsafeDataDirError: other users could read it.
        InUseError: another supervisor holds the lock.
        IncompatibleFormatError: the data has another format.

    """
    prepare_data_dir(data_dir)
    descriptor = os.open(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
    """Write the format to a directory without data; refuse data of another format."""
    file = data_dir / FORMAT_FILE
    if not file.exists() and not any((data_dir / name).exists() for name in DATA_FILES):
        file.write_text(f"{FORMAT}\n")
        return
    actual = file.read_text(errors="replace")[:20].strip() if file.exists() else "1"
    if actual != str(FORMAT):
        raise IncompatibleFormatError(data_dir, actual if actual.isdecimal() else repr(actual))


def lock_holder(data_dir: Path) -> int | None:
    """Return the ID of the process that holds the lock; None if it is free."""
    try:
        with (data_dir / LOCK_FILE).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return int((data_dir / LOCK_FILE).read_text() or 0)
    return None


def write_private(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Write a file atomically and durably, readable only by its owner.

    Raises:
        FileExistsError: it exists, and `replace` is false.

    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
        else:
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
