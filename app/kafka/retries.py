"""Back-off for work that fails while Kafka or another service is unavailable. One policy for all."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import stamina
from stamina.instrumentation import set_on_retry_hooks

INITIAL_DELAY_SECONDS: Final = 0.1
MAX_DELAY_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)

T = TypeVar("T")

set_on_retry_hooks([])  # `retry` writes the log lines


async def retry(
    work: Callable[[], Awaitable[T]],
    on: tuple[type[Exception], ...],
    *,
    name: str = "",
    give_up_after: float | None = None,
) -> T:
    """Call `work` until it succeeds, with a growing delay after each failure of a type in `on`; return its result.

    `name` is that of the work in a warning for each failure; without one, failures are not logged. The first failure
    after `give_up_after` escapes, as failures of other types do at once.
    """

    def is_temporary(error: Exception) -> bool:
        temporary = isinstance(error, on)
        if temporary and name:
            _log.warning("%s failed, retrying: %r", name, error)
        return temporary

    caller = stamina.AsyncRetryingCaller(
        attempts=None,
        timeout=give_up_after,
        wait_initial=INITIAL_DELAY_SECONDS,
        wait_max=MAX_DELAY_SECONDS,
        wait_jitter=INITIAL_DELAY_SECONDS,
    )
    return await caller.on(is_temporary)(work)
