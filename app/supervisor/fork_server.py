"""Fork roles from a process that has imported them: they start without imports, and share the memory of the code.

The supervisor talks to the fork server over a socket, the server's standard input. Each request is answered by an
integer:

- `fork`, with a socket attached (SCM_RIGHTS): forks. The answer is the process id, or a negative error number.
- `reap PID`: waits until a fork has exited. The answer is its exit code, negative if a signal ended it. No other
  process gets the id before that, so the supervisor can send signals to it.

A fork reads one line from its own socket, a JSON array of arguments and environment, and writes its output to it. The
fork server exits when the supervisor has closed its socket or has exited, and the forks exit with the fork server.
"""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import setproctitle

from app.process import exit_with_parent
from app.supervisor.restarts import NotStartedError

# Blocked in the fork server: if it exited on a signal that all processes get, its forks would be killed. Blocked in a
# fork until it is ready, so that no early signal is lost.
SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOST: Final = -signal.SIGKILL  # the exit code of forks that exited with their fork server
MAX_BYTES: Final = 64  # of a request and of an answer


class ForkServerError(NotStartedError):
    """The fork server could not be started, could not fork, or has exited."""


class ForkServer:
    """The supervisor's side. `command` runs `serve`. Methods block, and are safe to call from several threads.

    The system shows `environment` as that of the forks (`ps e`, `/proc/PID/environ`), so it should have their settings.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
        self._command = command
        self._environment = {**environment, "SPT_NOENV": "1"}  # setproctitle would overwrite what the system shows
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Start the fork server unless it is running. It imports in the background."""
        with self._lock:
            self._start()

    def fork(self) -> tuple[int, socket.socket]:
        """Fork a process, and return its id and our end of its socket. Start the fork server if necessary.

        Raises:
            ForkServerError: there is no fork.

        """
        ours, theirs = socket.socketpair()
        with theirs, self._lock:
            try:
                return self._fork(theirs), ours
            except ForkServerError:
                ours.close()
                raise

    def reap(self, pid: int) -> int:
        """Wait until a fork has exited, and return its exit code, or the negative number of the signal that ended it.

        The fork server waits as long, so call it when the fork is exiting.
        """
        with self._lock:
            if self._control is None:
                return LOST
            try:
                return _ask(self._control, f"reap {pid}")
            except ForkServerError:
                return LOST

    def close(self) -> None:
        """End the fork server, and with it all forks that still run."""
        with self._lock:
            if self._control is not None and self._process is not None:
                self._control.close()
                self._process.wait()

    def _fork(self, connection: socket.socket) -> int:
        answer = _ask(self._start(), "fork", connection)
        if answer < 0:
            raise ForkServerError(os.strerror(-answer))
        return answer

    def _start(self) -> socket.socket:
        if self._control is not None and self._process is not None and self._process.poll() is None:
            return self._control
        if self._control is not None:
            self._control.close()
        self._control, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603  # a command of our own
                    self._command, stdin=theirs.fileno(), process_group=0, env=self._environment
                )
            except OSError as error:
                self._control.close()
                raise ForkServerError(f"{self._command[0]}: {error.strerror}") from error
        return self._control


def _ask(control: socket.socket, request: str, *attached: socket.socket) -> int:
    try:
        socket.send_fds(control, [request.encode()], [item.fileno() for item in attached])
        answer = control.recv(MAX_BYTES)
    except OSError as error:
        raise ForkServerError(f"the fork server exited: {error.strerror}") from error
    if not answer:
        raise ForkServerError("the fork server exited; it has printed the reason")
    return int(answer)


def serve() -> list[str]:
    """Serve requests on standard input. Return in each fork, with its arguments.

    Call it in a process with one thread: a fork has no other.
    """
    server = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    with socket.socket(fileno=0) as control:
        while True:
            request, descriptors, _, _ = socket.recv_fds(control, MAX_BYTES, 1)
            if not request:
                sys.exit()
            if not descriptors:
                answer = _exit_code(int(request.split()[1]))
            else:
                with socket.socket(fileno=descriptors[0]) as connection:
                    answer = _fork()
                    if answer == 0:
                        exit_with_parent(server)
                        control.detach()  # its descriptor is replaced
                        return _receive_arguments(connection)
            control.sendall(str(answer).encode())


def _fork() -> int:
    """Return what `fork` does, or a negative error number."""
    try:
        return os.fork()
    except OSError as error:
        return -(error.errno or errno.EAGAIN)


def _exit_code(pid: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except ChildProcessError:  # a fork of the fork server before this one
        return LOST


def _receive_arguments(connection: socket.socket) -> list[str]:
    """Make a fork a process of its own that writes to its connection, and return its arguments."""
    os.setpgid(0, 0)  # Ctrl-C in the terminal reaches the supervisor alone
    with connection.makefile("rb") as lines:
        line = lines.readline()
    if not line:
        sys.exit()  # the supervisor has exited
    arguments: list[str]
    arguments, environment = json.loads(line)
    setproctitle.setproctitle(" ".join(["entrepot", *arguments]))  # it looks for the environment of the start
    os.environ.clear()
    os.environ.update(environment)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for descriptor in (1, 2):
        os.dup2(connection.fileno(), descriptor)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return arguments


def request_line(arguments: Sequence[str], environment: Mapping[str, str]) -> bytes:
    """Return the line that a fork waits for."""
    return json.dumps([arguments, dict(environment)]).encode() + b"\n"
