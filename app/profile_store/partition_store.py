"""The state of one partition of the profiles, in RocksDB. Knows bytes only, never what a node means.

A write goes to the operating system before `write` returns, so a killed process loses nothing. It isn't forced to the
disk: a machine that loses power may lose the newest writes. Then it loses their input offsets with them, as nodes and
offsets are one atomic write, so what is lost is read again. (RocksDB syncs the log before it lets one column family get
ahead of another on the disk.)

Every call blocks and is meant for batches. Multi-gets and flushes let other threads run meanwhile; writes, `ingest` and
the links of a checkpoint don't.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Final, Self

from rocksdict import Checkpoint, IngestExternalFileOptions, Rdict, WriteBatch

from app.profile_store.rocksdb_options import BUFFERS, options_of, write_files

Shard = tuple[int, int]  # generation and partition


FORMAT: Final = 2  # of the families, what `meta` holds, and where keys are placed
DAMAGED: Final = "DAMAGED"  # a file in the store's directory that says so
SCRATCH: Final = "scratch"  # a directory in the store's own, for what is made and soon removed
MAX_ROWS: Final = 100_000
MAX_BYTES: Final = 64 * 1024 * 1024  # of what many keys have, read at once
OFFSET: Final = b"offset:"
METADATA: Final = b"fact:"
FORMAT_KEY: Final = b"format"

Rows = Mapping[bytes, bytes | None]


class CorruptStore(Exception):
    """The store of profiles in {path} can't be used: {why}. Remove it, so that a snapshot takes its place."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__((self.__doc__ or "").format(path=path, why=" ".join(why.split()).rstrip(".")))


class StoreInUse(Exception):
    """The store of profiles in {path} is open already, here or in another process; close it there first."""

    def __init__(self, path: Path) -> None:
        super().__init__((self.__doc__ or "").format(path=path))


@dataclass(frozen=True, slots=True)
class Changes:
    """What one write changes: rows by key (None deletes), and the next offsets of the inputs that it has taken."""

    nodes: Rows = field(default_factory=dict)
    seen: Rows = field(default_factory=dict)
    refs: Rows = field(default_factory=dict)
    facts: Mapping[str, bytes | None] = field(default_factory=dict)
    offsets: Mapping[str, int] = field(default_factory=dict)


class PartitionStore:
    """An open store. One process has it open at a time; its methods may be called from several threads."""

    def __init__(self, path: Path, database: Rdict) -> None:
        self.path = path
        self._database = database
        self._families = {name: database.get_column_family(name) for name in BUFFERS}
        self._handles = {name: database.get_column_family_handle(name) for name in BUFFERS}
        self._one_writer = Lock()
        self._scratches = count()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store; one that doesn't exist is made.

        Raises:
            CorruptStore: a file is damaged or missing, or the store is of a version that this process doesn't know.
            StoreInUse: it is open already.

        """
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (path / DAMAGED).exists():
            raise CorruptStore(path, "a damaged block was found when it was read")
        if not (path / "CURRENT").exists() and any(path.glob("*.sst")):
            raise CorruptStore(path, "the file CURRENT is missing")  # RocksDB would begin anew, with nothing
        with _errors_of(path):
            database = Rdict(str(path), options_of("meta"), {name: options_of(name) for name in BUFFERS})
        store = cls(path, database)
        shutil.rmtree(path / SCRATCH, ignore_errors=True)  # of a process that was killed
        try:
            store._check_format()
        except BaseException:
            store.close()
            raise
        return store

    def get_nodes(self, keys: list[bytes]) -> list[bytes | None]:
        """Return what each key has, None where it has nothing. Sorted keys are found a fifth faster."""
        return self._get("nodes", keys)

    def get_seen(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the deduplication entry of each key."""
        return self._get("seen", keys)

    def iterate_nodes(self, start: bytes, limit: int, most_bytes: int = MAX_BYTES) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` keys from `start` on, in the order of their bytes, with what they have.

        When they have so many bytes, none comes behind them.
        """
        return self._iterate("nodes", start, limit, most_bytes)

    def iterate_seen(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` deduplication entries from `start` on, in order."""
        return self._iterate("seen", start, limit)

    def iterate_refs(self, prefix: bytes, most_bytes: int) -> list[tuple[bytes, bytes]]:
        """Return the evidence pages whose keys begin so, in order; when they have so many bytes, none behind them."""
        return self._iterate("refs", prefix, MAX_ROWS, most_bytes, prefix)

    def offsets(self) -> dict[str, int]:
        """Return the next offset of each input, as the last write that named it said."""
        rows = self._iterate("meta", OFFSET, MAX_ROWS, prefix=OFFSET)
        return {key.removeprefix(OFFSET).decode(): int(value) for key, value in rows}

    def fact(self, name: str) -> bytes | None:
        """Return one of the small facts that are kept beside the offsets."""
        return self._get("meta", [METADATA + name.encode()])[0]

    def write(self, changes: Changes) -> None:
        """Write all of it or, whenever the process or the machine ends, nothing of it."""
        meta: dict[bytes, bytes | None] = {METADATA + name.encode(): value for name, value in changes.facts.items()}
        meta |= {OFFSET + name.encode(): str(offset).encode() for name, offset in changes.offsets.items()}
        batch = WriteBatch(raw_mode=True)
        self._fill(batch, "nodes", changes.nodes)
        self._fill(batch, "seen", changes.seen)
        self._fill(batch, "refs", changes.refs)
        self._fill(batch, "meta", meta)
        with self._one_writer, _errors_of(self.path):
            self._database.write(batch)

    def ingest(self, nodes: Iterable[tuple[bytes, bytes]]) -> int:
        """Add nodes, in ascending order of their keys, without log and compaction; return how many.

        They become visible all at once; of keys that are there already they take the place. Offsets are no part of it:
        write them afterwards, so that an end in between repeats the ingest.

        Raises:
            ValueError: the keys aren't in order, or one comes twice.

        """
        folder = self.scratch()
        folder.mkdir(parents=True)
        try:
            files, rows = write_files("nodes", nodes, folder)
            moved = IngestExternalFileOptions()
            moved.set_move_files(v=True)
            with self._one_writer, _errors_of(self.path):
                if files:
                    self._families["nodes"].ingest_external_file([str(each) for each in files], moved)
        finally:
            shutil.rmtree(folder)
        return rows

    def checkpoint(self, directory: Path) -> dict[str, int]:
        """Make a store in a new directory that stays as this one is now, of hard links; return its offsets.

        On another file system than the store's the files are copied.
        """
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _errors_of(self.path):
            for each in self._families.values():
                each.flush()  # others may run meanwhile, unlike in the flush that the checkpoint does
        with self._one_writer, _errors_of(self.path):
            Checkpoint(self._database).create_checkpoint(str(directory))
            return self.offsets()

    def scratch(self) -> Path:
        """Return a new name for a directory on the store's file system. What is left there ends with the process."""
        return self.path / SCRATCH / str(next(self._scratches))

    def close(self) -> None:
        """Close the store, unless it is closed; what was written is on the disk then."""
        if not self._handles:
            return
        self._handles.clear()
        with ExitStack() as closing:
            closing.callback(self._database.close)
            for each in self._families.values():
                closing.callback(each.close)

    def _check_format(self) -> None:
        stored = self._get("meta", [FORMAT_KEY])[0]
        if stored is None and not self._iterate("meta", b"", 1) and not self._iterate("nodes", b"", 1):
            with _errors_of(self.path):
                self._families["meta"].put(FORMAT_KEY, str(FORMAT).encode())
        elif stored != str(FORMAT).encode():
            raise CorruptStore(self.path, f"its format is {stored!r}, and this version of Entrepot knows {FORMAT}")

    def _get(self, family: str, keys: list[bytes]) -> list[bytes | None]:
        with _errors_of(self.path):
            found: list[bytes | None] = self._families[family].get([*keys]) or []
        return found

    def _iterate(
        self, family: str, start: bytes, limit: int, most_bytes: int = MAX_BYTES, prefix: bytes = b""
    ) -> list[tuple[bytes, bytes]]:
        rows, size = list[tuple[bytes, bytes]](), 0
        with _errors_of(self.path):
            at = self._families[family].iter()
            try:
                at.seek(start)
                while len(rows) < limit and size < most_bytes and at.valid() and (key := at.key()).startswith(prefix):
                    rows.append((key, at.value()))
                    size += len(rows[-1][1])
                    at.next()
                at.status()  # a damaged block ends an iteration as if nothing came after it
            finally:
                del at  # or the traceback of an error keeps the store open
        return rows

    def _fill(self, batch: WriteBatch, family: str, rows: Mapping[bytes, bytes | None]) -> None:
        batch.set_default_column_family(self._handles[family])
        for key, value in sorted(rows.items()):  # a third cheaper for RocksDB
            if value is None:
                del batch[key]
            else:
                batch[key] = value


def _mark_damaged(path: Path) -> None:
    """Have the store be taken for damaged when it is opened again, where RocksDB wouldn't look at the block."""
    with suppress(OSError):
        (path / DAMAGED).touch()


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Give the errors of RocksDB a class: rocksdict raises bare exceptions with RocksDB's messages."""
    try:
        yield
    except Exception as error:
        why = str(error)
        if why.startswith("Corruption:"):
            _mark_damaged(path)
        if why.startswith("Corruption:") or "Column families not opened" in why or "No such file or directory" in why:
            raise CorruptStore(path, why) from error
        if "lock hold by current process" in why or "While lock file" in why:
            raise StoreInUse(path) from error
        raise
