"""One role as a child process. Starting it again is `keeping`'s work."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final

from app.roles import ProcessRole
from app.supervisor.process_log import RoleLog
from app.supervisor.restarts import NotStartedError

GRACE_SECONDS: Final = 35.0  # a role gives itself thirty to finish its batch and commit
LINE_BYTES: Final = 1024 * 1024


def command_of(role: ProcessRole) -> tuple[str, ...]:
    """Return the command line of a role that ends when this process does."""
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
        """Start the process; it is up when the system has made it."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env=dict(self._environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=LINE_BYTES,
                process_group=0,
            )
        except OSError as error:
            raise NotStartedError(f"{self.name} can't be started: {error}") from error
        assert process.stdout is not None
        self._process = process
        self._reading = asyncio.create_task(self._read(process.stdout), name=f"read {self.name}")

    async def ended(self) -> str:
        """Wait for the end of the process and of its output."""
        assert self._process is not None
        assert self._reading is not None
        code = await self._process.wait()
        await self._reading
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        return f"{self.name} ended with {how}: {self._log.last_line or 'it said nothing'} ({self._log.path})"

    async def stop(self) -> None:
        """Send SIGTERM, and SIGKILL when the grace is over."""
        self._send(signal.SIGTERM)
        if self._process is None:
            return
        try:
            await asyncio.wait_for(self._process.wait(), GRACE_SECONDS)
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
        while line := await _line(output):
            self._log.line(line.decode(errors="replace").rstrip("\n"))


async def _line(output: asyncio.StreamReader) -> bytes:
    """Return a line, or what came of it: a longer one than the buffer comes in pieces."""
    try:
        return await output.readuntil()
    except asyncio.IncompleteReadError as last:
        return last.partial
    except asyncio.LimitOverrunError as long:
        return await output.readexactly(long.consumed)
