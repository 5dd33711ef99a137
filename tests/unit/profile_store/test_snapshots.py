"""Snapshots are restored exactly, whatever damage or crash happened, or not at all."""

import asyncio
import contextlib
import logging
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.profile_store.manifest import Snapshot
from app.profile_store.object_store import SnapshotStore, SnapshotStoreUnavailable, UnknownSnapshotStore
from app.profile_store.partition_store import Changes, PartitionStore
from app.profile_store.snapshots import Snapshots

FOLDER = "partition-2/generation-1"
FILES = f"{FOLDER}/files"


class Watched(SnapshotStore):
    """A snapshot store that counts what is written to it, and ends its writer before a step, as a kill would."""

    steps_left = 10**9
    torn = False  # the step that isn't done leaves a half of what it writes
    puts: list[str]
    meanwhile: Callable[[], Awaitable[object]] | None = None  # happens before the manifest is written

    async def put(self, path: str, content: bytes | Path) -> None:
        if path.endswith(".json") and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        if not self.steps_left and self.torn:
            whole = content if isinstance(content, bytes) else await asyncio.to_thread(content.read_bytes)
            await super().put(path, whole[: len(whole) // 2])
        self._step()
        await super().put(path, content)
        self.puts = [*getattr(self, "puts", []), path]

    async def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            self._step()
            await super().delete([path])

    def _step(self) -> None:
        if not self.steps_left:
            raise Killed
        self.steps_left -= 1


class Killed(BaseException):
    pass


@pytest.fixture
def watched(snapshot_url: str) -> Watched:
    return Watched.at(snapshot_url)


@pytest.fixture
def snapshots(watched: Watched) -> Snapshots:
    return Snapshots(watched)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PartitionStore]:
    opened = PartitionStore.open(tmp_path / "store")
    yield opened
    opened.close()


def write(store: PartitionStore, number: int) -> None:
    """Write what tells this moment from others; the rows are in a file of their own."""
    rows = {b"%d/%03d" % (number, row): b"%d" % number * 40 for row in range(200)}
    store.write(Changes(nodes=rows | {b"newest": b"%d" % number}, offsets={"updates.realtime": number}))


async def taken(snapshots: Snapshots, store: PartitionStore, *numbers: int) -> Snapshot:
    for number in numbers:
        write(store, number)
        last = await snapshots.take(store, 2, 1)
    return last


async def brought_back(snapshots: Snapshots, directory: Path, snapshot: Snapshot | None = None) -> int | None:
    """Restore the newest snapshot, check that it is whole, and return which moment that was."""
    snapshot = snapshot or await snapshots.newest_valid(2, 1)
    found = snapshot and await snapshots.restore(snapshot, directory)
    if found is None:
        assert list(directory.parent.glob(f"{directory.name}*")) == []
        return None
    store = PartitionStore.open(directory)
    number = store.offsets()["updates.realtime"]
    assert store.offsets() == found.offsets
    assert store.get_nodes([b"newest", b"%d/199" % number]) == [b"%d" % number, b"%d" % number * 40]
    store.close()
    return number


async def test_a_partition_is_restored_as_it_was(snapshots: Snapshots, store: PartitionStore, tmp_path: Path) -> None:
    assert await snapshots.newest_valid(2, 1) is None
    snapshot = await taken(snapshots, store, 1)
    write(store, 2)
    assert (snapshot.partition, snapshot.generation, snapshot.sequence) == (2, 1, 1)
    assert snapshot.offsets == {"updates.realtime": 1}
    assert await snapshots.newest_valid(2, 1) == snapshot
    assert await brought_back(snapshots, tmp_path / "new" / "home") == 1
    assert await brought_back(snapshots, tmp_path / "again", snapshot) == 1
    assert list(store.path.glob("scratch/*")) == []
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["home"]


async def test_partitions_and_generations_have_their_own_snapshots(snapshots: Snapshots, store: PartitionStore) -> None:
    snapshot = await taken(snapshots, store, 1)
    assert await snapshots.newest_valid(1, 1) is None
    assert await snapshots.newest_valid(2, 2) is None
    rebuilt = await snapshots.take(store, 2, 2)
    await snapshots.remove_all(2, 1)
    assert await snapshots.newest_valid(2, 1) is None
    assert await snapshots.newest_valid(2, 2) == rebuilt
    assert rebuilt != snapshot


async def test_only_files_that_changed_are_sent(
    watched: Watched, snapshots: Snapshots, store: PartitionStore, tmp_path: Path
) -> None:
    first = await taken(snapshots, store, 1)
    large = {file.sha256 for file in first.files if file.name.endswith(".sst")}
    assert len(watched.puts) == len({file.sha256 for file in first.files}) + 1
    watched.puts = []
    second = await taken(Snapshots(watched), store, 2)  # another process, which has no memory of the first
    sent = {put.rpartition("/")[2] for put in watched.puts}
    assert large <= {file.sha256 for file in second.files}
    assert not sent & large
    assert len({file.sha256 for file in second.files if file.name.endswith(".sst")} - large) == 2  # nodes and offsets
    assert await brought_back(snapshots, tmp_path / "back") == 2


async def test_the_newest_three_snapshots_and_only_their_files_are_retained(
    watched: Watched, snapshots: Snapshots, store: PartitionStore, tmp_path: Path
) -> None:
    first = await taken(snapshots, store, 1)
    store.write(Changes(nodes={key: None for key, _ in store.iterate_nodes(b"", 1000)}))
    store._families["nodes"].compact_range(None, None)
    last = await taken(snapshots, store, 2, 3, 4)
    manifests = {name for name in await watched.folder(FOLDER) if name.endswith(".json")}
    assert [int(name[:12]) for name in sorted(manifests)] == [2, 3, 4]
    files = set(await watched.folder(FILES))
    assert {file.sha256 for file in last.files} <= files
    gone = {file.sha256 for file in first.files} - files
    assert gone, "the first one had files that the others haven't"
    assert await brought_back(snapshots, tmp_path / "back") == 4


async def test_files_of_a_killed_process_are_removed_after_the_grace_period(
    watched: Watched, snapshots: Snapshots, store: PartitionStore
) -> None:
    await watched.put(f"{FILES}/{'0' * 64}", b"of a taker that was killed, or is at work")
    await taken(snapshots, store, 1)
    assert "0" * 64 in await watched.folder(FILES)
    later = Snapshots(watched, clock=lambda: datetime.now(UTC) + timedelta(hours=2))
    last = await taken(later, store, 2)
    assert "0" * 64 not in await watched.folder(FILES)
    assert await snapshots.newest_valid(2, 1) == last


def test_a_partial_file_that_is_finished_meanwhile_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "file#1").symlink_to("finished")  # listed, and missing when it is looked at
    SnapshotStore.at(tmp_path.as_uri()).remove_unfinished(".", datetime.now(UTC))


async def test_files_of_an_unreadable_manifest_are_retained(
    watched: Watched, snapshots: Snapshots, store: PartitionStore
) -> None:
    last = await taken(snapshots, store, 1, 2, 3)
    await watched.put(f"{FOLDER}/{last.name}", b'{"checksum": "of a newer version"}')
    before = set(await watched.folder(FILES))
    await taken(snapshots, store, 4, 5)
    assert before <= set(await watched.folder(FILES))
    later = Snapshots(watched, clock=lambda: datetime.now(UTC) + timedelta(hours=2))
    newest = [await taken(later, store, number) for number in (6, 7, 8)]
    assert set(await watched.folder(FOLDER)) == {item.name for item in newest}, "it doesn't stay for ever"
    assert set(await watched.folder(FILES)) == {file.sha256 for item in newest for file in item.files}


async def change(watched: Watched, path: str, changed: Callable[[bytes], bytes]) -> None:
    size = (await watched.folder(path.rpartition("/")[0]))[path.rpartition("/")[2]].size
    content = b"".join([item async for item in watched.get(path, size)])
    await watched.put(path, changed(content))


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


async def lose(watched: Watched, path: str) -> None:
    await watched.delete([path])


DAMAGES: dict[str, Callable[[Watched, str], Awaitable[None]]] = {
    "a byte changed": lambda watched, path: change(watched, path, flipped),
    "cut in the middle": lambda watched, path: change(watched, path, cut),
    "emptied": lambda watched, path: change(watched, path, lambda _: b""),
    "longer than it was": lambda watched, path: change(watched, path, lambda content: content + b"\0"),
    "lost": lose,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
@pytest.mark.parametrize("what", ["a file", "the manifest"])
async def test_the_previous_snapshot_replaces_a_damaged_one(
    watched: Watched,
    snapshots: Snapshots,
    store: PartitionStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Watched, str], Awaitable[None]],
    what: str,
) -> None:
    before = await taken(snapshots, store, 1, 2)
    last = await taken(snapshots, store, 3)
    (own, *_) = (file for file in last.files if file.name.endswith(".sst") and file not in before.files)
    await damage(watched, f"{FOLDER}/{last.name}" if what == "the manifest" else f"{FILES}/{own.sha256}")
    assert await brought_back(snapshots, tmp_path / "back") == 2
    if what == "a file":  # also for an owner that knows of a newer one
        with caplog.at_level(logging.WARNING):
            assert await brought_back(snapshots, tmp_path / "again", last) == 2
        assert f"The snapshot {last.name} can't be used: {own.name}" in caplog.text
    write(store, 4)
    await snapshots.take(store, 2, 1)
    assert await brought_back(snapshots, tmp_path / "later") in {2, 4}  # 2, when the damaged file is still a part of it


async def test_nothing_is_restored_when_all_snapshots_are_damaged(
    watched: Watched, snapshots: Snapshots, store: PartitionStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = await taken(snapshots, store, 1, 2)
    for name, entry in (await watched.folder(FILES)).items():
        if entry.size:
            await change(watched, f"{FILES}/{name}", flipped)
    assert await snapshots.restore(last, tmp_path / "back") is None
    assert not (tmp_path / "back").exists()
    assert f"no snapshot in {FOLDER} can be restored" in caplog.text


async def test_a_restore_overwrites_nothing(snapshots: Snapshots, store: PartitionStore, tmp_path: Path) -> None:
    snapshot = await taken(snapshots, store, 1)
    with pytest.raises(FileExistsError, match="isn't empty: remove it before"):
        await snapshots.restore(snapshot, store.path)
    (tmp_path / "empty").mkdir()
    assert await brought_back(snapshots, tmp_path / "empty") == 1


@pytest.mark.slow
@pytest.mark.parametrize("death", ["between two steps", "in the middle of one"])
async def test_the_newest_complete_snapshot_is_restored_after_any_crash(
    watched: Watched, store: PartitionStore, tmp_path: Path, death: str, snapshot_url: str
) -> None:
    complete = None
    watched.torn = death == "in the middle of one"
    for number in range(1, 15 if snapshot_url.startswith("s3:") else 45):
        watched.puts, watched.steps_left = [], number % 15
        with contextlib.suppress(Killed):
            await taken(Snapshots(watched), store, number)
        watched.steps_left = 10**9
        if any(put.endswith(".json") for put in watched.puts):
            complete = number
        assert await brought_back(Snapshots(watched), tmp_path / str(number)) == complete
    assert complete is not None
    assert complete % 15 == 14, "none was long enough to be complete"


async def test_concurrent_processes_leave_complete_snapshots(
    snapshot_url: str, snapshots: Snapshots, store: PartitionStore, tmp_path: Path
) -> None:
    await taken(snapshots, store, 1)
    assert await brought_back(snapshots, tmp_path / "replaced") == 1
    replaced = PartitionStore.open(tmp_path / "replaced")  # an owner that doesn't know yet that it was replaced
    others = [Snapshots.at(snapshot_url) for _ in range(3)]
    for number in range(2, 8):
        write(store, number)
        write(replaced, 100 + number)
        stores = (store, store, replaced)
        await asyncio.gather(*(other.take(of, 2, 1) for other, of in zip(others, stores, strict=True)))
        assert await brought_back(snapshots, tmp_path / str(number)) in {number, 100 + number}
    replaced.close()


async def test_files_removed_by_another_process_are_sent_again(
    watched: Watched, snapshots: Snapshots, store: PartitionStore, tmp_path: Path
) -> None:
    await taken(snapshots, store, 1)

    async def removed() -> None:
        await watched.delete([f"{FILES}/{item}" for item in await watched.folder(FILES)])

    watched.meanwhile = removed
    await taken(snapshots, store, 2)
    assert await brought_back(snapshots, tmp_path / "back") == 2


TAKER = """
import asyncio, pathlib, sys
from app.profile_store.snapshots import Snapshots
from app.profile_store.partition_store import PartitionStore
from tests.unit.profile_store.test_snapshots import taken
store, snapshots = PartitionStore.open(pathlib.Path(sys.argv[1])), Snapshots.at(sys.argv[2])
async def main():
    for number in range(1, 1000):
        await taken(snapshots, store, number)
        print(number, flush=True)
asyncio.run(main())
"""


async def test_a_killed_process_leaves_its_newest_snapshot(snapshot_url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKER, str(tmp_path / "store"), snapshot_url]
    taker = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert taker.stdout is not None
    while int(await taker.stdout.readline()) < 5:
        pass
    taker.send_signal(signal.SIGKILL)
    await taker.wait()
    snapshots = Snapshots.at(snapshot_url)
    assert await brought_back(snapshots, tmp_path / "back") in {5, 6, 7}
    store = PartitionStore.open(tmp_path / "store")  # the killed one's, which goes on
    await taken(snapshots, store, 8)
    store.close()
    assert await brought_back(snapshots, tmp_path / "later") == 8


async def test_a_cancelled_snapshot_leaves_no_files(snapshots: Snapshots, store: PartitionStore) -> None:
    write(store, 1)
    for turns in range(12):
        taking = asyncio.ensure_future(snapshots.take(store, 2, 1))
        for _ in range(turns):
            await asyncio.sleep(0)
        taking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taking
        assert list(store.path.glob("scratch/*")) == []


async def test_an_unavailable_snapshot_store_is_not_an_empty_one(
    snapshot_url: str, store: PartitionStore, tmp_path: Path
) -> None:
    if snapshot_url.startswith("s3:"):
        snapshots = Snapshots.at("s3://no-such-bucket/prefix")
    else:
        snapshots = Snapshots.at(str(tmp_path / "broken"))
        (tmp_path / "broken").rmdir()
        (tmp_path / "broken").write_text("a file")
    with pytest.raises(SnapshotStoreUnavailable, match="is unavailable, retry later"):
        await snapshots.newest_valid(2, 1)
    with pytest.raises(SnapshotStoreUnavailable):
        await snapshots.take(store, 2, 1)


@pytest.mark.parametrize("url", ["", "gs://bucket", "s3://", "http://host/x", "file://host/x", "s3://bucket?x=1"])
def test_an_unsupported_url_is_refused_with_advice(url: str) -> None:
    with pytest.raises(UnknownSnapshotStore, match=r"expected a directory \(file:///srv/snapshots\) or a bucket"):
        Snapshots.at(url)
