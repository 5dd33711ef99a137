"""Abort the process on a failure that endangers delivery guarantees, without committing.

The abort must bypass Faust's graceful stop, which commits offsets whose results may be lost.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from typing import Final

EXIT_LATCHED: Final = 70  # EX_SOFTWARE: the supervisor restarts the worker, which repeats uncommitted work

_log = logging.getLogger(__name__)


class WorkerStop(Exception):
    """An agent must not continue: the process exits with `exit_code`, and logs the message without a traceback."""

    exit_code: int = EXIT_LATCHED


def exit_immediately(code: int) -> None:
    """Flush the logs and exit, without any other cleanup."""
    for handler in logging.getLogger().handlers:
        with contextlib.suppress(Exception):  # a full disk must not prevent the exit
            handler.flush()
    os._exit(code)


class Latch:
    """Trips once, from any thread. Afterwards nothing is committed, even if `exit_process` returns, as in tests."""

    def __init__(self, exit_process: Callable[[int], None] = exit_immediately) -> None:
        self._exit_process = exit_process
        self._lock = threading.Lock()
        self._reason: str | None = None
        self.exit_code = EXIT_LATCHED

    @property
    def reason(self) -> str | None:
        """The first failure, for the operator; None before a failure."""
        return self._reason

    def trip(self, reason: str, cause: BaseException | None = None) -> None:
        """Record the first failure and exit. Later failures are consequences and are ignored."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
        if isinstance(cause, WorkerStop):
            self.exit_code = cause.exit_code
            _log.critical("stopping without commit: %s", cause)
        else:
            message = "aborting without commit: %s; uncommitted work is repeated after the restart"
            _log.critical(message, reason, exc_info=cause)
        self._exit_process(self.exit_code)
