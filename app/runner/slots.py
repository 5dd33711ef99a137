"""Run slots: how many runs of a kind work at the same time, in the order of their requests.

A slot is for work, not for waiting. A run with a slow source lends its slot, and continues without one until its source
is fast. A run that has had its turn ends between two batches while others wait, and queues again.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from app.process import Monotonic

TURN_SECONDS: Final = 10.0
TURN_OPENINGS: Final = 4  # a turn takes this many times as long as the run took to its first batch, or longer
MAX_SLOW_PER_SLOT: Final = 8  # bounds the connections and buffers of slow sources


class TurnOver(Exception):
    """The turn of a run is over. It continues from its cursor in its next turn."""


class Slots:
    """The slots of one kind of runs."""

    def __init__(self, count: int, monotonic: Monotonic) -> None:
        self.monotonic = monotonic
        self.waiting = 0  # runs
        self._semaphore = asyncio.Semaphore(count)  # first in, first out
        self._slow: dict[Turn, None] = {}  # in the order of lending
        self._max_slow = MAX_SLOW_PER_SLOT * count

    async def acquire(self, turn: "Turn") -> None:
        """Wait for a slot. A slow run keeps its place among the slow ones until it has one: its source is open."""
        self.waiting += 1
        try:
            await self._semaphore.acquire()
        finally:
            self.waiting -= 1
        self._slow.pop(turn, None)

    def lend(self, turn: "Turn") -> None:
        """Give the slot of a slow run to others. If too many are slow, evict the one that has been slow for longest."""
        self._semaphore.release()
        self._slow[turn] = None
        if len(self._slow) > self._max_slow:
            longest = next(slow for slow in self._slow if not slow.is_waiting)
            del self._slow[longest]
            longest.evict()

    def leave(self, turn: "Turn", *, has_slot: bool) -> None:
        """Remove a run, and give its slot to others."""
        self._slow.pop(turn, None)
        if has_slot:
            self._semaphore.release()


class Turn:
    """The slot of one run. `evict` ends the run, to be retried later."""

    def __init__(self, slots: Slots, evict: Callable[[], None]) -> None:
        self.evict = evict
        self._slots = slots
        self._has_slot = False
        self._waiting_since: float | None = None
        self._began = 0.0
        self._opening_seconds: float | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the run is waiting for a slot."""
        return self._waiting_since is not None

    @property
    def waiting_seconds(self) -> float:
        """How long the run has been waiting for a slot."""
        return 0.0 if self._waiting_since is None else self._slots.monotonic() - self._waiting_since

    async def acquire(self) -> None:
        """Wait for a slot, unless the run has one."""
        if self._has_slot:
            return
        self._waiting_since = self._slots.monotonic()
        try:
            await self._slots.acquire(self)
            self._has_slot = True
        finally:
            self._waiting_since = None
        self._began = self._slots.monotonic()

    def lend(self) -> None:
        """Give the slot to other runs while the source is slow."""
        if self._has_slot:
            self._has_slot = False
            self._slots.lend(self)

    def check(self) -> None:
        """Raise `TurnOver` if the run has had its turn and others wait. Call it after each batch."""
        elapsed = self._slots.monotonic() - self._began
        if self._opening_seconds is None:
            self._opening_seconds = elapsed
        turn_seconds = max(TURN_SECONDS, TURN_OPENINGS * self._opening_seconds)
        if self._has_slot and self._slots.waiting and elapsed >= turn_seconds:
            raise TurnOver

    def end(self) -> None:
        """Give the slot back."""
        has_slot, self._has_slot = self._has_slot, False
        self._slots.leave(self, has_slot=has_slot)
