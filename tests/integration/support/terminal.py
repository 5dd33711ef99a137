"""`entrepot up` in a terminal, and other commands beside it in pipes."""

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
# What runs in a terminal heeds its closing, also when these tests were started with nohup and ignore it.
HEEDS_HANG_UP = "signal.signal(signal.SIGHUP, signal.SIG_DFL)"
IN_TERMINAL = (
    f"import os, pty, signal, sys; {HEEDS_HANG_UP}; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
)
PATIENCE = 90.0


class Up:
    """An `entrepot up` in a terminal of its own, so that Ctrl-C is what a terminal makes of it."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ENTREPOT_")}
        self.environment = kept | {"ENTREPOT_DATA_DIR": str(data_dir), "ENTREPOT_BROKER_PORT": "0", "COLUMNS": "200"}
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

    def shows(self, pattern: str) -> re.Match[str]:
        """Wait until the screen has a text, and return it; what was there before doesn't count again."""
        assert self._terminal.stdout is not None
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.screen)):
            assert time.monotonic() < deadline, f"{pattern!r} doesn't come:\n{self.screen}"
            if select.select([self._terminal.stdout], [], [], 1.0)[0]:
                some = os.read(self._terminal.stdout.fileno(), 65536)
                assert some, f"it ended without {pattern!r}:\n{self.screen}"
                self.screen += some.decode(errors="replace")
        self.screen = self.screen[found.end() :]
        return found

    def press(self, key: bytes) -> None:
        assert self._terminal.stdin is not None
        self._terminal.stdin.write(key)
        self._terminal.stdin.flush()

    def ends(self) -> int:
        """Wait for the end and return the exit code."""
        assert self._terminal.stdout is not None
        self.screen += self._terminal.stdout.read().decode(errors="replace")
        return self._terminal.wait(PATIENCE)

    def close_terminal(self) -> None:
        """End what holds the terminal: the kernel hangs up on whoever is in it."""
        self._terminal.kill()

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run another command in a pipe."""
        return subprocess.run(
            [*ENTREPOT, *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            env=self.environment | environment,
        )

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def close(self) -> None:
        if self._terminal.poll() is None:
            for each in (*psutil.Process(self._terminal.pid).children(recursive=True), self._terminal):
                each.kill()
            self._terminal.wait()
        for stream in (self._terminal.stdin, self._terminal.stdout):
            assert stream is not None
            stream.close()
