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
        _log.critical(
            "aborting without commit: %s; uncommitted work is repeated after the restart",
            reason,
            exc_info=cause,
        )
        self._exit_process(EXIT_LATCHED)
