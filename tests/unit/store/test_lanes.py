"""What the read store knows of the lanes: who paused one, where they are, and how far they are with each job."""

from datetime import UTC, datetime, timedelta

from app.store.models import JobMapped, LaneSwitch, StreamDelta
from app.store.read_store import ReadStore
from schemas.commands import KillJob, PurgeJob
from tests.unit.store.histories import Partition

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
TOPIC = "messages.backfill"


def seen(lane: str, count: int) -> StreamDelta:
    return StreamDelta(stream="people", lane=lane, count=count, bytes=1, last_message_at=NOON, last_arrival_at=NOON)


async def test_a_pause_is_kept_with_who_said_so_first(store: ReadStore) -> None:
    assert (await store.lanes.switches(), await store.lanes.is_paused("backfill")) == ({}, False)
    await store.lanes.switch("backfill", LaneSwitch(paused=True, by="user:ada", at=NOON))
    await store.lanes.switch("backfill", LaneSwitch(paused=True, by="user:eve", at=LATER))
    assert await store.lanes.switches() == {"backfill": LaneSwitch(paused=True, by="user:ada", at=NOON)}
    assert (await store.lanes.is_paused("backfill"), await store.lanes.is_paused("realtime")) == (True, False)
    await store.lanes.switch("backfill", LaneSwitch(paused=False, by="user:eve", at=LATER))
    assert await store.lanes.switches() == {"backfill": LaneSwitch(paused=False, by="user:eve", at=LATER)}


async def test_messages_of_a_job_are_counted_with_the_offset_they_came_with(store: ReadStore) -> None:
    mapped = [JobMapped(job_id="job", count=3, at=NOON), JobMapped(job_id="other", count=1, at=NOON)]
    assert await store.streams.add(TOPIC, 2, 0, 5, [seen("backfill", 4)], mapped)
    assert not await store.streams.add(TOPIC, 2, 0, 5, [seen("backfill", 4)], mapped), "somebody did that"
    later = [JobMapped(job_id="job", count=7, at=LATER)]
    assert await store.streams.add(TOPIC, 2, 5, 9, [seen("backfill", 7), seen("realtime", 2)], later)
    assert await store.lanes.mapped("job") == JobMapped(job_id="job", count=10, at=LATER)
    assert await store.lanes.mapped("nobody's") is None
    assert await store.lanes.positions([TOPIC, "messages.realtime"]) == {(TOPIC, 2): 9}
    assert await store.lanes.messages() == {"backfill": 11, "realtime": 2}


async def test_a_purged_job_leaves_nothing_of_it_behind(store: ReadStore) -> None:
    partition = Partition()
    partition.create()
    assert await store.streams.add(TOPIC, 0, 0, 1, [], [JobMapped(job_id="job-1", count=3, at=NOON)])
    partition.send(KillJob)
    partition.later(days=91)
    partition.send(PurgeJob)
    await store.views.apply(0, partition.records)
    assert await store.lanes.mapped("job-1") is None
