"""The state of one partition in RocksDB, as bytes.

A write reaches the operating system before `write` returns, so a killed process loses nothing. It isn't synced to the
disk: a machine that loses power may lose the newest writes. Their input offsets are lost with them, as nodes and
offsets are one atomic write, so the inputs are read again. (RocksDB syncs the log before one column family gets ahead
of another on the disk.)

Every call blocks and is meant for batches. Multi-gets and flushes release the GIL; writes, `ingest` and the links of a
checkpoint don't.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple, Self

from rocksdict import Checkpoint, IngestExternalFileOptions, Rdict, WriteBatch

from app.documented_error import DocumentedError
from app.profile_store.rocksdb_options import BUFFERS, options_of, write_files

FORMAT: Final = 3  # of the column families, the nodes, the keys in `meta`, and the partitioning of keys
DAMAGED: Final = "DAMAGED"  # a marker file in the store's directory
SCRATCH: Final = "scratch"  # a directory in the store's directory for temporary files
MAX_ROWS: Final = 100_000
MAX_BYTES: Final = 64 * 1024 * 1024  # of values read at once
OFFSET: Final = b"offset:"
METADATA: Final = b"fact:"
FORMAT_KEY: Final = b"format"

Rows = Mapping[bytes, bytes | None]


class Shard(NamedTuple):
    """One partition of one generation of profiles."""

    generation: int
    partition: int


class CorruptStore(DocumentedError):
    """The store in {path} can't be used: {why}. Remove it, so that a snapshot is restored in its place."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path=path, why=" ".join(why.split()).rstrip("."))


class StoreInUse(DocumentedError):
    """The store in {path} is already open, here or in another process; close it there first."""

    def __init__(self, path: Path) -> None:
        super().__init__(path=path)


@dataclass(frozen=True, slots=True)
class Changes:
    """The contents of one write: rows by key (None deletes), and the next offsets of its inputs."""

    nodes: Rows = field(default_factory=dict)
    seen: Rows = field(default_factory=dict)
    refs: Rows = field(default_factory=dict)
    facts: Mapping[str, bytes | None] = field(default_factory=dict)
    offsets: Mapping[str, int] = field(default_factory=dict)


class PartitionStore:
    """An open store. Only one process may have it open; its methods may be called from several threads."""

    def __init__(self, path: Path, database: Rdict) -> None:
        self.path = path
        self._database = database
        self._families = {name: database.get_column_family(name) for name in BUFFERS}
        self._handles = {name: database.get_column_family_handle(name) for name in BUFFERS}
        self._one_writer = Lock()
        self._scratches = count()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store; create it when it does not exist.

        Raises:
            CorruptStore: a file is damaged or missing, or the store has a format of another version.
            StoreInUse: it is already open.

        """
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (path / DAMAGED).exists():
            raise CorruptStore(path, "a damaged block was found while it was read")
        if not (path / "CURRENT").exists() and any(path.glob("*.sst")):
            raise CorruptStore(path, "the file CURRENT is missing")  # RocksDB would create an empty store
        with _errors_of(path):
            database = Rdict(str(path), options_of("meta"), {name: options_of(name) for name in BUFFERS})
        store = cls(path, database)
        shutil.rmtree(path / SCRATCH, ignore_errors=True)  # left by a killed process
        try:
            store._check_format()
        except BaseException:
            store.close()
            raise
        return store

    def get_nodes(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the value of each key, None when there is none. Sorted keys are a fifth faster."""
        return self._get("nodes", keys)

    def get_seen(self, keys: list[bytes]) -> list[bytes | None]:
        """Return the deduplication entry of each key."""
        return self._get("seen", keys)

    def iterate_nodes(self, start: bytes, limit: int, max_bytes: int = MAX_BYTES) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` keys from `start` on, in byte order, with their values.

        The page ends early, after the value that brings it to `max_bytes`.
        """
        return self._iterate("nodes", start, limit, max_bytes)

    def iterate_seen(self, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Return up to `limit` deduplication entries from `start` on, in order."""
        return self._iterate("seen", start, limit)

    def iterate_refs(self, prefix: bytes, max_bytes: int) -> list[tuple[bytes, bytes]]:
        """Return the pages of references whose keys start with `prefix`, in order, up to `max_bytes`."""
        return self._iterate("refs", prefix, MAX_ROWS, max_bytes, prefix)

    def offsets(self) -> dict[str, int]:
        """Return the next offset of each input, as last written."""
        rows = self._iterate("meta", OFFSET, MAX_ROWS, prefix=OFFSET)
        return {key.removeprefix(OFFSET).decode(): int(value) for key, value in rows}

    def fact(self, name: str) -> bytes | None:
        """Return a metadata value."""
        return self._get("meta", [METADATA + name.encode()])[0]

    def write(self, changes: Changes) -> None:
        """Write all changes atomically, also when the process or the machine crashes."""
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
        """Add nodes, in ascending order of their keys, without log and compaction; return their number.

        They become visible all at once and replace existing ones. Write the offsets afterwards, so that a crash in
        between repeats the ingest.

        Raises:
            ValueError: the keys aren't in ascending order.

        """
        folder = self.scratch()
        folder.mkdir(parents=True)
        try:
            files, rows = write_files("nodes", nodes, folder)
            moved = IngestExternalFileOptions()
            moved.set_move_files(v=True)
            with self._one_writer, _errors_of(self.path):
                if files:
                    self._families["nodes"].ingest_external_file([str(file) for file in files], moved)
        finally:
            shutil.rmtree(folder)
        return rows

    def checkpoint(self, directory: Path) -> dict[str, int]:
        """Create a copy of the store in a new directory, of hard links; return its offsets.

        On another file system the files are copied.
        """
        directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _errors_of(self.path):
            for family in self._families.values():
                family.flush()  # releases the GIL, unlike the flush in create_checkpoint
        with self._one_writer, _errors_of(self.path):
            Checkpoint(self._database).create_checkpoint(str(directory))
            return self.offsets()

    def scratch(self) -> Path:
        """Return an unused path on the store's file system. Files left there are removed at the next open."""
        return self.path / SCRATCH / str(next(self._scratches))

    def close(self) -> None:
        """Close the store, unless it is closed, and sync it to the disk."""
        if not self._handles:
            return
        self._handles.clear()
        with ExitStack() as closing:
            closing.callback(self._database.close)
            for family in self._families.values():
                closing.callback(family.close)

    def _check_format(self) -> None:
        stored = self._get("meta", [FORMAT_KEY])[0]
        if stored is None and not self._iterate("meta", b"", 1) and not self._iterate("nodes", b"", 1):
            with _errors_of(self.path):
                self._families["meta"].put(FORMAT_KEY, str(FORMAT).encode())
        elif stored != str(FORMAT).encode():
            raise CorruptStore(
                self.path, f"its format is {stored!r}, and this version of Entrepot reads format {FORMAT}"
            )

    def _get(self, family: str, keys: list[bytes]) -> list[bytes | None]:
        with _errors_of(self.path):
            values: list[bytes | None] = self._families[family].get([*keys]) or []
        return values

    def _iterate(
        self, family: str, start: bytes, limit: int, max_bytes: int = MAX_BYTES, prefix: bytes = b""
    ) -> list[tuple[bytes, bytes]]:
        rows, size = list[tuple[bytes, bytes]](), 0
        with _errors_of(self.path):
            at = self._families[family].iter()
            try:
                at.seek(start)
                while len(rows) < limit and size < max_bytes and at.valid() and (key := at.key()).startswith(prefix):
                    rows.append((key, at.value()))
                    size += len(rows[-1][1])
                    at.next()
                at.status()  # otherwise a damaged block looks like the end
            finally:
                del at  # or the traceback of an error would keep the store open
        return rows

    def _fill(self, batch: WriteBatch, family: str, rows: Mapping[bytes, bytes | None]) -> None:
        batch.set_default_column_family(self._handles[family])
        for key, value in sorted(rows.items()):  # a third cheaper for RocksDB
            if value is None:
                del batch[key]
            else:
                batch[key] = value


def _mark_damaged(path: Path) -> None:
    """Make the next open fail: RocksDB would not read the damaged block then."""
    with suppress(OSError):
        (path / DAMAGED).touch()


@contextmanager
def _errors_of(path: Path) -> Iterator[None]:
    """Translate RocksDB's errors: rocksdict raises plain exceptions with their messages."""
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
