"""A view rebuilt equals the live view, also when events go on meanwhile; readers never notice."""

import asyncio
import random

import pytest
from sqlalchemy import inspect

from app.store.models import BehindError, LogFilter, StreamDelta
from app.store.read_store import ReadStore
from app.store.tables import generations
from app.store.views.rebuild import ViewRebuild
from tests.unit.store.histories import START, Partition, batches, history
from tests.unit.store.views import everything


async def tables(store: ReadStore) -> set[str]:
    async with store.database.reading() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_a_view_rebuilt_equals_the_live_view_row_for_row(store: ReadStore) -> None:
    partitions = {0: history(11), 1: history(12, jobs=3)}
    for number, partition in partitions.items():
        for batch in batches(partition.records, number):
            await store.views.apply(number, batch)
    before = await everything(store)
    rebuild = await store.views.begin_rebuild()
    for number, partition in partitions.items():
        for batch in batches(partition.records, number + 7):
            await rebuild.apply(number, batch)
    assert await everything(store) == before
    await rebuild.swap()
    assert await everything(store) == before
    names = {each.rpartition("_g")[2] for each in await tables(store) if "_g" in each}
    assert names == {str(rebuild.generation)}


@pytest.mark.parametrize("seed", range(4))
async def test_a_view_rebuilt_while_events_go_on_equals_the_live_view(
    store: ReadStore, database_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    records = history(seed + 20).records
    live, rebuilt = 0, 0
    other = await ReadStore.open(database_url)  # the command's own process
    rebuild = await other.views.begin_rebuild()
    swapped = False
    while live < len(records) or not swapped:
        if chance.random() < 0.5:
            await store.views.apply(0, records[max(0, live - 3) : live + 9])
            live = min(live + 9, len(records))
        else:
            await rebuild.apply(0, records[rebuilt : min(live, rebuilt + 13)])
            rebuilt = min(live, rebuilt + 13)
            swapped = swapped or await has_swapped(rebuild)
    shown = await everything(other)
    reference = await other.views.begin_rebuild()
    await reference.apply(0, records)
    await reference.swap()
    assert await everything(store) == shown
    await other.close()


async def has_swapped(rebuild: ViewRebuild) -> bool:
    try:
        await rebuild.swap()
    except BehindError:
        return False
    return True


async def test_once_caught_up_the_projector_feeds_both_so_a_swap_succeeds_under_steady_load(store: ReadStore) -> None:
    partition = Partition(step=1)
    await store.views.apply(0, partition.create())
    rebuild = await store.views.begin_rebuild()
    await rebuild.apply(0, partition.records)
    await store.views.apply(0, partition.report())
    await store.views.apply(0, partition.report())
    assert await rebuild.next_offset(0) == partition.records[-1].offset + 1
    await rebuild.apply(0, partition.records)  # what the command reads late is skipped
    await rebuild.swap()
    assert await store.jobs.get("job-1") == partition.job()
    await store.views.apply(0, partition.report())
    assert await store.jobs.get("job-1") == partition.job()


async def test_a_rebuild_that_is_behind_is_not_shown(store: ReadStore) -> None:
    partition = Partition()
    await store.views.apply(0, partition.create())
    await store.views.apply(3, Partition().create("job-2"))
    rebuild = await store.views.begin_rebuild()
    await rebuild.apply(0, partition.records[:1])
    with pytest.raises(BehindError, match=r"partition 0 from offset 6 on, partition 3 from offset 0 on; apply them"):
        await rebuild.swap()
    assert await store.jobs.get("job-1") == partition.job()


async def test_the_projector_leaves_a_rebuild_that_is_behind_alone(store: ReadStore) -> None:
    partition = Partition()
    await store.views.apply(0, partition.create())
    rebuild = await store.views.begin_rebuild()
    await store.views.apply(0, partition.report())
    assert await rebuild.next_offset(0) == 0
    await rebuild.apply(0, partition.records)
    await rebuild.swap()
    assert await store.jobs.get("job-1") == partition.job()


@pytest.mark.parametrize("filled", [0, 1])
async def test_a_rebuild_after_a_loss_lacks_nothing_though_events_go_on(store: ReadStore, filled: int) -> None:
    partition = Partition()
    partition.create()
    partition.report()
    rebuild = await store.views.begin_rebuild()
    await rebuild.apply(0, partition.records[:filled])
    await store.views.apply(0, partition.report())  # to views that are empty
    assert await store.jobs.get("job-1") is None
    await rebuild.apply(0, partition.records)
    await rebuild.swap()
    assert await store.jobs.get("job-1") == partition.job()


async def test_a_rebuild_beside_views_of_an_old_backup_lacks_nothing_either(store: ReadStore) -> None:
    partition = Partition()
    partition.create()
    await store.views.apply(0, partition.records)
    partition.report()  # shown once, and not in the backup
    rebuild = await store.views.begin_rebuild()
    await rebuild.apply(0, partition.records[:-1])
    await store.views.apply(0, partition.report())
    await rebuild.apply(0, partition.records)
    await rebuild.swap()
    assert await store.jobs.get("job-1") == partition.job()


async def test_a_rebuild_broken_off_goes_on_where_it_was(store: ReadStore) -> None:
    partition = history(1)
    await store.views.apply(0, partition.records)
    broken_off = await store.views.begin_rebuild()
    await broken_off.apply(0, partition.records[:50])
    again = await store.views.begin_rebuild()
    assert again.generation == broken_off.generation
    assert await again.next_offset(0) == partition.records[49].offset + 1


async def test_a_rebuild_of_another_version_is_begun_anew(store: ReadStore) -> None:
    old = await store.views.begin_rebuild()
    await old.apply(0, Partition().create())
    table = generations
    async with store.database.writing() as connection:
        await connection.execute(table.update().filter_by(generation=old.generation).values(version=0))
    await store.views.apply(0, Partition().create())  # does not feed it either
    new = await store.views.begin_rebuild()
    assert new.generation > old.generation
    assert await new.next_offset(0) == 0


async def test_swapping_twice_is_swapping_once(store: ReadStore) -> None:
    rebuild = await store.views.begin_rebuild()
    await rebuild.swap()
    await rebuild.swap()
    await rebuild.apply(0, Partition().create())  # it is the projector's now
    assert await store.views.next_offset(0) == 0


async def test_views_of_an_older_version_ask_for_a_rebuild(store: ReadStore) -> None:
    assert not await store.views.needs_rebuild()
    async with store.database.writing() as connection:
        await connection.execute(generations.update().values(version=0))
    assert await store.views.needs_rebuild()
    rebuild = await store.views.begin_rebuild()
    await rebuild.swap()
    assert not await store.views.needs_rebuild()


async def test_streams_outlive_a_rebuild(store: ReadStore) -> None:
    seen = StreamDelta(stream="orders", lane="realtime", count=1, bytes=2, last_message_at=START, last_arrival_at=START)
    await store.streams.add("messages.realtime", 0, 0, 5, [seen])
    await (await store.views.begin_rebuild()).swap()
    assert await store.streams.next_offset("messages.realtime", 0) == 5
    assert [each.count for each in await store.streams.counts()] == [1]


async def test_readers_go_on_through_swap_after_swap(store: ReadStore, database_url: str) -> None:
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
