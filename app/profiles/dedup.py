"""Which messages were counted before, for a week: a message id that comes twice within it counts once.

Kept by batch of message ids, as ranges of indexes, in the store; memory holds what was used since the last flush.
"""

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Final

import orjson

DAY: Final = 86_400
DAYS: Final = 7

SWEPT: Final = 50  # entries that are looked at beside twice as many as are written, so that the store doesn't grow

Walk = Callable[[bytes, int], Sequence[tuple[bytes, bytes]]]
Fetch = Callable[[list[bytes]], Sequence[bytes | None]]
Spans = list[list[int]]


class DedupWindow:
    """The ranges of message indexes that were counted, by batch. `clock` gives seconds since 1970.

    What was counted longer ago is let go of, unless times come `in_any_order`, as when history is read again.
    """

    def __init__(self, fetch: Fetch, walk: Walk, clock: Callable[[], float], *, in_any_order: bool = False) -> None:
        self._fetch = fetch
        self._walk = walk
        self._clock = clock
        self._in_any_order = in_any_order
        self._used: dict[str, Spans] = {}
        self._days: dict[str, int] = {}  # when it was used last
        self._swept_to = b""

    @contextmanager
    def of(self, batches: set[str]) -> Iterator[MutableMapping[str, Spans]]:
        """Give what was counted of some batches, to be looked at and changed."""
        today = self._today()
        missing = sorted(batches - self._used.keys())
        if missing:
            for batch, stored in zip(missing, self._fetch([each.encode() for each in missing]), strict=True):
                self._days[batch], self._used[batch] = orjson.loads(stored) if stored is not None else (today, [])
        for batch in batches:
            if abs(self._days[batch] - today) > DAYS:
                self._used[batch] = []
            self._days[batch] = today
        yield self._used

    def taken(self) -> dict[bytes, bytes | None]:
        """Return what has to be written of what was counted since the last time, and some of what may go."""
        changes: dict[bytes, bytes | None] = dict.fromkeys(() if self._in_any_order else self._over(), None)
        changes |= {batch.encode(): orjson.dumps([self._days[batch], spans]) for batch, spans in self._used.items()}
        self._used, self._days = {}, {}
        return changes

    def _over(self) -> Iterator[bytes]:
        """Yield what was counted too long ago, of some that is kept: another part each time."""
        if not self._used:
            return
        most, oldest = SWEPT + 2 * len(self._used), self._today() - DAYS
        rows = self._walk(self._swept_to, most)
        self._swept_to = rows[-1][0] + b"\0" if len(rows) == most else b""
        yield from (batch for batch, stored in rows if orjson.loads(stored)[0] < oldest)

    def _today(self) -> int:
        return int(self._clock()) // DAY
