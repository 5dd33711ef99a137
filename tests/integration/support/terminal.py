"""`entrepot up` in a terminal, and other commands in pipes."""

import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

ENTREPOT = (sys.executable, "-m", "app.cli.main")
# Restore the default, in case the tests were started with nohup and therefore ignore SIGHUP.
RESTORE_HANG_UP = "signal.signal(signal.SIGHUP, signal.SIG_DFL)"
IN_TERMINAL = (
    f"import os, pty, signal, sys; {RESTORE_HANG_UP}; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
)
TIMEOUT_SECONDS = 90.0


class Up:
    """An `entrepot up` in a terminal of its own, so that Ctrl-C reaches it as a terminal sends it."""

    def __init__(self, data_dir: Path, *arguments: str, **environment: str) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ENTREPOT_")}
        self.environment = inherited | {
            "ENTREPOT_DATA_DIR": str(data_dir),
            "ENTREPOT_BROKER_PORT": "0",
            "COLUMNS": "200",
            **environment,
        }
        self.data_dir = data_dir
        self.screen = ""
        self._terminal = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL, *ENTREPOT, "up", "--port", "0", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
        )

    @property
    def supervisor(self) -> psutil.Process:
        return psutil.Process(int((self.data_dir / "supervisor.lock").read_text()))

    def role(self, name: str) -> psutil.Process:
        """Return the process of a role."""
        children = self.supervisor.children(recursive=True)
        return next(child for child in children if f"worker {name}" in " ".join(child.cmdline()))

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the screen matches, and return the match; the next wait starts behind it."""
        assert self._terminal.stdout is not None
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while not (match := re.search(pattern, self.screen)):
            assert time.monotonic() < deadline, f"{pattern!r} not shown:\n{self.screen}"
            if select.select([self._terminal.stdout], [], [], 1.0)[0]:
                output = os.read(self._terminal.stdout.fileno(), 65536)
                assert output, f"ended without {pattern!r}:\n{self.screen}"
                self.screen += output.decode(errors="replace")
        self.screen = self.screen[match.end() :]
        return match

    def press(self, key: bytes) -> None:
        assert self._terminal.stdin is not None
        self._terminal.stdin.write(key)
        self._terminal.stdin.flush()

    def wait(self) -> int:
        """Wait for the exit and return the code."""
        assert self._terminal.stdout is not None
        self.screen += self._terminal.stdout.read().decode(errors="replace")
        return self._terminal.wait(TIMEOUT_SECONDS)

    def close_terminal(self) -> None:
        """Kill the process that holds the terminal: the kernel sends SIGHUP to the processes in it."""
        self._terminal.kill()

    def run(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run another command, with its input and output in pipes."""
        return subprocess.run(
            [*ENTREPOT, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_SECONDS,
            env=self.environment | environment,
        )

    def json(self, *arguments: str) -> Any:
        completed = self.run(*arguments, "-o", "json")
        assert completed.returncode == 0, completed.stderr
        return json.loads(completed.stdout)

    def close(self) -> None:
        if self._terminal.poll() is None:
            for child in (*psutil.Process(self._terminal.pid).children(recursive=True), self._terminal):
                child.kill()
            self._terminal.wait()
        for stream in (self._terminal.stdin, self._terminal.stdout):
            assert stream is not None
            stream.close()
