"""The output of a supervised process: written to a file of bounded size; warnings also go to the console."""

import logging
import re
import time
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final

from typing_extensions import override

from app.process import Monotonic
from app.sentences.escapes import escaped_lines

FILE_BYTES: Final = 8 * 1024 * 1024
MAX_CONSOLE_LINES: Final = 5  # per interval; further lines are only in the file
WARNING_INTERVAL_SECONDS: Final = 10.0
_TEXT: Final = re.compile(r"^\S+ (?=(?:WARNING|ERROR|CRITICAL) )")  # the time, which the console adds itself
_JSON: Final = re.compile(r'"level":\s*"(warning|error|critical)"')
# Of rebalances, restarts of the broker and a busy machine, which the clients handle themselves: only in the file.
_HARMLESS: Final = re.compile(
    r"^(?=.*\b(?:aiokafka|faust|mode)\b).*(?:Heartbeat (?:failed|session expired|send request failed)"
    r"|arking (?:the )?coordinator dead|Group Coordinator Request failed|not available during auto-create"
    r"|will rejoin|LeaveGroup request failed|OffsetCommit failed before join"
    r"|Timer \S+ (?:is overlapping|woke up too (?:late|early)))"
)


class _File(RotatingFileHandler):
    """A log file that ignores write errors: on a full disk the console still shows warnings."""

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the line."""


class RoleLog:
    """The log of one role across restarts; `show` prints a line to the console."""

    def __init__(self, path: Path, show: Callable[[str], None], monotonic: Monotonic = time.monotonic) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.last_line = ""
        self._file = _File(path, maxBytes=FILE_BYTES, backupCount=1, encoding="utf-8", delay=True)
        self._show = show
        self._monotonic = monotonic
        self._shown = 0
        self._since = monotonic()

    def write(self, text: str) -> None:
        """Write a line, and show it if it is a warning or an error. Unsafe characters are escaped."""
        text = escaped_lines(text)
        self.last_line = text.strip() or self.last_line
        self._file.emit(logging.makeLogRecord({"msg": text}))
        if (_TEXT.match(text) or _JSON.search(text)) and not _HARMLESS.search(text):
            self._show_limited(_TEXT.sub("", text))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _show_limited(self, text: str) -> None:
        now = self._monotonic()
        if now - self._since > WARNING_INTERVAL_SECONDS:
            self._shown, self._since = 0, now
        self._shown += 1
        if self._shown <= MAX_CONSOLE_LINES:
            self._show(text)
        elif self._shown == MAX_CONSOLE_LINES + 1:
            self._show(f"… further messages in {self.path}")
