"""The one way out when a promise can't be kept: remember the first failure and leave without committing.

It must never go through Faust's graceful stop, because that commits offsets whose effects may be gone.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from typing import Final

EXIT_LATCHED: Final = 70  # EX_SOFTWARE: a supervisor starts the worker again, and it repeats what wasn't committed

_log = logging.getLogger(__name__)


def leave_at_once(code: int) -> None:
    """End the process here and now, with its logs written and nothing else done."""
    for handler in logging.getLogger().handlers:
        with contextlib.suppress(Exception):  # a full disk must not keep the process alive
            handler.flush()
    os._exit(code)


class Latch:
    """Trips once, from any thread. After that nothing is committed, even when `leave` returns as it does in tests."""

    def __init__(self, leave: Callable[[int], None] = leave_at_once) -> None:
        self._leave = leave
        self._lock = threading.Lock()
        self._reason: str | None = None

    @property
    def reason(self) -> str | None:
        """Why the worker leaves: the first failure, in words for a person; None while all is well."""
        return self._reason

    def trip(self, reason: str, cause: BaseException | None = None) -> None:
        """Record the first failure and leave; later ones are only consequences and are ignored."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
        _log.critical(
            "leaving without committing: %s; what wasn't committed is repeated after the restart",
            reason,
            exc_info=cause,
        )
        self._leave(EXIT_LATCHED)
