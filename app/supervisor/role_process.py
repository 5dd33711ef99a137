"""One role as a child process. Restarts are the task of `restarts`."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from app.roles import ProcessRole
from app.supervisor.fork_server import ForkServer, ForkServerError, request_line
from app.supervisor.process_log import RoleLog
from app.supervisor.restarts import NotStartedError

FORK_SERVER: Final = (sys.executable, "-m", "app.cli.service.fork_server")
STOP_TIMEOUT_SECONDS: Final = 35.0  # a role has 30 s to finish its batch and commit
MAX_LINE_BYTES: Final = 1024 * 1024


def arguments_of(role: ProcessRole) -> tuple[str, ...]:
    """Return the command of a role, as a fork of `FORK_SERVER` runs it."""
    return ("worker", role.name, "--supervised")


class RoleProcess:
    """A role in a process group of its own, so that Ctrl-C in the terminal reaches the supervisor alone."""

    def __init__(
        self, name: str, forks: ForkServer, arguments: tuple[str, ...], environment: Mapping[str, str], log: RoleLog
    ) -> None:
        self.name = name
        self._forks = forks
        self._arguments = arguments
        self._environment = environment
        self._log = log
        self._pid: int | None = None
        self._exit: asyncio.Task[int] | None = None

    @property
    def pid(self) -> int | None:
        """The process id; None while there is no process."""
        return self._pid

    async def start(self) -> None:
        """Start the process. It counts as up once it exists."""
        try:
            pid, connection = await asyncio.to_thread(self._forks.fork)
        except ForkServerError as error:
            raise NotStartedError(f"can't start {self.name}: {error}") from error
        output, writer = await asyncio.open_unix_connection(sock=connection, limit=MAX_LINE_BYTES)
        writer.write(request_line(self._arguments, self._environment))
        self._pid = pid
        self._exit = asyncio.create_task(self._follow(pid, output, writer), name=f"follow {self.name}")

    async def wait(self) -> str:
        """Wait for the end of the process and of its output, and describe its exit."""
        assert self._exit is not None
        code = await asyncio.shield(self._exit)
        status = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        return f"{self.name} exited with {status}: {self._log.last_line or 'no output'} ({self._log.path})"

    async def stop(self) -> None:
        """Send SIGTERM, and SIGKILL after a timeout."""
        self._send(signal.SIGTERM)
        if self._exit is None:
            return
        await asyncio.wait((self._exit,), timeout=STOP_TIMEOUT_SECONDS)
        self.kill()
        await asyncio.wait((self._exit,))

    def kill(self) -> None:
        """Send SIGKILL."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError):  # it has exited with the fork server
                os.kill(self._pid, number)

    async def _follow(self, pid: int, output: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """Log the output, and return the exit code. The id of the process is in use until then."""
        try:
            with suppress(ConnectionError):  # it exited before it had read its arguments
                while line := await _read_line(output):
                    self._log.write(line.decode(errors="replace").rstrip("\n"))
        finally:
            writer.close()
            self.kill()  # it can't be followed without output; an exiting process keeps its exit code
            self._pid = None
            code = await asyncio.to_thread(self._forks.reap, pid)
        return code


async def _read_line(output: asyncio.StreamReader) -> bytes:
    """Return the next line. A line longer than the buffer is returned in parts."""
    try:
        return await output.readuntil()
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await output.readexactly(error.consumed)
