"""Restarts with exponential back-off, and stopping at any time."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from app.supervisor.fork_server import ForkServer
from app.supervisor.process_log import RoleLog
from app.supervisor.restarts import HEALTHY_SECONDS, Backoff, NotStartedError, Restarter
from app.supervisor.role_process import RoleProcess
from tests.unit.supervisor.scripts import SCRIPTS

Make = Callable[..., Restarter]


class Console:
    """Records console lines, and waits for them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = asyncio.Condition()
        self._loop = asyncio.get_running_loop()

    def notify(self, line: str) -> None:
        self.lines.append(line)
        self._loop.create_task(self._notify_waiters())

    async def _notify_waiters(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def wait_for(self, text: str, times: int = 1) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: sum(text in line for line in self.lines) >= times)


@pytest.fixture
async def console() -> Console:
    return Console()


@pytest.fixture
async def make_restarter(tmp_path: Path, console: Console) -> AsyncIterator[Make]:
    restarters: list[Restarter] = []
    log = RoleLog(tmp_path / "logs" / "control.log", console.notify)
    forks = ForkServer(SCRIPTS)

    def make(script: str) -> Restarter:
        process = RoleProcess("control", forks, (script,), os.environ, log)
        restarters.append(Restarter(process, console.notify))
        return restarters[-1]

    yield make
    for restarter in restarters:
        restarter.process.kill()
        await restarter.stop()
    forks.close()
    log.close()


async def test_a_role_that_exits_is_restarted_and_the_reason_is_shown(make_restarter: Make, console: Console) -> None:
    await make_restarter("import sys; print('no disk'); sys.exit(3)").start()
    await console.wait_for("control exited with code 3: no disk", times=2)
    assert "restarting in 0.2 s" in console.lines[0]
    assert "restarting in 0.4 s" in console.lines[1]


async def test_a_killed_role_is_restarted(make_restarter: Make, console: Console, tmp_path: Path) -> None:
    script = "import os, time; print('2026 WARNING me: pid', os.getpid()); time.sleep(60)"
    await make_restarter(script).start()
    await console.wait_for("pid")
    os.kill(int(console.lines[0].split()[-1]), signal.SIGKILL)
    await console.wait_for("control exited with signal SIGKILL")
    await console.wait_for("WARNING me: pid", times=2)


async def test_a_stopped_role_is_not_restarted(make_restarter: Make, console: Console) -> None:
    graceful = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('x ERROR up'); signal.pause()"
    restarter = make_restarter(graceful)
    await restarter.start()
    await console.wait_for("up")
    await restarter.stop()
    assert console.lines == ["ERROR up"]


async def test_stopping_during_the_delay_is_immediate(make_restarter: Make, console: Console) -> None:
    restarter = make_restarter("raise SystemExit(1)")
    await restarter.start()
    await console.wait_for("restarting in 0.8 s")
    async with asyncio.timeout(0.5):
        await restarter.stop()


class SlowProcess:
    """Exits at once after its first start. The second start blocks until `unblocked` is set."""

    name = "control"

    def __init__(self) -> None:
        self.starts = 0
        self.is_running = False
        self.restarting = asyncio.Event()
        self.unblocked = asyncio.Event()
        self._ended = asyncio.Event()

    async def start(self) -> None:
        self.starts += 1
        if self.starts == 1:
            self._ended.set()
            return
        self.restarting.set()
        await self.unblocked.wait()
        self._ended.clear()
        self.is_running = True

    async def wait(self) -> str:
        await self._ended.wait()
        return "control exited"

    async def stop(self) -> None:
        self.kill()

    def kill(self) -> None:
        self.is_running = False
        self._ended.set()


async def test_stopping_during_a_start_stops_the_new_process(console: Console) -> None:
    process = SlowProcess()
    restarter = Restarter(process, console.notify)
    async with asyncio.timeout(10):
        await restarter.start()
        await process.restarting.wait()
        stopping = asyncio.create_task(restarter.stop())
        asyncio.get_running_loop().call_soon(process.unblocked.set)
        await stopping
    assert (process.starts, process.is_running) == (2, False)


async def test_a_failure_of_the_first_start_is_an_error(tmp_path: Path, console: Console) -> None:
    log = RoleLog(tmp_path / "x.log", console.notify)
    restarter = Restarter(RoleProcess("control", ForkServer(("/no/such/program",)), (), {}, log), console.notify)
    with pytest.raises(NotStartedError, match="can't start control"):
        await restarter.start()


async def test_a_line_longer_than_the_buffer_is_logged_in_parts(
    make_restarter: Make, console: Console, tmp_path: Path
) -> None:
    await make_restarter("print('é' * 3_000_000); print('x ERROR done'); raise SystemExit").start()
    await console.wait_for("done")
    assert (tmp_path / "logs" / "control.log").read_text().count("é") >= 2_999_990


def test_delays_double_to_ten_seconds_and_reset_after_a_healthy_run() -> None:
    backoff = Backoff()
    assert [backoff.after(1.0) for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert [backoff.after(HEALTHY_SECONDS), backoff.after(1.0)] == [0.2, 0.4]
