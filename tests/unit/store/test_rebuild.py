"""A rebuilt view equals the live view even while events arrive, and readers are not affected."""

import asyncio
import random
import re

import pytest
from sqlalchemy import inspect

from app.store.models import BehindError, LogFilter, StreamDelta
from app.store.read_store import ReadStore
from app.store.tables import generations
from app.store.views.rebuild import ViewRebuild
from tests.unit.store.histories import START, Partition, batches, history
from tests.unit.store.views import live_rows


async def tables(store: ReadStore) -> set[str]:
    async with store.database.reading() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_a_rebuilt_view_equals_the_live_view_row_for_row(store: ReadStore) -> None:
    partitions = {0: history(11), 1: history(12, jobs=3)}
    for number, partition in partitions.items():
        for batch in batches(partition.records, number):
            await store.views.apply(number, batch)
    before = await live_rows(store)
    rebuild = await store.views.begin_rebuild()
    for number, partition in partitions.items():
        for batch in batches(partition.records, number + 7):
            await rebuild.apply(number, batch)
    assert await live_rows(store) == before
    await rebuild.swap()
    assert await live_rows(store) == before
    names = {found[1] for table in await tables(store) if (found := re.search(r"_g(\d+)$", table))}
    assert names == {str(rebuild.generation)}


@pytest.mark.parametrize("seed", range(4))
async def test_a_view_rebuilt_while_events_arrive_equals_the_live_view(
    store: ReadStore, database_url: str, seed: int
) -> None:
    rng = random.Random(seed)
    records = history(seed + 20).records
    live, rebuilt = 0, 0
    other = await ReadStore.open(database_url)  # the process of `entrepot views rebuild`
    rebuild = await other.views.begin_rebuild()
    swapped = False
    while live < len(records) or not swapped:
        if rng.random() < 0.5:
            await store.views.apply(0, records[max(0, live - 3) : live + 9])
            live = min(live + 9, len(records))
        else:
            await rebuild.apply(0, records[rebuilt : min(live, rebuilt + 13)])
            rebuilt = min(live, rebuilt + 13)
            swapped = swapped or await has_swapped(rebuild)
    shown = await live_rows(other)
    reference = await other.views.begin_rebuild()
    await reference.apply(0, records)
    await reference.swap()
    assert await live_rows(store) == shown
    await other.close()


async def has_swapped(rebuild: ViewRebuild) -> bool:
    try:
        await rebuild.swap()
    except BehindError:
        return False
    return True


async def test_after_catching_up_the_projector_also_feeds_the_rebuild(store: ReadStore) -> None:
    partition = Partition(step=1)
    await store.views.apply(0, partition.create())
    rebuild = await store.views.begin_rebuild()
    await rebuild.apply(0, partition.records)
    await store.views.apply(0, partition.report())
    await store.views.apply(0, partition.report())
    assert await rebuild.next_offset(0) == partition.records[-1].offset + 1
    await rebuild.apply(0, partition.records)  # records applied before are skipped
    await rebuild.swap()
    assert await store.jobs.get("job-1") == partition.job()
    await store.views.apply(0, partition.report())
    assert await store.jobs.get("job-1") == partition.job()


async def test_a_rebuild_that_is_behind_cannot_be_swapped_in(store: ReadStore) -> None:
    partition = Partition()
    await store.views.apply(0, partition.create())
    await store.views.apply(3, Partition().create("job-2"))
    rebuild = await store.views.begin_rebuild()
    await rebuild.apply(0, partition.records[:1])
    with pytest.raises(BehindError, match=r"partition 0 from offset 6 on, partition 3 from offset 0 on; apply them"):
        await rebuild.swap()
    assert await store.jobs.get("job-1") == partition.job()


async def test_the_projector_does_not_feed_a_rebuild_that_is_behind(store: ReadStore) -> None:
    partition = Partition()
    await store.views.apply(0, partition.create())
    rebuild = await store.views.begin_rebuild()
    await store.views.apply(0, partition.report())
    assert await rebuild.next_offset(0) == 0
    await rebuild.apply(0, partition.records)
    await rebuild.swap()
    assert await store.jobs.get("job-1") == partition.job()


@pytest.mark.parametrize("filled", [0, 1])
async def test_a_rebuild_after_a_loss_is_complete_while_events_arrive(store: ReadStore, filled: int) -> None:
    partition = Partition()
    partition.create()
    partition.report()
    rebuild = await store.views.begin_rebuild()
    await rebuild.apply(0, partition.records[:filled])
    await store.views.apply(0, partition.report())  # the live views are empty
    assert await store.jobs.get("job-1") is None
    await rebuild.apply(0, partition.records)
    await rebuild.swap()
    assert await store.jobs.get("job-1") == partition.job()


async def test_a_rebuild_after_restoring_an_old_backup_is_complete(store: ReadStore) -> None:
    partition = Partition()
    partition.create()
    await store.views.apply(0, partition.records)
    partition.report()  # not in the backup
    rebuild = await store.views.begin_rebuild()
    await rebuild.apply(0, partition.records[:-1])
    await store.views.apply(0, partition.report())
    await rebuild.apply(0, partition.records)
    await rebuild.swap()
    assert await store.jobs.get("job-1") == partition.job()


async def test_an_interrupted_rebuild_resumes(store: ReadStore) -> None:
    partition = history(1)
    await store.views.apply(0, partition.records)
    interrupted = await store.views.begin_rebuild()
    await interrupted.apply(0, partition.records[:50])
    resumed = await store.views.begin_rebuild()
    assert resumed.generation == interrupted.generation
    assert await resumed.next_offset(0) == partition.records[49].offset + 1


async def test_a_rebuild_of_another_version_starts_over(store: ReadStore) -> None:
    old = await store.views.begin_rebuild()
    await old.apply(0, Partition().create())
    async with store.database.writing() as connection:
        await connection.execute(generations.update().filter_by(generation=old.generation).values(version=0))
    await store.views.apply(0, Partition().create())  # the projector does not feed it either
    new = await store.views.begin_rebuild()
    assert new.generation > old.generation
    assert await new.next_offset(0) == 0


async def test_a_second_swap_has_no_effect(store: ReadStore) -> None:
    rebuild = await store.views.begin_rebuild()
    await rebuild.swap()
    await rebuild.swap()
    await rebuild.apply(0, Partition().create())  # live now: only the projector writes to it
    assert await store.views.next_offset(0) == 0


async def test_views_of_an_older_version_need_a_rebuild(store: ReadStore) -> None:
    assert not await store.views.needs_rebuild()
    async with store.database.writing() as connection:
        await connection.execute(generations.update().values(version=0))
    assert await store.views.needs_rebuild()
    rebuild = await store.views.begin_rebuild()
    await rebuild.swap()
    assert not await store.views.needs_rebuild()


async def test_stream_counts_survive_a_rebuild(store: ReadStore) -> None:
    delta = StreamDelta(
        stream="orders", lane="realtime", count=1, bytes=2, last_message_at=START, last_arrival_at=START
    )
    await store.streams.add("messages.realtime", 0, 0, 5, [delta])
    await (await store.views.begin_rebuild()).swap()
    assert await store.streams.next_offset("messages.realtime", 0) == 5
    assert [count.count for count in await store.streams.counts()] == [1]


async def test_readers_see_the_same_rows_through_repeated_swaps(store: ReadStore, database_url: str) -> None:
    partition = history(8, commands=40)
    await store.views.apply(0, partition.records)
    expected = await store.jobs.page()
    lines = await store.jobs.log(LogFilter())
    done = asyncio.Event()

    async def read() -> int:
        rounds = 0
        while not done.is_set() or rounds < 3:
            assert await store.jobs.page() == expected
            assert await store.jobs.log(LogFilter()) == lines
            rounds += 1
        return rounds

    readers = [asyncio.create_task(read()) for _ in range(3)]
    other = await ReadStore.open(database_url)
    for _ in range(5):
        rebuild = await other.views.begin_rebuild()
        await rebuild.apply(0, partition.records)
        await rebuild.swap()
    done.set()
    assert min(await asyncio.gather(*readers)) >= 3
    await other.close()
