"""Looking back: events, configurations, a job as it was, counts by time, and what the lanes have seen."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from app.store.models import LogFilter, MetricFilter, StreamDelta, StreamView
from app.store.read_store import ReadStore
from projections.jobs.evolve import evolve
from projections.jobs.state import Job, JobState, NoJob
from projections.views.metrics import Bucket, InvalidRangeError
from schemas.commands import ConfigureJob, Counts, RenameJob
from schemas.policies import DEFAULT_RETRY, ONCE
from tests.unit.store.histories import EVERY_HOUR, START, Partition, history
from tests.unit.store.views import HOUR

MINUTE = timedelta(minutes=1)


async def test_events_come_in_order_from_behind_a_seq_and_up_to_a_moment(store: ReadStore) -> None:
    partition = history(2)
    await store.views.apply(4, partition.records)
    job_id = next(each for each in partition.jobs if partition.job(each).status != "Purged")
    told = [each for each in partition.records if each.event.job_id == job_id and each.event.seq]
    found = await store.history.events(job_id)
    assert [(each.event, each.value, each.offset) for each in found] == [(t.event, t.value, t.offset) for t in told]
    assert {each.partition for each in found} == {4}
    assert await store.history.events(job_id, after_seq=2, limit=3) == found[2:5]
    until = found[4].event.occurred_at
    early = [each for each in found if each.event.occurred_at <= until]
    assert await store.history.events(job_id, until=until) == early
    assert await store.history.events("nobody") == []


@pytest.mark.parametrize("seed", range(3))
async def test_a_job_is_shown_as_it_was_at_any_moment(store: ReadStore, seed: int) -> None:
    partition = history(seed)
    await store.views.apply(0, partition.records)
    job_id = next(each for each in partition.jobs if partition.job(each).status != "Purged")
    state: JobState = NoJob(job_id)
    events = [each.event for each in partition.records if each.event.job_id == job_id and each.event.seq]
    for event, following in zip(events, [*events[1:], None], strict=True):
        state = evolve(state, event)
        if following is None or following.occurred_at > event.occurred_at:
            assert await store.history.state_as_of(job_id, event.occurred_at) == state
    assert await store.history.state_as_of(job_id, events[0].occurred_at - timedelta(microseconds=1)) is None
    assert await store.history.state_as_of("nobody", partition.at) is None


async def test_the_past_of_a_long_life_is_found_across_snapshots(store: ReadStore) -> None:
    partition = Partition()
    partition.create()
    kept: list[Job] = []
    for index in range(1_700):
        partition.later(seconds=index % 2)
        partition.report()
        kept.append(partition.job())
    await store.views.apply(0, partition.records)
    for index in (0, 480, 497, 498, 499, 1_001, 1_699):
        moment = kept[index].updated_at
        latest = [each for each in kept if each.updated_at <= moment][-1]
        assert await store.history.state_as_of("job-1", moment) == latest


async def test_configurations_tell_who_set_what_when(store: ReadStore) -> None:
    partition = Partition()
    partition.create(configuration='{"a":1}')
    partition.later(hours=1)
    partition.send(RenameJob, name="other", description="")
    facts = {"cadence": ONCE, "retry": DEFAULT_RETRY, "issued_by": "user:bob"}
    partition.send(ConfigureJob, configuration='{"a":2}', **facts)
    partition.send(ConfigureJob, configuration='{"a":1}', reverted_from=1, **facts)
    await store.views.apply(0, partition.records)
    found = await store.history.configurations("job-1")
    assert [(each.version, each.configuration, each.reverted_from, each.by) for each in found] == [
        (1, '{"a":1}', None, "user:ada"),
        (2, '{"a":2}', None, "user:bob"),
        (3, '{"a":1}', 1, "user:bob"),
    ]
    assert [each.cadence for each in found] == [EVERY_HOUR, ONCE, ONCE]
    assert [each.at for each in found] == [START, START + HOUR, START + HOUR]
    assert await store.history.configurations("nobody") == []


async def busy(store: ReadStore) -> None:
    """Ten records a minute for three hours from 14:30 on, of one job; one of another job, at 15:10."""
    partition = Partition(at=START + 30 * MINUTE)
    partition.create()
    partition.create("job-2", provider="http")
    for minute in range(180):
        partition.report(stream="orders" if minute % 2 else "contacts")
        if minute == 40:
            partition.report("job-2", counts=Counts(read=1, omitted=1, added=2, removed=3))
        partition.later(minutes=1)
    await store.views.apply(0, partition.records)


async def test_counts_add_up_for_any_range_and_interval(store: ReadStore) -> None:
    await busy(store)
    day = MetricFilter(since=START, until=START + 24 * HOUR, job_id="job-1")
    for interval in (MINUTE, 7 * MINUTE, HOUR, 2 * HOUR, 90 * MINUTE, 24 * HOUR, 1_000 * HOUR):
        found = await store.history.metrics(day, interval)
        assert sum(each.counts.read for each in found) == 1_800, interval
        assert {b.start - a.start for a, b in pairwise(found)} <= {interval}
    for first in (0, 29, 31, 59, 60, 61, 100, 209):
        for width in (1, 59, 60, 61, 125):
            since = START + first * MINUTE
            where = MetricFilter(since=since, until=since + width * MINUTE, job_id="job-1")
            expected = 10 * len({*range(first, first + width)} & {*range(30, 210)})
            for interval in (MINUTE, HOUR):
                found = await store.history.metrics(where, interval)
                assert sum(each.counts.read for each in found) == expected, (first, width, interval)


async def test_counts_narrow_to_a_job_a_provider_or_a_stream(store: ReadStore) -> None:
    await busy(store)
    hour = MetricFilter(since=START + HOUR, until=START + 2 * HOUR)
    for where, expected in (
        (hour, 601),
        (replace(hour, job_id="job-2"), 1),
        (replace(hour, provider="http"), 1),
        (replace(hour, stream="contacts"), 300),
        (replace(hour, stream="orders", provider="http"), 1),
        (replace(hour, stream="nothing"), 0),
    ):
        assert sum(each.counts.read for each in await store.history.metrics(where, HOUR)) == expected, where


async def test_empty_buckets_are_filled_and_every_count_is_there(store: ReadStore) -> None:
    await busy(store)
    where = MetricFilter(since=START + HOUR, until=START + HOUR + 12 * MINUTE, provider="http")
    found = await store.history.metrics(where, 5 * MINUTE)
    counts = Counts(read=1, omitted=1, added=2, removed=3)
    assert found == [
        Bucket(START + HOUR, Counts()),
        Bucket(START + HOUR + 5 * MINUTE, Counts()),
        Bucket(START + HOUR + 10 * MINUTE, counts),
    ]
    with pytest.raises(InvalidRangeError):
        await store.history.metrics(where, timedelta(seconds=1))


async def test_streams_add_up_over_partitions_and_repeat_nothing(store: ReadStore) -> None:
    def seen(stream: str, count: int, at: int) -> StreamDelta:
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
    assert await store.streams.add(topic, 0, 0, 10, [seen("orders", 5, 3), seen("contacts", 1, 1)])
    assert not await store.streams.add(topic, 0, 0, 10, [seen("orders", 5, 9)])
    assert not await store.streams.add(topic, 0, 0, 15, [seen("orders", 15, 9)]), "ten of them were counted already"
    assert await store.streams.add(topic, 1, 0, 4, [seen("orders", 2, 7)])
    assert await store.streams.add(topic, 0, 10, 12, [seen("orders", 1, 2)])
    assert await store.streams.add(topic, 0, 12, 13, [])
    assert await store.streams.next_offset(topic, 0) == 13
    assert await store.streams.next_offset("messages.backfill", 0) == 0
    first, second = START + MINUTE, START + 7 * MINUTE
    assert await store.streams.counts() == [
        StreamView(stream="contacts", lane="realtime", count=1, bytes=10, last_message_at=first, last_arrival_at=first),
        StreamView(stream="orders", lane="realtime", count=8, bytes=80, last_message_at=second, last_arrival_at=second),
    ]


async def test_the_log_has_what_the_provider_said(store: ReadStore) -> None:
    partition = history(3)
    await store.views.apply(0, partition.records)
    errors = (await store.jobs.log(LogFilter(kinds=("Error",)))).items
    assert all(each.message.startswith("Error: `x.at` did not respond") and each.by == "user:ada" for each in errors)
