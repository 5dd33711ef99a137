"""Job history: events, configurations, past states, counts over time, and counts per stream."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from app.store.models import LogFilter, MetricFilter, StreamDelta, StreamView
from app.store.read_store import ReadStore
from projections.jobs.evolve import evolve
from projections.jobs.state import Job
from projections.views.metrics import Bucket, InvalidRangeError
from schemas.commands import ConfigureJob, Counts, RenameJob
from schemas.policies import DEFAULT_RETRY, ONCE
from tests.unit.store.histories import EVERY_HOUR, START, Partition, history
from tests.unit.store.views import HOUR

MINUTE = timedelta(minutes=1)


async def test_events_are_ordered_and_limited_by_seq_and_time(store: ReadStore) -> None:
    partition = history(2)
    await store.views.apply(4, partition.records)
    job_id = next(job for job in partition.jobs if partition.job(job).status != "Purged")
    records = [record for record in partition.records if record.event.job_id == job_id and record.event.seq]
    stored = await store.history.events(job_id)
    assert [(event.event, event.value, event.offset) for event in stored] == [
        (record.event, record.value, record.offset) for record in records
    ]
    assert {event.partition for event in stored} == {4}
    assert await store.history.events(job_id, after_seq=2, limit=3) == stored[2:5]
    until = stored[4].event.occurred_at
    early = [event for event in stored if event.event.occurred_at <= until]
    assert await store.history.events(job_id, until=until) == early
    assert await store.history.events("missing") == []


@pytest.mark.parametrize("seed", range(3))
async def test_the_state_of_a_job_is_available_for_any_time(store: ReadStore, seed: int) -> None:
    partition = history(seed)
    await store.views.apply(0, partition.records)
    job_id = next(job for job in partition.jobs if partition.job(job).status != "Purged")
    state: Job | None = None
    events = [record.event for record in partition.records if record.event.job_id == job_id and record.event.seq]
    for event, following in zip(events, [*events[1:], None], strict=True):
        state = evolve(state, event)
        if following is None or following.occurred_at > event.occurred_at:
            assert await store.history.state_as_of(job_id, event.occurred_at) == state
    assert await store.history.state_as_of(job_id, events[0].occurred_at - timedelta(microseconds=1)) is None
    assert await store.history.state_as_of("missing", partition.at) is None


async def test_the_state_of_a_long_history_is_restored_across_snapshots(store: ReadStore) -> None:
    partition = Partition()
    partition.create()
    states: list[Job] = []
    for index in range(1_700):
        partition.advance(seconds=index % 2)
        partition.report()
        states.append(partition.job())
    await store.views.apply(0, partition.records)
    for index in (0, 480, 497, 498, 499, 1_001, 1_699):
        moment = states[index].updated_at
        latest = [state for state in states if state.updated_at <= moment][-1]
        assert await store.history.state_as_of("job-1", moment) == latest


async def test_configurations_have_their_author_and_time(store: ReadStore) -> None:
    partition = Partition()
    partition.create(configuration='{"a":1}')
    partition.advance(hours=1)
    partition.send(RenameJob, name="other", description="")
    fields = {"cadence": ONCE, "retry": DEFAULT_RETRY, "issued_by": "user:bob"}
    partition.send(ConfigureJob, configuration='{"a":2}', **fields)
    partition.send(ConfigureJob, configuration='{"a":1}', reverted_from=1, **fields)
    await store.views.apply(0, partition.records)
    configurations = await store.history.configurations("job-1")
    assert [(item.version, item.configuration, item.reverted_from, item.by) for item in configurations] == [
        (1, '{"a":1}', None, "user:ada"),
        (2, '{"a":2}', None, "user:bob"),
        (3, '{"a":1}', 1, "user:bob"),
    ]
    assert [item.cadence for item in configurations] == [EVERY_HOUR, ONCE, ONCE]
    assert [item.at for item in configurations] == [START, START + HOUR, START + HOUR]
    assert await store.history.configurations("missing") == []


async def apply_reports(store: ReadStore) -> None:
    """One job reads ten records a minute from 14:30 to 17:30; another reads one record at 15:10."""
    partition = Partition(at=START + 30 * MINUTE)
    partition.create()
    partition.create("job-2", provider="http")
    for minute in range(180):
        partition.report(stream="orders" if minute % 2 else "contacts")
        if minute == 40:
            partition.report("job-2", counts=Counts(read=1, omitted=1, added=2, removed=3))
        partition.advance(minutes=1)
    await store.views.apply(0, partition.records)


async def test_counts_add_up_for_any_range_and_interval(store: ReadStore) -> None:
    await apply_reports(store)
    day = MetricFilter(since=START, until=START + 24 * HOUR, job_id="job-1")
    for interval in (MINUTE, 7 * MINUTE, HOUR, 2 * HOUR, 90 * MINUTE, 24 * HOUR, 1_000 * HOUR):
        buckets = await store.history.metrics(day, interval)
        assert sum(bucket.counts.read for bucket in buckets) == 1_800, interval
        assert {b.start - a.start for a, b in pairwise(buckets)} <= {interval}
    for first in (0, 29, 31, 59, 60, 61, 100, 209):
        for width in (1, 59, 60, 61, 125):
            since = START + first * MINUTE
            where = MetricFilter(since=since, until=since + width * MINUTE, job_id="job-1")
            expected = 10 * len({*range(first, first + width)} & {*range(30, 210)})
            for interval in (MINUTE, HOUR):
                buckets = await store.history.metrics(where, interval)
                assert sum(bucket.counts.read for bucket in buckets) == expected, (first, width, interval)


async def test_counts_are_filtered_by_job_provider_and_stream(store: ReadStore) -> None:
    await apply_reports(store)
    hour = MetricFilter(since=START + HOUR, until=START + 2 * HOUR)
    for where, expected in (
        (hour, 601),
        (replace(hour, job_id="job-2"), 1),
        (replace(hour, provider="http"), 1),
        (replace(hour, stream="contacts"), 300),
        (replace(hour, stream="orders", provider="http"), 1),
        (replace(hour, stream="nothing"), 0),
    ):
        assert sum(bucket.counts.read for bucket in await store.history.metrics(where, HOUR)) == expected, where


async def test_empty_buckets_are_included(store: ReadStore) -> None:
    await apply_reports(store)
    where = MetricFilter(since=START + HOUR, until=START + HOUR + 12 * MINUTE, provider="http")
    buckets = await store.history.metrics(where, 5 * MINUTE)
    counts = Counts(read=1, omitted=1, added=2, removed=3)
    assert buckets == [
        Bucket(START + HOUR, Counts()),
        Bucket(START + HOUR + 5 * MINUTE, Counts()),
        Bucket(START + HOUR + 10 * MINUTE, counts),
    ]
    with pytest.raises(InvalidRangeError):
        await store.history.metrics(where, timedelta(seconds=1))


async def test_stream_counts_add_up_over_partitions_without_repetition(store: ReadStore) -> None:
    def delta(stream: str, count: int, at: int) -> StreamDelta:
        moment = START + at * MINUTE
        return StreamDelta(
            stream=stream,
            lane="realtime",
            count=count,
            bytes=10 * count,
            last_message_at=moment,
            last_arrival_at=moment,
        )

    topic = "messages.realtime"
    assert await store.streams.add(topic, 0, 0, 10, [delta("orders", 5, 3), delta("contacts", 1, 1)])
    assert not await store.streams.add(topic, 0, 0, 10, [delta("orders", 5, 9)])
    assert not await store.streams.add(topic, 0, 0, 15, [delta("orders", 15, 9)]), "offsets 0 to 10 are already counted"
    assert await store.streams.add(topic, 1, 0, 4, [delta("orders", 2, 7)])
    assert await store.streams.add(topic, 0, 10, 12, [delta("orders", 1, 2)])
    assert await store.streams.add(topic, 0, 12, 13, [])
    assert await store.streams.next_offset(topic, 0) == 13
    assert await store.streams.next_offset("messages.backfill", 0) == 0
    first, second = START + MINUTE, START + 7 * MINUTE
    assert await store.streams.counts() == [
        StreamView(stream="contacts", lane="realtime", count=1, bytes=10, last_message_at=first, last_arrival_at=first),
        StreamView(stream="orders", lane="realtime", count=8, bytes=80, last_message_at=second, last_arrival_at=second),
    ]


async def test_the_log_describes_provider_errors(store: ReadStore) -> None:
    partition = history(3)
    await store.views.apply(0, partition.records)
    errors = (await store.jobs.log(LogFilter(kinds=("Error",)))).items
    assert all(error.message.startswith("Error: `x.at` did not respond") and error.by == "user:ada" for error in errors)
