"""One role as a child process. Restarts are the task of `restarts`."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final

from app.roles import ProcessRole
from app.supervisor.process_log import RoleLog
from app.supervisor.restarts import NotStartedError

STOP_TIMEOUT_SECONDS: Final = 35.0  # a role has 30 s to finish its batch and commit
MAX_LINE_BYTES: Final = 1024 * 1024


def command_of(role: ProcessRole) -> tuple[str, ...]:
    """Return the command line of a role that exits with this process."""
    return (sys.executable, "-m", "app.cli.main", "worker", role.name, "--supervisor", str(os.getpid()))


class RoleProcess:
    """A role in a process group of its own, so that Ctrl-C in the terminal reaches the supervisor alone."""

    def __init__(self, name: str, command: tuple[str, ...], environment: Mapping[str, str], log: RoleLog) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process. It counts as up once it exists."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env=dict(self._environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=MAX_LINE_BYTES,
                process_group=0,
            )
        except OSError as error:
            raise NotStartedError(f"can't start {self.name}: {error}") from error
        assert process.stdout is not None
        self._process = process
        self._reading = asyncio.create_task(self._read(process.stdout), name=f"read {self.name}")

    async def wait(self) -> str:
        """Wait for the end of the process and of its output, and describe its exit."""
        assert self._process is not None
        assert self._reading is not None
        code = await self._process.wait()
        await self._reading
        status = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        return f"{self.name} exited with {status}: {self._log.last_line or 'no output'} ({self._log.path})"

    async def stop(self) -> None:
        """Send SIGTERM, and SIGKILL after a timeout."""
        self._send(signal.SIGTERM)
        if self._process is None:
            return
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_SECONDS)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def _read(self, output: asyncio.StreamReader) -> None:
        while line := await _read_line(output):
            self._log.write(line.decode(errors="replace").rstrip("\n"))


async def _read_line(output: asyncio.StreamReader) -> bytes:
    """Return the next line. A line longer than the buffer is returned in parts."""
    try:
        return await output.readuntil()
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await output.readexactly(error.consumed)
