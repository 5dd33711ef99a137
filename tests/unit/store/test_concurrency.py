"""Several processes open, write and read one store at the same time without errors."""

import asyncio
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import DatabaseError

from app.store.database import UnknownDatabaseError
from app.store.models import LogFilter, Sort, StreamDelta
from app.store.read_store import ReadStore
from tests.unit.store.histories import START, Partition
from tests.unit.store.store_process import RECORDS
from tests.unit.store.views import live_rows

ROOT = Path(__file__).resolve().parents[3]


async def process(database_url: str, task: str) -> tuple[int, str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.unit.store.store_process",
        database_url,
        task,
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await child.communicate()
    return child.returncode or 0, stderr.decode()


@pytest.mark.slow
async def test_processes_that_start_together_create_the_tables_once(database_url: str) -> None:
    assert await asyncio.gather(*(process(database_url, "open") for _ in range(4))) == [(0, "")] * 4
    store = await ReadStore.open(database_url)
    assert (await store.jobs.page()).items == ()
    await store.close()


@pytest.mark.slow
async def test_processes_that_apply_the_same_events_count_them_once(store: ReadStore, database_url: str) -> None:
    writers = asyncio.gather(*(process(database_url, "write") for _ in range(2)))
    while not writers.done():
        await store.jobs.page(sort=Sort("updated"))
        await store.jobs.log(LogFilter())
    assert await writers == [(0, "")] * 2
    applied = await live_rows(store)
    rebuild = await store.views.begin_rebuild()
    await rebuild.apply(0, RECORDS)
    await rebuild.swap()
    assert await live_rows(store) == applied


async def test_partitions_streams_and_readers_do_not_block_each_other(store: ReadStore) -> None:
    async def write(number: int) -> None:
        partition = Partition()
        await store.views.apply(number, partition.create(f"job-{number}"))
        for _ in range(15):
            await store.views.apply(number, partition.report(f"job-{number}"))

    async def count(number: int) -> None:
        delta = StreamDelta(
            stream="orders", lane="realtime", count=1, bytes=1, last_message_at=START, last_arrival_at=START
        )
        for offset in range(1, 16):
            await store.streams.add("messages.realtime", number, offset - 1, offset, [delta])

    async def read() -> None:
        for _ in range(15):
            await store.jobs.page()
            await store.jobs.log()

    await asyncio.gather(*(write(n) for n in range(4)), *(count(n) for n in range(4)), *(read() for _ in range(4)))
    assert {job.report for job in (await store.jobs.page()).items} == {15}
    assert [count.count for count in await store.streams.counts()] == [60]


async def test_a_cancelled_write_is_rolled_back_and_the_store_stays_usable(store: ReadStore) -> None:
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


async def test_the_store_stays_usable_after_cancelled_reads(store: ReadStore) -> None:
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


@pytest.mark.slow
async def test_after_a_killed_writer_the_next_applies_each_event_once(store: ReadStore, database_url: str) -> None:
    first = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.unit.store.store_process", database_url, "write", cwd=ROOT
    )
    while not await store.views.next_offset(0):
        assert first.returncode is None
    first.kill()
    await first.wait()
    assert await process(database_url, "write") == (0, "")
    applied = await live_rows(store)
    rebuild = await store.views.begin_rebuild()
    await rebuild.apply(0, RECORDS)
    await rebuild.swap()
    assert await live_rows(store) == applied


@pytest.mark.parametrize("url", ["mysql://root@localhost/x", "sqlite:///x", "postgresql://localhost/x"])
async def test_an_unsupported_database_url_is_refused_with_advice(url: str) -> None:
    with pytest.raises(UnknownDatabaseError, match=r"expected sqlite\+aiosqlite:///FILE or postgresql\+asyncpg://"):
        await ReadStore.open(url)


async def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "views.db").write_bytes(b"this is not a database" * 99)
    with pytest.raises(DatabaseError, match="file is not a database"):
        await ReadStore.open(f"sqlite+aiosqlite:///{tmp_path / 'views.db'}")
