"""No committed offset loses a write: on a real broker, with workers that are killed.

docs/decisions/001 describes how stock Faust loses writes.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from app.supervisor.broker.server import Broker
from tests.integration.support.safe_faust_rig import HoldingProxy, Rig, WorkerProcess, producer, put, rig

LATCHED = 70  # the exit code after a failed write


@pytest.fixture
async def group(broker: Broker, tmp_path: Path) -> AsyncIterator[Rig]:
    async with rig(broker, tmp_path) as group:
        yield group


def owned(worker: WorkerProcess) -> set[int]:
    return {n for _, n in [report for report in worker.reports if "assigned" in report][-1]["assigned"]}


async def test_a_clean_stop_publishes_stores_and_commits_everything(group: Rig) -> None:
    worker = await group.start()
    await group.put([b"x"] * 1000)
    await worker.until_done(1000)
    assert await worker.stop() == 0
    assert await group.committed() == [500, 500]
    published = await group.read(group.output)
    assert [int(dict(record.headers)["offset"]) for record in published if record.partition == 1] == list(range(500))
    assert all(record.key.decode() in {"key-0", "key-1", "key-2", "key-3"} for record in published)
    source = {(record.partition, record.offset): record.timestamp for record in await group.read(group.source)}
    assert {(record.partition, int(dict(record.headers)["offset"])): record.timestamp for record in published} == source
    assert (
        await group.state() == {"key-0": 498, "key-1": 498, "key-2": 499, "key-3": 499} == worker.reports[-1]["state"]
    )


@pytest.mark.parametrize("style", ["packed", "plain"])
async def test_an_offset_is_not_committed_before_its_state_write_is_acknowledged(group: Rig, style: str) -> None:
    async with HoldingProxy(group.broker, group.changelog) as proxy:
        worker = await group.start(through=proxy, style=style)
        await group.put([b"x"] * 10)
        await group.until_committed([5, 5])
        proxy.hold()
        await group.put([b"x"] * 10)
        await asyncio.wait_for(proxy.held.wait(), 20)
        await worker.until_done(11)
        await asyncio.sleep(1.5)  # three commit intervals, in which a wrong commit would happen
        assert await group.committed() == [5, 5]
        await worker.kill()
    second = await group.start(style=style)
    await second.until_done(10)
    assert await second.stop() == 0
    assert await group.state() == {"key-0": 9, "key-1": 9, "key-2": 8, "key-3": 8}


@pytest.mark.parametrize("style", ["packed", "plain"])
async def test_a_state_write_that_the_broker_refuses_ends_the_worker_without_a_commit(group: Rig, style: str) -> None:
    worker = await group.start(style=style)
    await group.put([b"x"] * 10)
    await group.until_committed([5, 5])
    await group.alter(group.changelog, {"max.message.bytes": "1000"})
    await group.put([b"large"] * 2)
    assert await worker.exit_code() == LATCHED
    assert await group.committed() == [5, 5]
    assert "the broker rejected a write" in worker.errors.read_text()


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
async def test_a_record_that_fails_the_agent_is_never_committed(
    group: Rig, style: str, value: bytes, reason: str
) -> None:
    worker = await group.start(style=style)
    await group.put([b"x", b"x", value, b"x"])
    assert await worker.exit_code() == LATCHED
    assert (await group.committed())[0] <= 1
    assert reason in worker.errors.read_text()


async def test_a_commit_stays_below_an_unacknowledged_record(group: Rig) -> None:
    await group.start()
    await group.put([b"x", b"x", b"keep", b"x"] + [b"x"] * 96)
    await group.until_committed([1, 50])  # the other partition has no unacknowledged record
    await group.put([b"x"] * 10)
    await group.until_committed([1, 55])


async def test_aborted_records_are_skipped_and_commits_pass_their_offsets(group: Rig) -> None:
    worker = await group.start(watchdog_seconds=1.0)
    async with producer(group.broker.cluster, transactional_id=group.run) as client:
        await write_transactions(client, group.source)
    await worker.until_done(24)
    ends = await group.ends(group.source)
    await group.until_committed([end - 4 for end in ends])  # two aborted records and two markers end each partition
    async with producer(group.broker.cluster, transactional_id=group.run) as client, client.transaction():
        await put(client, group.source, [b"x"] * 4)
        await asyncio.sleep(2.5)  # the watchdog must not count an open transaction or trailing markers as unprocessed
    await worker.until_done(28)
    assert await worker.stop() == 0
    assert worker.done == 28
    assert {record.value for record in await group.read(group.output)} == {b"x"}
    again = await group.start()
    await again.until_reported(lambda report: "assigned" in report)
    assert await again.stop() == 0
    assert again.done == 0


async def write_transactions(client: AIOKafkaProducer, topic: str) -> None:
    for n in range(6):
        await client.begin_transaction()
        await put(client, topic, [b"x"] * 4)
        await client.commit_transaction()
        if n % 2:
            await client.begin_transaction()
            await put(client, topic, [b"aborted"] * 4)
            await client.abort_transaction()


async def test_two_workers_lose_nothing_when_one_of_them_is_killed(group: Rig) -> None:
    first = await group.start("one")
    await group.put([b"x"] * 2000)
    await first.until_done(1)
    second = await group.start("two")
    await second.until_reported(lambda report: "assigned" in report)
    await group.put([b"x"] * 2000)
    await second.until_done(100)
    await first.kill()
    third = await group.start("one")
    await group.put([b"x"] * 2000)
    await group.until_committed([3000, 3000])
    assert (await second.stop(), await third.stop()) == (0, 0)
    published = await group.read(group.output)
    for partition in range(2):
        offsets = [int(dict(record.headers)["offset"]) for record in published if record.partition == partition]
        assert list(dict.fromkeys(offsets)) == list(range(3000))  # in order, apart from repeats
    assert await group.state() == {"key-0": 2998, "key-1": 2998, "key-2": 2999, "key-3": 2999}


async def test_hooks_run_after_recovery_and_before_the_next_owner(group: Rig) -> None:
    first = await group.start("one")
    await group.put([b"x"] * 100)
    await first.until_done(100)
    assert await first.stop() == 0
    all_partitions = [[group.source, 0], [group.source, 1]]
    assert [report for report in first.reports if "revoked" in report] == [{"revoked": all_partitions}]

    first = await group.start("one")
    await group.put([b"x"] * 100)
    await first.until_done(100)
    kinds = [next(iter(report)) for report in first.reports]
    assert kinds.index("assigned") < kinds.index("batch")
    assert first.reports[kinds.index("assigned")] == {"assigned": all_partitions, "state": 4, "rebalancing": True}

    second = await group.start("two")
    assert await first.until_reported(lambda report: "revoked" in report) == {"revoked": all_partitions}
    await first.until_reported(lambda report: "assigned" in report)
    await second.until_reported(lambda report: "assigned" in report)
    assert [report["state"] for report in (first.reports[-1], second.reports[-1])] == [2, 2]
    assert owned(first) | owned(second) == {0, 1}
    assert not owned(first) & owned(second)


async def test_a_late_state_write_of_a_zombie_is_not_recovered(group: Rig) -> None:
    worker = await group.start()
    await group.put([b"x"] * 100)
    await worker.until_done(100)
    assert await worker.stop() == 0
    newest = await group.state()
    async with producer(group.broker.cluster) as zombie:
        await zombie.send_and_wait(group.changelog, b"3", key=b"key-1", partition=1)
    again = await group.start()
    await again.until_reported(lambda report: "assigned" in report)
    assert await again.stop() == 0
    assert again.reports[-1]["state"] == newest
    assert await group.state() == newest, "the newest value is rewritten, so that compaction does not keep the zombie's"


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
