"""A process that ends is started again, at growing distances, and stops when it is told to."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from app.supervisor.process_log import RoleLog
from app.supervisor.restarts import HEALTHY_SECONDS, Backoff, NotStartedError, Restarter
from app.supervisor.role_process import RoleProcess

Make = Callable[..., Restarter]


class Console:
    """What a person would have seen, and a way to wait for it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = asyncio.Condition()
        self._loop = asyncio.get_running_loop()

    def say(self, line: str) -> None:
        self.lines.append(line)
        self._loop.create_task(self._tell())

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    async def shows(self, text: str, times: int = 1) -> None:
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: sum(text in line for line in self.lines) >= times)


@pytest.fixture
async def console() -> Console:
    return Console()


@pytest.fixture
async def kept(tmp_path: Path, console: Console) -> AsyncIterator[Make]:
    restarters: list[Restarter] = []
    log = RoleLog(tmp_path / "logs" / "control.log", console.say)

    def make(script: str) -> Restarter:
        part = RoleProcess("control", (sys.executable, "-u", "-c", script), os.environ, log)
        restarters.append(Restarter(part, console.say))
        return restarters[-1]

    yield make
    for each in restarters:
        each.part.kill()
        await each.stop()
    log.close()


async def test_a_role_that_ends_is_started_again_and_the_console_says_why(kept: Make, console: Console) -> None:
    await kept("import sys; print('no disk'); sys.exit(3)").start()
    await console.shows("control ended with exit code 3: no disk", times=2)
    assert "restarting in 0.2 s" in console.lines[0]
    assert "restarting in 0.4 s" in console.lines[1]


async def test_a_role_that_is_killed_is_started_again(kept: Make, console: Console, tmp_path: Path) -> None:
    script = "import os, time; print('2026 WARNING me: pid', os.getpid()); time.sleep(60)"
    await kept(script).start()
    await console.shows("pid")
    os.kill(int(console.lines[0].split()[-1]), signal.SIGKILL)
    await console.shows("control ended with signal SIGKILL")
    await console.shows("WARNING me: pid", times=2)


async def test_a_role_is_told_to_stop_and_is_not_started_again(kept: Make, console: Console) -> None:
    graceful = "import signal, sys; signal.signal(15, lambda *_: sys.exit(0)); print('x ERROR up'); signal.pause()"
    restarter = kept(graceful)
    await restarter.start()
    await console.shows("up")
    await restarter.stop()
    assert console.lines == ["x ERROR up"]


async def test_stopping_in_the_pause_between_two_starts_is_at_once(kept: Make, console: Console) -> None:
    restarter = kept("raise SystemExit(1)")
    await restarter.start()
    await console.shows("restarting in 0.8 s")
    async with asyncio.timeout(0.5):
        await restarter.stop()


class SlowPart:
    """Ends at once when it was started for the first time; after that its start takes until it is let go."""

    name = "control"

    def __init__(self) -> None:
        self.starts = 0
        self.runs = False
        self.starting_again = asyncio.Event()
        self.let_go = asyncio.Event()
        self._ended = asyncio.Event()

    async def start(self) -> None:
        self.starts += 1
        if self.starts == 1:
            self._ended.set()
            return
        self.starting_again.set()
        await self.let_go.wait()
        self._ended.clear()
        self.runs = True

    async def ended(self) -> str:
        await self._ended.wait()
        return "control ended"

    async def stop(self) -> None:
        self.kill()

    def kill(self) -> None:
        self.runs = False
        self._ended.set()


async def test_stopping_in_the_middle_of_a_start_stops_what_has_just_started(console: Console) -> None:
    part = SlowPart()
    restarter = Restarter(part, console.say)
    async with asyncio.timeout(10):
        await restarter.start()
        await part.starting_again.wait()
        stopping = asyncio.create_task(restarter.stop())
        asyncio.get_running_loop().call_soon(part.let_go.set)
        await stopping
    assert (part.starts, part.runs) == (2, False)


async def test_what_cannot_be_started_the_first_time_is_an_error(tmp_path: Path, console: Console) -> None:
    log = RoleLog(tmp_path / "x.log", console.say)
    restarter = Restarter(RoleProcess("control", ("/no/such/program",), {}, log), console.say)
    with pytest.raises(NotStartedError, match="control can't be started"):
        await restarter.start()


async def test_a_line_longer_than_the_buffer_comes_in_pieces(kept: Make, console: Console, tmp_path: Path) -> None:
    await kept("print('é' * 3_000_000); print('x ERROR done'); raise SystemExit").start()
    await console.shows("done")
    assert (tmp_path / "logs" / "control.log").read_text().count("é") >= 2_999_990


def test_pauses_double_to_ten_seconds_and_start_over_after_a_healthy_run() -> None:
    pauses = Backoff()
    assert [pauses.after(1.0) for _ in range(8)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert [pauses.after(HEALTHY_SECONDS), pauses.after(1.0)] == [0.2, 0.4]
