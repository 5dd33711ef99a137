"""Many at once: processes that open, write and read the same store, and none of them sees an error."""

import asyncio
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError

from app.store.database import UnknownDatabaseError
from app.store.models import LogFilter, Sort, StreamDelta
from app.store.read_store import ReadStore
from tests.unit.store.histories import START, Partition
from tests.unit.store.neighbour import RECORDS
from tests.unit.store.views import everything

ROOT = Path(__file__).resolve().parents[3]


async def process(database_url: str, task: str) -> tuple[int, str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.unit.store.neighbour", database_url, task, cwd=ROOT, stderr=asyncio.subprocess.PIPE
    )
    _, said = await child.communicate()
    return child.returncode or 0, said.decode()


async def test_processes_that_start_at_once_make_the_tables_once(database_url: str) -> None:
    assert await asyncio.gather(*(process(database_url, "open") for _ in range(4))) == [(0, "")] * 4
    store = await ReadStore.open(database_url)
    assert (await store.jobs.page()).items == ()
    await store.close()


async def test_processes_that_apply_the_same_events_count_them_once(store: ReadStore, database_url: str) -> None:
    writers = asyncio.gather(*(process(database_url, "write") for _ in range(2)))
    while not writers.done():
        await store.jobs.page(sort=Sort("updated"))
        await store.jobs.log(LogFilter())
    assert await writers == [(0, "")] * 2
    found = await everything(store)
    again = await store.views.begin_rebuild()
    await again.apply(0, RECORDS)
    await again.swap()
    assert await everything(store) == found


async def test_partitions_streams_and_readers_at_once_lock_nobody_out(store: ReadStore) -> None:
    async def write(number: int) -> None:
        partition = Partition()
        await store.views.apply(number, partition.create(f"job-{number}"))
        for _ in range(15):
            await store.views.apply(number, partition.report(f"job-{number}"))

    async def see(number: int) -> None:
        seen = StreamDelta(
            stream="orders", lane="realtime", count=1, bytes=1, last_message_at=START, last_arrival_at=START
        )
        for offset in range(1, 16):
            await store.streams.add("messages.realtime", number, offset - 1, offset, [seen])

    async def read() -> None:
        for _ in range(15):
            await store.jobs.page()
            await store.jobs.log()

    await asyncio.gather(*(write(n) for n in range(4)), *(see(n) for n in range(4)), *(read() for _ in range(4)))
    assert {each.report for each in (await store.jobs.page()).items} == {15}
    assert [each.count for each in await store.streams.counts()] == [60]


async def test_a_cancelled_write_leaves_nothing_and_the_store_usable(store: ReadStore) -> None:
    partition = Partition()
    for _ in range(300):
        partition.create(f"job-{len(partition.jobs)}")
    for turns in range(1, 40, 3):
        writing = asyncio.create_task(store.views.apply(0, partition.records))
        for _ in range(turns):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
    await store.views.apply(0, partition.records)
    assert await store.jobs.count() == 300


async def test_cancelled_reads_leave_the_store_usable(store: ReadStore) -> None:
    partition = Partition()
    await store.views.apply(0, partition.create())
    for turns in range(1, 40):
        readings = [asyncio.create_task(store.jobs.page()) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        readings[0].cancel()
        readings[1].cancel()
        await asyncio.wait(readings)
        assert readings[2].result().items == (partition.job(),)
    await store.views.apply(0, partition.report())
    assert await store.jobs.get("job-1") == partition.job()


async def test_a_writer_that_is_killed_is_followed_by_one_that_counts_each_event_once(
    store: ReadStore, database_url: str
) -> None:
    first = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.unit.store.neighbour", database_url, "write", cwd=ROOT
    )
    while not await store.views.next_offset(0):
        assert first.returncode is None
    first.kill()
    await first.wait()
    assert await process(database_url, "write") == (0, "")
    found = await everything(store)
    rebuild = await store.views.begin_rebuild()
    await rebuild.apply(0, RECORDS)
    await rebuild.swap()
    assert await everything(store) == found


@pytest.mark.parametrize("url", ["mysql://root@localhost/x", "sqlite:///x", "postgresql://localhost/x"])
async def test_a_database_of_another_kind_is_refused_with_advice(url: str) -> None:
    with pytest.raises(UnknownDatabaseError, match=r"use sqlite\+aiosqlite:///FILE or postgresql\+asyncpg://"):
        await ReadStore.open(url)


async def test_a_store_that_can_not_be_opened_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "views.db").write_bytes(b"not a database, but someone's letter" * 99)
    with pytest.raises(DatabaseError, match="file is not a database"):
        await ReadStore.open(f"sqlite+aiosqlite:///{tmp_path / 'views.db'}")
