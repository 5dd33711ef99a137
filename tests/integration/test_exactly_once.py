"""Rows are imported exactly once, also when roles or the broker are killed, suspended or restarted."""

import asyncio
import os
import random
import signal
from pathlib import Path

import psutil
import pytest

from app.control.verify import audit
from app.supervisor.broker.server import Broker
from schemas.commands import Counts, PauseJob, ResumeJob
from schemas.events import JobPaused, JobProgressed
from schemas.topics import LANES
from schemas.wire.codec import decode
from tests.integration.conftest import FreshBroker
from tests.integration.support.service import TIMEOUT_SECONDS, Service, at_least, has, kinds, service

SEED = 20_131
ROWS = 100_000
FEWER_ROWS = 40_000
BATCH_BYTES = 8 * 1024


def people(folder: Path, rows: int) -> Path:
    file = folder / "people.csv"
    with file.open("w") as out:
        out.write("id,name,email,when\n")
        out.writelines(f"{n},Name {n},person{n}@example.com,2013-01-{n % 28 + 1:02d}T10:00:00Z\n" for n in range(rows))
    return file


async def assert_exactly_once(running: Service, job_id: str, rows: int) -> None:
    by_partition = await running.rows()
    for messages in by_partition.values():
        ids = [int(message["id"]) for message in messages]
        assert ids == sorted(ids), "a partition is not in file order"
    assert sorted(int(message["id"]) for messages in by_partition.values() for message in messages) == list(range(rows))
    counts = sum((event.counts for event in running.history[job_id] if isinstance(event, JobProgressed)), Counts())
    assert counts == Counts(read=rows, accepted=rows)
    proof = await audit(running.broker.cluster, running.settings.partitions, None, lambda *_: None)
    assert all(tally.difference_count == tally.unanswered == 0 for tally in proof.values()), proof


async def test_each_row_is_imported_once_although_roles_are_killed_at_random(
    tmp_path: Path, empty_broker: Broker
) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    async with service(tmp_path, empty_broker, batch_bytes=BATCH_BYTES) as running:
        await running.create("flights", people(tmp_path, ROWS), timestamp_field="when")
        victims = [
            "runner",
            "control",
            "lane-backfill",
            "runner",
            "api",
            "control",
            "lane-realtime",
            "runner",
            "control",
            "runner",
        ]
        async with running.consumer(LANES["backfill"].name) as consumer:
            rows = 0
            for number, victim in enumerate(victims):
                due = ROWS * (number + rng.random()) / (len(victims) + 1)
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    while rows < due:
                        polled = await consumer.getmany(timeout_ms=200)
                        rows += sum(decode(record.value).count for records in polled.values() for record in records)
                await running.kill(victim)
        events = await running.until("flights", has("JobCompleted"))
        assert kinds(events)[-2:] == ["JobSynced", "JobCompleted"]
        await assert_exactly_once(running, "flights", ROWS)
        assert sum("SIGKILL" in line for line in running.log_lines) >= len(victims)


async def test_a_suspended_runner_is_replaced_and_writes_nothing_after_it_continues(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    async with service(tmp_path, await fresh_broker(), ("control", "runner"), batch_bytes=BATCH_BYTES) as running:
        await running.create("flights", people(tmp_path, FEWER_ROWS), timestamp_field="when")
        await running.until("flights", at_least(20))
        suspended = running.pid("runner")
        os.kill(suspended, signal.SIGSTOP)
        await running.start_role("runner", worker_id="1")
        await running.until("flights", has("JobCompleted"))
        os.kill(suspended, signal.SIGCONT)
        await running.until_logged("runner exited with code 70")
        await assert_exactly_once(running, "flights", FEWER_ROWS)


@pytest.mark.parametrize("seconds", [5, 30])
async def test_a_suspended_broker_only_delays_the_import_without_busy_waiting(
    tmp_path: Path, fresh_broker: FreshBroker, seconds: int
) -> None:
    broker = await fresh_broker()
    async with service(tmp_path, broker, batch_bytes=BATCH_BYTES) as running:
        await running.create("flights", people(tmp_path, FEWER_ROWS), timestamp_field="when")
        await running.until("flights", at_least(20))
        before = cpu_seconds(running)
        os.kill(broker.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(seconds)  # the outage itself
        finally:
            os.kill(broker.pid, signal.SIGCONT)
        busy = {name: cpu_seconds(running)[name] - spent for name, spent in before.items()}
        assert all(spent < 0.25 * seconds + 1 for spent in busy.values()), busy
        await running.until("flights", has("JobCompleted"), seconds=120)
        await assert_exactly_once(running, "flights", FEWER_ROWS)


async def test_a_broker_that_is_killed_during_an_import_loses_and_repeats_nothing(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    broker = await fresh_broker()
    async with service(tmp_path, broker, batch_bytes=BATCH_BYTES) as running:
        await running.create("flights", people(tmp_path, FEWER_ROWS), timestamp_field="when")
        await running.until("flights", at_least(20))
        os.kill(broker.pid, signal.SIGKILL)
        await broker.stop()
        running.broker = await fresh_broker()
        await running.until("flights", has("JobCompleted"), seconds=120)
        await assert_exactly_once(running, "flights", FEWER_ROWS)


async def test_a_pause_takes_effect_within_two_seconds_and_survives_a_restart_of_the_service(
    tmp_path: Path, fresh_broker: FreshBroker
) -> None:
    broker = await fresh_broker()
    async with service(tmp_path, broker, batch_bytes=BATCH_BYTES) as running:
        await running.create("flights", people(tmp_path, FEWER_ROWS), timestamp_field="when")
        await running.until("flights", at_least(20))
        await running.send(PauseJob, "flights")
        await running.until("flights", has("JobPaused"))
    await broker.stop()

    async with service(tmp_path, await fresh_broker(), batch_bytes=BATCH_BYTES) as running:
        events = await running.until("flights", has("JobPaused"))
        (paused,) = (event for event in events if isinstance(event, JobPaused))
        await running.send(ResumeJob, "flights")
        events = await running.until("flights", has("JobCompleted"))
        (resumed,) = (event for event in events if type(event).__name__ == "JobResumed")
        late = [event for event in events if isinstance(event, JobProgressed) and paused.seq < event.seq < resumed.seq]
        assert all((event.occurred_at - paused.occurred_at).total_seconds() < 2 for event in late)
        assert kinds(events)[-2:] == ["JobSynced", "JobCompleted"]
        await assert_exactly_once(running, "flights", FEWER_ROWS)


def cpu_seconds(running: Service) -> dict[str, float]:
    times = {name: psutil.Process(running.pid(*name.rsplit("-", 1))).cpu_times() for name in running.restarters}
    return {name: time.user + time.system for name, time in times.items()}
