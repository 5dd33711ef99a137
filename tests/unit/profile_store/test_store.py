"""A partition store: atomic durable writes, and errors for damaged files."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.profile_store.partition_store import Changes, CorruptStore, PartitionStore, StoreInUse
from app.profile_store.rocksdb_options import SST_BYTES


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PartitionStore]:
    opened = PartitionStore.open(tmp_path / "store")
    yield opened
    opened.close()


def filled(path: Path, rows: int = 5_000) -> Path:
    """Make a store whose rows are in an SST file."""
    store = PartitionStore.open(path)
    store.write(
        Changes(nodes={b"%06d" % row: b"node %d" % row for row in range(rows)}, offsets={"updates.realtime": 7})
    )
    store.close()
    return path


def test_written_rows_are_found_and_deleted_ones_are_not(store: PartitionStore) -> None:
    store.write(Changes(nodes={b"a": b"1", b"b": b"2"}, seen={b"a": b"3"}, refs={b"a": b""}, facts={"rules": b"4"}))
    assert store.get_nodes([b"b", b"unknown", b"a", b"a"]) == [b"2", None, b"1", b"1"]
    assert store.get_seen([b"a", b"b"]) == [b"3", None]
    assert store.iterate_refs(b"", 10) == [(b"a", b"")]
    assert store.get_nodes([]) == []
    assert store.fact("rules") == b"4"
    store.write(Changes(nodes={b"a": None}, seen={b"a": None}, refs={b"a": None}, facts={"rules": None}))
    assert store.get_nodes([b"a", b"b"]) == [None, b"2"]
    assert (store.get_seen([b"a"]), store.iterate_refs(b"", 10), store.fact("rules")) == ([None], [], None)


def test_offsets_are_stored_by_input_apart_from_facts(store: PartitionStore) -> None:
    assert store.offsets() == {}
    store.write(Changes(offsets={"updates.realtime": 5, "updates.backfill": 2**40}, facts={"offset:": b"no", "": b""}))
    store.write(Changes(offsets={"updates.realtime": 6}))
    assert store.offsets() == {"updates.realtime": 6, "updates.backfill": 2**40}


def test_nodes_are_iterated_in_order_by_page(store: PartitionStore) -> None:
    keys = [f"{number:04}:é".encode() for number in range(100)]
    store.write(Changes(nodes=dict.fromkeys(reversed(keys), b"x"), seen={b"0": b"s"}, refs={b"1": b"r", b"2": b"r"}))
    walked: list[bytes] = []
    start = b""
    while page := store.iterate_nodes(start, 7):
        walked += [key for key, _ in page]
        start = walked[-1] + b"\0"
    assert walked == keys
    assert store.iterate_seen(b"", 10) == [(b"0", b"s")]
    assert store.iterate_refs(b"2", 10) == [(b"2", b"r")]


def test_a_reopened_store_has_all_rows(tmp_path: Path) -> None:
    filled(tmp_path / "store")
    store = PartitionStore.open(tmp_path / "store")
    assert store.get_nodes([b"004999", b"005000"]) == [b"node 4999", None]
    assert store.offsets() == {"updates.realtime": 7}
    store.close()


WRITER = """
import os, sys, pathlib
from app.profile_store.partition_store import Changes, PartitionStore
store = PartitionStore.open(pathlib.Path(sys.argv[1]))
for number in range(100_000):
    rows = {b"%d/%d" % (number, row): os.urandom(2000) for row in range(100)}
    seen, refs = {b"%d" % number: b""}, {b"last": b"%d" % number}
    store.write(Changes(nodes=rows, seen=seen, refs=refs, offsets={"input": number}))
    print(number, flush=True)
"""


@pytest.mark.parametrize("writes", [1, 300], ids=["before the first flush", "across flushes"])
def test_a_killed_process_loses_no_completed_write(tmp_path: Path, writes: int) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "store")], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        acknowledged = -1
        for line in writer.stdout:
            acknowledged = int(line)
            if acknowledged + 1 >= writes:
                writer.send_signal(signal.SIGKILL)  # it is in the middle of a later write by now
                break
    store = PartitionStore.open(tmp_path / "store")
    reached = store.offsets()["input"]
    assert reached >= acknowledged
    assert store.iterate_refs(b"last", 100) == [(b"last", b"%d" % reached)], "a write was torn"
    written = [b"%d/%d" % (number, row) for number in range(reached + 1) for row in range(100)]
    assert all(found is not None and len(found) == 2000 for found in store.get_nodes(written))
    assert None not in store.get_seen([b"%d" % number for number in range(reached + 1)])
    assert store.get_nodes([b"%d/%d" % (reached + 1, row) for row in range(100)]) == [None] * 100
    store.close()


def test_a_checkpoint_is_an_unchanging_copy_of_hard_links(tmp_path: Path, store: PartitionStore) -> None:
    store.write(Changes(nodes={b"%06d" % row: b"old" for row in range(1000)}, offsets={"input": 1}))
    assert store.checkpoint(tmp_path / "deep" / "checkpoint") == {"input": 1}
    store.write(Changes(nodes={b"000001": b"new"}, offsets={"input": 2}))
    assert all(path.stat().st_nlink == 2 for path in (tmp_path / "deep" / "checkpoint").glob("*.sst"))
    copy = PartitionStore.open(tmp_path / "deep" / "checkpoint")
    assert (copy.get_nodes([b"000001"]), copy.offsets()) == ([b"old"], {"input": 1})
    copy.close()


def test_scratch_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    store = PartitionStore.open(tmp_path / "store")
    left = store.scratch()
    assert store.scratch() != left
    store.checkpoint(left)
    store.close()
    PartitionStore.open(tmp_path / "store").close()
    assert not left.exists()


def test_sorted_nodes_are_ingested_at_once(store: PartitionStore) -> None:
    store.write(Changes(nodes={b"000001": b"before", b"x": b"stays"}))
    value = bytes(range(256)) * 1000
    rows = 3 * SST_BYTES // len(value)
    assert store.ingest((b"%06d" % row, value + b"%d" % row) for row in range(rows)) == rows
    assert store.get_nodes([b"000001", b"x", b"%06d" % (rows - 1)]) == [
        value + b"1",
        b"stays",
        value + b"%d" % (rows - 1),
    ]
    assert store.ingest([]) == 0
    store.write(Changes(nodes={b"000001": b"after"}))
    assert store.get_nodes([b"000001"]) == [b"after"]


@pytest.mark.parametrize("keys", [(b"b", b"a"), (b"a", b"a")])
def test_unsorted_nodes_are_refused_completely(store: PartitionStore, keys: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match=r"in ascending order, but b'a' came after b'.'"):
        store.ingest([(key, b"x") for key in keys])
    assert store.iterate_nodes(b"", 10) == []
    assert list(store.path.glob("scratch/*")) == []


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)


def nodes_file(path: Path) -> Path:
    return max(path.glob("*.sst"), key=lambda item: item.stat().st_size)


def remove(*patterns: str, path: Path) -> None:
    for pattern in patterns:
        for item in path.glob(pattern):
            item.unlink()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a file's end is damaged": lambda path: flip(nodes_file(path), -3),
    "a file is missing": lambda path: nodes_file(path).unlink(),
    "a file was cut": lambda path: nodes_file(path).write_bytes(nodes_file(path).read_bytes()[:500]),
    "CURRENT is missing": lambda path: remove("CURRENT", path=path),
    "CURRENT and the log are missing": lambda path: remove("CURRENT", "*.log", path=path),
    "CURRENT is empty": lambda path: (path / "CURRENT").write_bytes(b""),
    "the list of files is missing": lambda path: next(path.glob("MANIFEST-*")).unlink(),
    "the list of files is damaged": lambda path: flip(next(path.glob("MANIFEST-*")), 60),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_store_is_refused_at_opening(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    damage(filled(tmp_path / "store"))
    with pytest.raises(CorruptStore, match=r"can't be used: .*Remove it, so that a snapshot is restored"):
        PartitionStore.open(tmp_path / "store")


def test_a_damaged_block_raises_and_never_shortens_a_result(tmp_path: Path) -> None:
    flip(nodes_file(filled(tmp_path / "store")), 100)
    store = PartitionStore.open(tmp_path / "store")
    with pytest.raises(CorruptStore, match="block checksum mismatch"):
        store.iterate_nodes(b"", 10)
    with pytest.raises(CorruptStore, match="block checksum mismatch"):
        store.get_nodes([b"000001"])
    assert store.get_nodes([b"004999"]) == [b"node 4999"]
    try:
        store.iterate_nodes(b"", 10)
    except CorruptStore:  # the handler can replace the store at once
        store.close()
        shutil.rmtree(tmp_path / "store")
        filled(tmp_path / "store")
        PartitionStore.open(tmp_path / "store").close()


def test_closing_twice_hides_no_earlier_error(tmp_path: Path) -> None:
    store = PartitionStore.open(tmp_path / "store")
    store.close()
    store.close()
    PartitionStore.open(tmp_path / "store").close()


def test_a_store_of_another_format_is_refused_unchanged(tmp_path: Path) -> None:
    store = PartitionStore.open(tmp_path / "store")
    store._families["meta"].put(b"format", b"99")
    store.close()
    for _ in range(2):
        with pytest.raises(CorruptStore, match="its format is b'99', and this version of Entrepot reads format 3"):
            PartitionStore.open(tmp_path / "store")


def test_a_store_is_open_in_one_process_only(tmp_path: Path, store: PartitionStore) -> None:
    with pytest.raises(StoreInUse, match="is already open, here or in another process"):
        PartitionStore.open(store.path)
    script = (
        "import sys, pathlib; from app.profile_store.partition_store import PartitionStore; "
        "PartitionStore.open(pathlib.Path(sys.argv[1]))"
    )
    other = subprocess.run([sys.executable, "-c", script, str(store.path)], capture_output=True, text=True, check=False)
    assert "StoreInUse: The store in" in other.stderr
