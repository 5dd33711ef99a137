"""Each event is applied once, whatever the batches and repetitions."""

import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from app.store.models import EventRecord, JobFilter, LogFilter, MetricFilter, NewerViewsError
from app.store.read_store import ReadStore
from app.store.tables import generations, tables_of
from projections.jobs.state import Job
from projections.views.metrics import totals
from schemas.commands import MAX_TOTAL, Counts, KillJob, PauseJob, PurgeJob, RenameJob, ReportError, WakeJob
from schemas.events import JobCreated, JobProgressed
from tests.unit.store.histories import START, Partition, batches, history
from tests.unit.store.views import HOUR, live_rows

SEEDS = range(4)


@pytest.mark.parametrize("seed", SEEDS)
async def test_views_equal_the_fold_of_the_events_for_any_batches(store: ReadStore, seed: int) -> None:
    partition = history(seed)
    for batch in batches(partition.records, seed):
        await store.views.apply(3, batch)
    for job_id, state in partition.jobs.items():
        assert await store.jobs.get(job_id) == state
    assert await store.views.next_offset(3) == partition.records[-1].offset + 1
    assert await _total_read(store, partition) == _sum_read(partition.records)


@pytest.mark.parametrize("seed", SEEDS)
async def test_totals_count_every_event_also_of_purged_jobs(store: ReadStore, seed: int) -> None:
    partition = history(seed)
    providers = {
        record.event.job_id: record.event.provider
        for record in partition.records
        if isinstance(record.event, JobCreated)
    }
    expected: Counter[tuple[str, str, str]] = Counter()
    for record in partition.records:
        for measure, outcome, amount in totals(record.event):
            expected[providers[record.event.job_id], measure, outcome] += amount
    for batch in batches(partition.records, seed):
        await store.views.apply(3, batch)
    stored = await store.history.totals()
    assert {(total.provider, total.measure, total.outcome): total.count for total in stored} == expected


async def test_sums_saturate_at_the_limit_of_the_database(store: ReadStore) -> None:
    """Our own histories never reach the limit; one of a foreign producer must not stop the others."""
    partition = Partition()
    records = partition.create()
    for _ in range(12):
        records += partition.report(counts=Counts(read=10**12, accepted=10**12))
    huge = [
        replace(record, event=replace(record.event, counts=Counts(read=MAX_TOTAL, accepted=MAX_TOTAL)))
        if isinstance(record.event, JobProgressed)
        else record
        for record in records
    ]
    for record in huge:
        await store.views.apply(3, [record])
    job = await store.jobs.get("job-1")
    assert job
    assert job.total_counts == job.pass_counts == Counts(read=MAX_TOTAL, accepted=MAX_TOTAL)
    assert max(total.count for total in await store.history.totals()) == MAX_TOTAL
    (bucket,) = await store.history.metrics(MetricFilter(since=START, until=START + HOUR), HOUR)
    assert bucket.counts == Counts(read=MAX_TOTAL, accepted=MAX_TOTAL)


@pytest.mark.parametrize("seed", SEEDS)
async def test_rows_do_not_depend_on_batch_boundaries(store: ReadStore, seed: int) -> None:
    records = history(seed).records
    await store.views.apply(3, records)
    at_once = await live_rows(store)
    rebuild = await store.views.begin_rebuild()
    for batch in batches(records, seed):
        await rebuild.apply(3, batch)
    await rebuild.swap()
    assert await live_rows(store) == at_once


async def test_a_record_below_the_stored_offset_is_skipped(store: ReadStore) -> None:
    partition = Partition()
    await store.views.apply(0, partition.create())
    await store.views.apply(0, partition.report())
    before = await live_rows(store)
    await store.views.apply(0, partition.records)
    await store.views.apply(0, [])
    assert await live_rows(store) == before


async def test_an_event_published_twice_counts_once(store: ReadStore) -> None:
    partition = Partition()
    partition.create()
    partition.report()
    end = partition.records[-1].offset + 1
    again = [EventRecord(end + index, record.event, record.value) for index, record in enumerate(partition.records)]
    await store.views.apply(0, [*partition.records, *again])
    assert await _total_read(store, partition) == 10
    assert await store.views.next_offset(0) == end + len(again)


async def test_an_event_after_a_gap_is_skipped_and_a_rebuild_is_advised(
    store: ReadStore, caplog: pytest.LogCaptureFixture
) -> None:
    partition = Partition()
    await store.views.apply(0, partition.create())
    partition.send(PauseJob)
    partition.create("job-2")
    assert not caplog.messages
    late = [*partition.send(RenameJob, name="too far ahead", description=""), *partition.send(PauseJob, "job-2")]
    await store.views.apply(0, late)
    assert caplog.messages == [
        "jobs.events/0: the views lack events before offset 17, of job job-1 and 1 more: run `entrepot views rebuild`"
    ]
    assert await store.jobs.applied_seq("job-1") == 2
    assert await store.jobs.get("job-2") is None
    assert await store.views.next_offset(0) == partition.records[-1].offset + 1


async def test_a_refusal_for_a_missing_job_is_not_stored(store: ReadStore) -> None:
    partition = Partition()
    await store.views.apply(0, partition.send(PauseJob, "missing"))
    assert await store.jobs.get("missing") is None
    assert await store.jobs.applied_seq("missing") == 0
    assert (await store.jobs.log()).items == ()


async def test_a_purged_job_keeps_only_its_counts_and_its_name(store: ReadStore) -> None:
    partition = Partition()
    await store.views.apply(0, [*partition.create(), *partition.create("job-2"), *partition.report()])
    partition.send(KillJob)
    partition.advance(days=91)
    await store.views.apply(0, [*partition.records[-1:], *partition.send(PurgeJob), *partition.send(WakeJob)])
    job = await store.jobs.get("job-1")
    assert isinstance(job, Job)
    assert (job.status, job.configuration) == ("Purged", "{}")
    assert [job.job_id for job in (await store.jobs.page(JobFilter(statuses=("Purged", "Running")))).items] == ["job-2"]
    assert (await store.jobs.log(LogFilter(job_id="job-1"))).items == ()
    assert await store.history.configurations("job-1") == []
    assert await store.history.events("job-1") == []
    assert await store.history.state_as_of("job-1", partition.at) is None
    assert await _total_read(store, partition) == 10


async def test_a_job_created_and_purged_in_one_batch_keeps_only_its_counts(store: ReadStore) -> None:
    partition = Partition()
    partition.create(start=False)
    partition.report()
    partition.advance(days=91)
    partition.send(PurgeJob)
    await store.views.apply(0, partition.records)
    assert await store.history.events("job-1") == []
    assert (await store.jobs.log()).items == ()
    assert await _total_read(store, partition) == 10


async def test_each_partition_has_its_own_offset(store: ReadStore) -> None:
    first, second = Partition(), Partition()
    await store.views.apply(0, first.create("job-a"))
    await store.views.apply(1, second.create("job-b"))
    await store.views.apply(1, second.report("job-b"))
    assert await store.views.next_offset(0) == first.records[-1].offset + 1
    assert await store.views.next_offset(1) == second.records[-1].offset + 1
    assert await store.views.next_offset(2) == 0
    assert len((await store.jobs.page()).items) == 2


async def test_any_text_is_stored_with_a_replacement_for_nul(store: ReadStore) -> None:
    partition = Partition()
    await store.views.apply(0, partition.create(name="a b ☃ 🚢"))
    error = {"fault": "network", "advice": "retry", "code": "timed_out", "params": {"url": "x.at"}}
    await store.views.apply(0, partition.send(ReportError, run=1, detail="a\0b ☃ 🚢", **error))
    job = await store.jobs.get("job-1")
    assert job is not None
    assert (await store.jobs.page(JobFilter(text="B ☃"))).items == (job,)
    details = [line.detail for line in (await store.jobs.log(LogFilter(job_id="job-1"))).items if line.detail]
    assert details == ["a\ufffdb ☃ 🚢"]


async def test_a_database_error_does_not_reveal_parameters(store: ReadStore) -> None:
    async with store.database.writing() as connection:
        await connection.run_sync(tables_of(1).jobs.drop)
    records = Partition().create(name="hidden")
    with pytest.raises(DBAPIError) as caught:
        await store.views.apply(0, records)
    report = "".join(traceback.format_exception(caught.value))
    assert "INSERT INTO jobs_g1" in report
    assert "hidden" not in report.replace("parameters hidden", "")


async def test_an_older_process_does_not_write_to_newer_views(store: ReadStore) -> None:
    partition = Partition()
    await store.views.apply(0, partition.create())
    async with store.database.writing() as connection:
        await connection.execute(generations.update().values(version=99))
    with pytest.raises(NewerViewsError, match="upgrade"):
        await store.views.apply(0, partition.report())
    assert await store.jobs.applied_seq("job-1") == 2
    assert not await store.views.needs_rebuild()


async def test_stored_events_keep_their_bytes_and_positions(store: ReadStore) -> None:
    partition = history(1)
    await store.views.apply(2, partition.records)
    events = tables_of(1).events
    async with store.database.reading() as connection:
        rows = (await connection.execute(select(events.c.offset, events.c.value, events.c.partition))).all()
    written = {record.offset: record.value for record in partition.records}
    assert rows
    assert all(written[row.offset] == row.value and row.partition == 2 for row in rows)


async def _total_read(store: ReadStore, partition: Partition) -> int:
    first, last = partition.records[0].event.occurred_at, partition.at
    buckets = await store.history.metrics(MetricFilter(since=first, until=last + HOUR), 24 * HOUR)
    return sum(bucket.counts.read for bucket in buckets)


def _sum_read(records: Sequence[EventRecord]) -> int:
    return sum(record.event.counts.read for record in records if isinstance(record.event, JobProgressed))
