"""Forks: their environment, their exit, and the end of the fork server."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import psutil
import pytest

from app.supervisor.fork_server import ForkServer, ForkServerError
from app.supervisor.process_log import RoleLog
from app.supervisor.role_process import RoleProcess
from tests.unit.supervisor.scripts import SCRIPTS

PRELOAD = "import os; from app.roles import preload; preload(); print(len(os.listdir('/proc/self/task')))"
TIMEOUT_SECONDS = 10
Make = Callable[..., RoleProcess]


@pytest.fixture
async def forks() -> AsyncIterator[ForkServer]:
    server = ForkServer(SCRIPTS)
    yield server
    server.close()


@pytest.fixture
async def make(forks: ForkServer, tmp_path: Path) -> AsyncIterator[Make]:
    log = RoleLog(tmp_path / "role.log", print)
    processes: list[RoleProcess] = []

    def process(script: str, environment: Mapping[str, str] = os.environ) -> RoleProcess:
        processes.append(RoleProcess("role", forks, (script,), environment, log))
        return processes[-1]

    yield process
    for started in processes:
        await started.stop()
    log.close()


async def exit_of(process: RoleProcess) -> str:
    return await asyncio.wait_for(process.wait(), TIMEOUT_SECONDS)


def server_of(process: RoleProcess) -> psutil.Process:
    server = psutil.Process(process.pid).parent()
    assert server is not None
    return server


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_the_system_shows_the_environment_of_the_fork_server(tmp_path: Path) -> None:
    server, log = ForkServer(SCRIPTS, {**os.environ, "SHOWN": "settings"}), RoleLog(tmp_path / "role.log", print)
    script = "import pathlib; print(b'SHOWN=settings' in pathlib.Path('/proc/self/environ').read_bytes().split(b'\\0'))"
    process = RoleProcess("role", server, (script,), {}, log)
    await process.start()
    assert "code 0: True" in await exit_of(process)
    server.close()
    log.close()


async def test_a_fork_has_the_environment_of_its_request_alone(make: Make) -> None:
    process = make("import os; print(sorted(os.environ.items()))", {"NAME": "ü\udcff", "OTHER": ""})
    await process.start()
    assert "code 0: [('NAME', 'ü\\udcff'), ('OTHER', '')]" in await exit_of(process)


async def test_a_fork_reads_no_input_and_has_a_process_group_of_its_own(make: Make) -> None:
    process = make(
        "import os, sys; print(repr(sys.stdin.read()), os.getpgid(0) == os.getpid(), os.listdir('/proc/self/fd'))"
    )
    await process.start()
    assert "'' True ['0', '1', '2', '3']" in await exit_of(process), "3 lists the directory"


async def test_the_list_of_processes_shows_the_arguments_of_a_fork(make: Make) -> None:
    process = make("import signal; signal.pause()", {"NAME": "ü"})
    await process.start()
    assert process.pid is not None
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while psutil.Process(process.pid).cmdline()[0] != "entrepot import signal; signal.pause()":
            await asyncio.sleep(0.01)


async def test_a_signal_right_after_the_start_is_not_lost(make: Make) -> None:
    for _ in range(50):
        process = make("import signal; signal.pause()")
        await process.start()
        await asyncio.wait_for(process.stop(), TIMEOUT_SECONDS)
        assert "signal SIGTERM" in await exit_of(process)


async def test_a_fork_gets_the_signals_that_its_fork_server_blocks(make: Make) -> None:
    process = make("import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))")
    await process.start()
    assert "code 0: set()" in await exit_of(process)


async def test_the_fork_server_outlives_signals_to_all_processes(make: Make) -> None:
    process = make("import signal; signal.pause()")
    await process.start()
    server = server_of(process)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        server.send_signal(number)
    second = make("print('forked')")
    await second.start()
    assert "code 0: forked" in await exit_of(second)
    assert server_of(process) == server


async def test_forks_exit_with_their_fork_server_and_the_next_start_replaces_it(make: Make) -> None:
    process = make("import signal; signal.pause()")
    await process.start()
    server_of(process).kill()
    assert "signal SIGKILL" in await exit_of(process)
    second = make("print('forked')")
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            try:
                await second.start()
            except ForkServerError:
                continue  # its exit has not been noticed yet
            break
    assert "code 0: forked" in await exit_of(second)


async def test_closing_ends_the_forks(make: Make, forks: ForkServer) -> None:
    process = make("import signal; signal.pause()")
    await process.start()
    forks.close()
    assert "signal SIGKILL" in await exit_of(process)


async def test_a_fork_that_closes_its_output_is_killed(make: Make) -> None:
    process = make("import os, signal; os.close(1); os.close(2); signal.pause()")
    await process.start()
    assert "signal SIGKILL" in await exit_of(process)


def test_a_fork_server_that_cannot_import_is_an_error() -> None:
    server = ForkServer((sys.executable, "-c", "import sys; sys.exit('no such module')"))
    with pytest.raises(ForkServerError, match="the fork server exited"):
        server.fork()
    server.close()


@pytest.mark.slow
def test_preloading_starts_no_thread() -> None:
    assert subprocess.run([sys.executable, "-c", PRELOAD], capture_output=True, check=True, text=True).stdout == "1\n"
