"""A continuous job without news is polled: nothing is written while nothing happens."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.runner import run as module
from app.runner.slots import Turn
from app.runner.source_reader import SLOW_SECONDS
from connectors.contract import Limits
from projections.jobs.state import Paused, Sleeping, is_polled
from schemas.commands import ConfigureJob, PauseJob, RunJob
from schemas.events import JobErrored, JobStarted
from schemas.policies import DEFAULT_RETRY, BlackoutWindow, Cadence
from tests.unit.runner.jobs import START, batch, twin
from tests.unit.runner.runner_twin import RunnerTwin

EVERY_SECOND = Cadence(kind="continuous", every_seconds=1)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.ndjson"
    path.write_text('{"id":1}\n')
    return path


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def remove(path: Path) -> None:
    path.unlink()


def import_of(path: Path, cadence: Cadence) -> dict[str, Any]:
    configuration = json.dumps({"source": str(path), "stream": "rows"})
    return {"provider": "file", "configuration": configuration, "cadence": cadence, "pass_started_at": START}


@asynccontextmanager
async def caught_up(path: Path, cadence: Cadence = EVERY_SECOND) -> AsyncIterator[RunnerTwin]:
    """A runner whose job has read its file, and sleeps until it polls."""
    runner = RunnerTwin(Limits(file_roots=(path.parent,)), 1, job=import_of(path, cadence))
    async with runner.running():
        await runner.until(lambda: is_polled(runner.state("job")))
        yield runner


@pytest.mark.parametrize(
    "cadence", [EVERY_SECOND, Cadence(kind="continuous"), Cadence(kind="interval", every_seconds=20)]
)
async def test_a_job_without_news_writes_nothing(rows: Path, cadence: Cadence) -> None:
    async with caught_up(rows, cadence) as runner:
        events, written = list(runner.events), runner.written
        for _ in range(600):
            await runner.step(1.0)
        assert (runner.events, runner.written) == (events, written)
        append(rows, '{"id":2}\n')
        await runner.until(lambda: len(runner.rows("rows")) == 2, seconds=1.0)
        assert runner.rows("rows") == [b'{"id":1}', b'{"id":2}']
        await runner.until(lambda: is_polled(runner.state("job")))
        assert runner.state("job").run == 2


async def test_an_hourly_job_records_each_of_its_runs(rows: Path) -> None:
    hourly = Cadence(kind="interval", every_seconds=3600)
    runner = RunnerTwin(Limits(file_roots=(rows.parent,)), 1, job=import_of(rows, hourly))
    async with runner.running():
        await runner.until(lambda: isinstance(runner.state("job").phase, Sleeping))
        await runner.step(3600.0)
        await runner.until(lambda: len(runner.of("job", JobStarted)) == 1)


async def test_an_error_of_a_poll_is_reported_by_a_run(rows: Path) -> None:
    async with caught_up(rows) as runner:
        remove(rows)
        await runner.until(lambda: runner.of("job", JobErrored), seconds=1.0)
        assert runner.of("job", JobErrored)[0].code == "file_not_found"
        assert runner.state("job").run == 2


async def test_a_poll_ends_with_the_wait_of_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = asyncio.Event()

    async def read(_config: Any, cursor: Any, _limits: Any) -> AsyncIterator[Any]:
        if cursor:
            hangs.set()
            await asyncio.sleep(3600)
        yield batch(cursor={"row": 2})

    monkeypatch.setattr(module, "connector", twin(read))
    runner = RunnerTwin(Limits(), 1, job={"cadence": EVERY_SECOND, "pass_started_at": START})
    async with runner.running():
        await runner.until(hangs.is_set, seconds=1.0)
        await runner.send(PauseJob, "job")
        await runner.until(lambda: isinstance(runner.state("job").phase, Paused))
        await runner.until(lambda: not runner.partition._polls)
        assert runner.of("job", JobStarted) == []


async def test_a_poll_lends_its_slot_while_it_waits_for_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = asyncio.Event()

    async def read(_config: Any, cursor: Any, _limits: Any) -> AsyncIterator[Any]:
        if cursor:
            waits.set()
            await asyncio.sleep(3600)
        yield batch(cursor={"row": 2})

    monkeypatch.setattr(module, "connector", twin(read))
    runner = RunnerTwin(Limits(), 1, job={"cadence": EVERY_SECOND, "pass_started_at": START})
    async with runner.running():
        await runner.until(waits.is_set, seconds=1.0)
        other = Turn(runner.context.slots["import"], evict=lambda: None)
        asking = asyncio.create_task(other.acquire())
        await runner.step()
        assert not asking.done()
        await runner.step(SLOW_SECONDS)
        assert asking.done()
        other.end()


async def test_a_run_on_request_does_not_wait_for_a_poll(rows: Path) -> None:
    async with caught_up(rows) as runner:
        await runner.step(1.0)
        await runner.send(RunJob, "job")
        await runner.until(lambda: runner.state("job").run == 2 and is_polled(runner.state("job")))


async def test_a_blackout_window_is_not_polled(rows: Path) -> None:
    night = BlackoutWindow(start="22:00", end="06:00")
    cadence = Cadence(kind="continuous", every_seconds=1, blackout_windows=(night,))
    async with caught_up(rows, cadence) as runner:
        await runner.step(timedelta(hours=14).total_seconds())  # 23:00
        await runner.until(lambda: not is_polled(runner.state("job")))
        phase = runner.state("job").phase
        assert isinstance(phase, Sleeping)
        assert phase.reason == "blackout_window"


async def test_a_waiting_job_follows_a_new_schedule(rows: Path) -> None:
    async with caught_up(rows) as runner:
        await runner.step(100.0)
        nightly = Cadence(kind="cron", cron="0 3 * * *")
        await runner.send(
            ConfigureJob, "job", configuration=runner.state("job").configuration, cadence=nightly, retry=DEFAULT_RETRY
        )
        for _ in range(60):
            await runner.step(60.0)
        assert runner.of("job", JobStarted) == []
        await runner.until(lambda: runner.of("job", JobStarted), seconds=3600.0)
