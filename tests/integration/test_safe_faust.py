"""Nothing that a committed offset stands for is ever lost: on a real broker, with workers that are really killed.

How stock Faust loses it is told in docs/decisions/001.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from tests.integration.support.safe_faust_rig import Rig, SlowRoad, WorkerProcess, producer, put, rig

LATCHED = 70


@pytest.fixture
async def group(kafka: str, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(kafka, tmp_path) as made:
        yield made


def owned(worker: WorkerProcess) -> set[int]:
    return {n for _, n in [each for each in worker.said if "assigned" in each][-1]["assigned"]}


async def test_everything_is_published_kept_and_committed_by_a_clean_stop(group: Rig) -> None:
    worker = await group.start()
    await group.put([b"x"] * 1000)
    await worker.has_done(1000)
    assert await worker.stop() == 0
    assert await group.committed() == [500, 500]
    published = await group.read(group.output)
    assert [int(dict(each.headers)["offset"]) for each in published if each.partition == 1] == list(range(500))
    assert all(each.key.decode() in {"key-0", "key-1", "key-2", "key-3"} for each in published)
    source = {(each.partition, each.offset): each.timestamp for each in await group.read(group.source)}
    assert {(each.partition, int(dict(each.headers)["offset"])): each.timestamp for each in published} == source
    assert await group.state() == {"key-0": 498, "key-1": 498, "key-2": 499, "key-3": 499} == worker.said[-1]["state"]


@pytest.mark.parametrize("style", ["packed", "plain"])
async def test_no_commit_while_a_state_write_is_on_its_way(group: Rig, style: str) -> None:
    async with SlowRoad(group.bootstrap, group.changelog) as road:
        worker = await group.start(bootstrap=road.bootstrap, style=style)
        await group.put([b"x"] * 10)
        await group.commits([5, 5])
        road.hold()
        await group.put([b"x"] * 10)
        await asyncio.wait_for(road.held.wait(), 20)
        await worker.has_done(11)
        await asyncio.sleep(1.5)  # three commit intervals: time to do wrong
        assert await group.committed() == [5, 5]
        await worker.kill()
    second = await group.start(style=style)
    await second.has_done(10)
    assert await second.stop() == 0
    assert await group.state() == {"key-0": 9, "key-1": 9, "key-2": 8, "key-3": 8}


@pytest.mark.parametrize("style", ["packed", "plain"])
async def test_a_state_write_that_the_broker_refuses_ends_the_worker_uncommitted(group: Rig, style: str) -> None:
    worker = await group.start(style=style)
    await group.put([b"x"] * 10)
    await group.commits([5, 5])
    await group.alter(group.changelog, {"max.message.bytes": "1000"})
    await group.put([b"large"] * 2)
    assert await worker.exit_code() == LATCHED
    assert await group.committed() == [5, 5]
    assert "the broker refused a write" in worker.errors.read_text()


@pytest.mark.parametrize(
    ("style", "value", "reason"),
    [
        ("packed", b"huge", "RecordTooLarge"),
        ("plain", b"huge", "RecordTooLarge"),
        ("packed", b"raise", "asked to"),
        ("plain", b"raise", "asked to"),
    ],
    ids=["too-large-packed", "too-large-plain", "raises-packed", "raises-plain"],
)
async def test_what_an_agent_fails_on_is_never_committed(group: Rig, style: str, value: bytes, reason: str) -> None:
    worker = await group.start(style=style)
    await group.put([b"x", b"x", value, b"x"])
    assert await worker.exit_code() == LATCHED
    assert (await group.committed())[0] <= 1
    assert reason in worker.errors.read_text()


async def test_a_commit_stays_below_what_was_never_acknowledged(group: Rig) -> None:
    await group.start()
    await group.put([b"x", b"x", b"keep", b"x"] + [b"x"] * 96)
    await group.commits([1, 50])  # the other partition has nothing to wait for
    await group.put([b"x"] * 10)
    await group.commits([1, 55])


async def test_aborted_records_are_unseen_and_commits_cross_their_gaps(group: Rig) -> None:
    worker = await group.start(watchdog_seconds=1.0)
    async with producer(group.bootstrap, transactional_id=group.run) as sending:
        await in_transactions(sending, group.source)
    await worker.has_done(24)
    ends = await group.ends(group.source)
    await group.commits([end - 4 for end in ends])  # two aborted records and two markers end each partition
    async with producer(group.bootstrap, transactional_id=group.run) as sending, sending.transaction():
        await put(sending, group.source, [b"x"] * 4)
        await asyncio.sleep(2.5)  # an open transaction, and markers at the end, are no work left undone
    await worker.has_done(28)
    assert await worker.stop() == 0
    assert worker.done == 28
    assert {each.value for each in await group.read(group.output)} == {b"x"}
    again = await group.start()
    await again.says(lambda each: "assigned" in each)
    assert await again.stop() == 0
    assert again.done == 0


async def in_transactions(sending: AIOKafkaProducer, topic: str) -> None:
    for n in range(6):
        await sending.begin_transaction()
        await put(sending, topic, [b"x"] * 4)
        await sending.commit_transaction()
        if n % 2:
            await sending.begin_transaction()
            await put(sending, topic, [b"aborted"] * 4)
            await sending.abort_transaction()


async def test_two_workers_share_repeat_and_lose_nothing_when_one_is_killed(group: Rig) -> None:
    first = await group.start("one")
    await group.put([b"x"] * 2000)
    await first.has_done(1)
    second = await group.start("two")
    await second.says(lambda each: "assigned" in each)
    await group.put([b"x"] * 2000)
    await second.has_done(100)
    await first.kill()
    third = await group.start("one")
    await group.put([b"x"] * 2000)
    await group.commits([3000, 3000])
    assert (await second.stop(), await third.stop()) == (0, 0)
    published = await group.read(group.output)
    for partition in range(2):
        offsets = [int(dict(each.headers)["offset"]) for each in published if each.partition == partition]
        assert list(dict.fromkeys(offsets)) == list(range(3000))  # in order, but for repeats
    assert await group.state() == {"key-0": 2998, "key-1": 2998, "key-2": 2999, "key-3": 2999}


async def test_hooks_are_called_after_recovery_and_before_another_owner(group: Rig) -> None:
    first = await group.start("one")
    await group.put([b"x"] * 100)
    await first.has_done(100)
    assert await first.stop() == 0
    both = [[group.source, 0], [group.source, 1]]
    assert [each for each in first.said if "revoked" in each] == [{"revoked": both}]

    first = await group.start("one")
    await group.put([b"x"] * 100)
    await first.has_done(100)
    told = [next(iter(each)) for each in first.said]
    assert told.index("assigned") < told.index("batch")
    assert first.said[told.index("assigned")] == {"assigned": both, "state": 4, "rebalancing": True}

    second = await group.start("two")
    assert await first.says(lambda each: "revoked" in each) == {"revoked": both}
    await first.says(lambda each: "assigned" in each)
    await second.says(lambda each: "assigned" in each)
    assert [each["state"] for each in (first.said[-1], second.said[-1])] == [2, 2]
    assert owned(first) | owned(second) == {0, 1}
    assert not owned(first) & owned(second)


async def test_a_state_that_a_zombie_wrote_late_is_not_recovered(group: Rig) -> None:
    worker = await group.start()
    await group.put([b"x"] * 100)
    await worker.has_done(100)
    assert await worker.stop() == 0
    newest = await group.state()
    async with producer(group.bootstrap) as late:
        await late.send_and_wait(group.changelog, b"3", key=b"key-1", partition=1)
    again = await group.start()
    await again.says(lambda each: "assigned" in each)
    assert await again.stop() == 0
    assert again.said[-1]["state"] == newest
    assert await group.state() == newest, "a compaction would keep the older value"


@pytest.mark.parametrize("value", [b"hang", b"block"])
async def test_the_watchdog_ends_a_worker_whose_agent_hangs(group: Rig, value: bytes) -> None:
    worker = await group.start(watchdog_seconds=1.0)
    await group.put([b"x"] * 10 + [value])
    assert await worker.exit_code() == LATCHED
    assert "none was processed for 1 seconds" in worker.errors.read_text()


async def test_a_changelog_with_another_partition_count_is_refused(group: Rig) -> None:
    await group.create(group.changelog)
    worker = await group.start(partitions=3)
    assert await worker.exit_code() == 1
    assert "TopicMismatch" in worker.errors.read_text()
