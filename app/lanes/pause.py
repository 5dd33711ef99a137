"""Whether people have paused a lane. The wish stands in the read store, so it outlives every process."""

import logging
import time
from collections.abc import Callable
from typing import Final

from app.store.lanes import LaneStore

PAUSABLE: Final = frozenset({"backfill"})  # what happens now is never held back: every answer would be wrong
POLL_INTERVAL_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class PauseFlag:
    """Of one lane; the store is asked once a second at most."""

    def __init__(self, lane: str, store: LaneStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._lane = lane
        self._store = store
        self._clock = clock
        self._paused = False
        self._looked_at = float("-inf")

    async def holds(self) -> bool:
        """Tell whether nothing is to be read now."""
        if self._lane in PAUSABLE and self._clock() - self._looked_at >= POLL_INTERVAL_SECONDS:
            self._looked_at = self._clock()
            before, self._paused = self._paused, await self._store.is_paused(self._lane)
            if self._paused and not before:
                _log.warning("%s is paused by people; nothing of it is read until it is resumed", self._lane)
            elif before and not self._paused:
                _log.info("%s goes on", self._lane)
        return self._paused
