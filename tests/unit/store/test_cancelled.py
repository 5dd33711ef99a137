"""A query whose task is cancelled, even several times, leaves nothing behind."""

import asyncio

import pytest
from sqlalchemy import text

from app.store.database import Database
from app.store.read_store import ReadStore

SLOW = text(
    "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 300000) "
    "SELECT count(*) FROM numbers"
)


@pytest.mark.parametrize("times", [1, 2, 3, 10])
async def test_a_query_that_is_cancelled_several_times_leaves_no_task(store: ReadStore, times: int) -> None:
    before = asyncio.all_tasks()
    executing = asyncio.Event()
    query = asyncio.create_task(execute(store.database, executing))
    await executing.wait()
    for _ in range(times):
        query.cancel()
        await asyncio.sleep(0)
    async with asyncio.timeout(30):
        await asyncio.wait([query])
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left)
    assert query.cancelled()
    assert await store.jobs.count() == 0, "the store can be used"


async def execute(database: Database, executing: asyncio.Event) -> None:
    async with database.reading() as connection:
        asyncio.get_running_loop().call_soon(executing.set)
        await connection.execute(SLOW)
