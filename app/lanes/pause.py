"""The pause flag of a lane, stored in the read store so that it survives restarts."""

import logging
import time
from typing import Final

from app.process import Monotonic
from app.store.lanes import LaneStore

PAUSABLE_LANES: Final = frozenset({"backfill"})  # pausing real time would make every answer wrong
POLL_INTERVAL_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class PauseFlag:
    """The flag of one lane; the store is queried at most once a second."""

    def __init__(self, lane: str, store: LaneStore, monotonic: Monotonic = time.monotonic) -> None:
        self._lane = lane
        self._store = store
        self._monotonic = monotonic
        self._is_paused = False
        self._polled_at = float("-inf")

    async def is_paused(self) -> bool:
        """Whether nothing is to be read now."""
        if self._lane in PAUSABLE_LANES and self._monotonic() - self._polled_at >= POLL_INTERVAL_SECONDS:
            self._polled_at = self._monotonic()
            before, self._is_paused = self._is_paused, await self._store.is_paused(self._lane)
            if self._is_paused and not before:
                _log.warning("%s is paused; nothing of it is read until it is resumed", self._lane)
            elif before and not self._is_paused:
                _log.info("%s is resumed", self._lane)
        return self._is_paused
