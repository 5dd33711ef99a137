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


class Seen:
    """The ranges of message indexes that were counted, by batch. `clock` gives seconds since 1970."""

    def __init__(self, fetch: Fetch, walk: Walk, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._walk = walk
        self._clock = clock
        self._used: dict[str, Spans] = {}
        self._swept_to = b""

    @contextmanager
    def of(self, batches: set[str]) -> Iterator[MutableMapping[str, Spans]]:
        """Give what was counted of some batches, to be looked at and changed."""
        missing = sorted(batches - self._used.keys())
        if missing:
            oldest = self._today() - DAYS
            for batch, stored in zip(missing, self._fetch([each.encode() for each in missing]), strict=True):
                day, spans = orjson.loads(stored) if stored is not None else (0, [])
                self._used[batch] = spans if day >= oldest else []
        yield self._used

    def taken(self) -> dict[bytes, bytes | None]:
        """Return what has to be written of what was counted since the last time, and some of what may go."""
        if not self._used:
            return {}
        today = self._today()
        most = SWEPT + 2 * len(self._used)
        rows = self._walk(self._swept_to, most)
        self._swept_to = rows[-1][0] + b"\0" if len(rows) == most else b""
        changes: dict[bytes, bytes | None] = {
            batch: None for batch, stored in rows if orjson.loads(stored)[0] < today - DAYS
        }
        changes |= {batch.encode(): orjson.dumps([today, spans]) for batch, spans in self._used.items()}
        self._used = {}
        return changes

    def _today(self) -> int:
        return int(self._clock()) // DAY
