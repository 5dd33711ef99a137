"""Lanes in the read store: pause flags, positions, and mapped messages per job."""

from datetime import UTC, datetime, timedelta

import pytest

from app.store.models import JobMapped, LaneSwitch, StaleOwnerError, StreamDelta
from app.store.read_store import ReadStore
from schemas.commands import KillJob, PurgeJob
from tests.unit.store.histories import Partition

NOON = datetime(2026, 11, 3, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
TOPIC = "messages.backfill"


def delta(lane: str, count: int) -> StreamDelta:
    return StreamDelta(stream="people", lane=lane, count=count, bytes=1, last_message_at=NOON, last_arrival_at=NOON)


async def test_a_pause_is_stored_with_the_user_who_paused_first(store: ReadStore) -> None:
    assert (await store.lanes.switches(), await store.lanes.is_paused("backfill")) == ({}, False)
    await store.lanes.switch("backfill", LaneSwitch(paused=True, by="user:ada", at=NOON))
    await store.lanes.switch("backfill", LaneSwitch(paused=True, by="user:eve", at=LATER))
    assert await store.lanes.switches() == {"backfill": LaneSwitch(paused=True, by="user:ada", at=NOON)}
    assert (await store.lanes.is_paused("backfill"), await store.lanes.is_paused("realtime")) == (True, False)
    await store.lanes.switch("backfill", LaneSwitch(paused=False, by="user:eve", at=LATER))
    assert await store.lanes.switches() == {"backfill": LaneSwitch(paused=False, by="user:eve", at=LATER)}


async def test_mapped_messages_are_counted_once_with_their_offset(store: ReadStore) -> None:
    mapped = [JobMapped(job_id="job", count=3, at=NOON), JobMapped(job_id="other", count=1, at=NOON)]
    assert await store.streams.add(TOPIC, 2, 0, 5, [delta("backfill", 4)], mapped)
    assert not await store.streams.add(TOPIC, 2, 0, 5, [delta("backfill", 4)], mapped), (
        "offsets 0 to 5 are already counted"
    )
    later = [JobMapped(job_id="job", count=7, at=LATER)]
    assert await store.streams.add(TOPIC, 2, 5, 9, [delta("backfill", 7), delta("realtime", 2)], later)
    assert await store.lanes.mapped("job") == JobMapped(job_id="job", count=10, at=LATER)
    assert await store.lanes.mapped("missing") is None
    assert await store.lanes.positions([TOPIC, "messages.realtime"]) == {(TOPIC, 2): 9}
    assert await store.lanes.messages() == {"backfill": 11, "realtime": 2}


async def test_dead_letters_are_counted_once_with_their_offset(store: ReadStore) -> None:
    assert await store.lanes.rejected() == []
    rejected = [("too_large", 1), ("malformed_message", 2)]
    assert await store.streams.add(TOPIC, 2, 0, 5, [], rejected=rejected)
    assert not await store.streams.add(TOPIC, 2, 0, 5, [], rejected=rejected), "offsets 0 to 5 are already counted"
    assert await store.streams.add(TOPIC, 1, 0, 3, [], rejected=[("too_large", 4)])
    counts = {(row.lane, row.code): row.count for row in await store.lanes.rejected()}
    assert counts == {("backfill", "too_large"): 5, ("backfill", "malformed_message"): 2}


async def test_a_worker_whose_partition_is_claimed_by_another_writes_nothing(store: ReadStore) -> None:
    for owner in ("first", "second"):
        await store.lanes.claim(TOPIC, [0, 1], owner)
    with pytest.raises(StaleOwnerError):
        await store.streams.add(TOPIC, 0, 0, 5, [delta("backfill", 4)], owner="first")
    with pytest.raises(StaleOwnerError):
        await store.plane.record_rules(TOPIC, 0, 0, 3, "first")
    with pytest.raises(StaleOwnerError):
        await store.plane.confirm_rules(TOPIC, [0, 1], 3, "first")
    assert await store.streams.next_offset(TOPIC, 0) == 0
    assert (await store.plane.rules_of(TOPIC, 0), await store.plane.confirmed(TOPIC, [0, 1])) == ([], 0)
    assert await store.streams.add(TOPIC, 0, 0, 5, [], owner="second")


async def test_a_partition_is_unconfirmed_from_its_claim_on(store: ReadStore) -> None:
    await store.plane.confirm_unclaimed(2, 3)
    await store.lanes.claim(TOPIC, [0], "first")
    await store.plane.confirm_unclaimed(2, 5)
    assert await store.plane.unconfirmed(5) == [(TOPIC, 0)]
    assert await store.plane.confirm_rules(TOPIC, [0], 2, "first") == 3, "it has to read more definitions"
    assert await store.plane.confirm_rules(TOPIC, [0], 5, "first") == 5
    assert await store.plane.unconfirmed(5) == []


async def test_counts_of_a_purged_job_are_deleted(store: ReadStore) -> None:
    partition = Partition()
    partition.create()
    assert await store.streams.add(TOPIC, 0, 0, 1, [], [JobMapped(job_id="job-1", count=3, at=NOON)])
    partition.send(KillJob)
    partition.advance(days=91)
    partition.send(PurgeJob)
    await store.views.apply(0, partition.records)
    assert await store.lanes.mapped("job-1") is None
