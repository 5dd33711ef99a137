"""The dedup window: a message id that is repeated within a week counts once.

Stored by batch of message ids, as spans of indexes; memory holds the batches used since the last flush.
"""

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Final

import orjson

from app.profiles.node_cache import Fetch

DAY_SECONDS: Final = 86_400
WINDOW_DAYS: Final = 7

MIN_SWEPT: Final = 50  # entries checked for expiry at each flush, beside two for each one written: bounds the store

Iterate = Callable[[bytes, int], Sequence[tuple[bytes, bytes]]]
Spans = list[list[int]]


class DedupWindow:
    """The spans of message indexes that were counted, by batch. `clock` gives seconds since 1970.

    Older batches are removed, unless times come `in_any_order`, as when history is read again.
    """

    def __init__(
        self, fetch: Fetch, iterate: Iterate, clock: Callable[[], float], *, in_any_order: bool = False
    ) -> None:
        self._fetch = fetch
        self._iterate = iterate
        self._clock = clock
        self._in_any_order = in_any_order
        self._spans: dict[str, Spans] = {}
        self._last_used: dict[str, int] = {}  # by batch: the day
        self._swept_to = b""

    @contextmanager
    def spans_of(self, batches: set[str]) -> Iterator[MutableMapping[str, Spans]]:
        """Load the spans of some batches, for the caller to read and change."""
        today = self._today()
        missing = sorted(batches - self._spans.keys())
        if missing:
            for batch, stored in zip(missing, self._fetch([batch.encode() for batch in missing]), strict=True):
                self._last_used[batch], self._spans[batch] = orjson.loads(stored) if stored is not None else (today, [])
        for batch in batches:
            if abs(self._last_used[batch] - today) > WINDOW_DAYS:
                self._spans[batch] = []
            self._last_used[batch] = today
        yield self._spans

    def take_changes(self) -> dict[bytes, bytes | None]:
        """Return the rows to write, deletions of some expired ones included, and clear the memory."""
        changes: dict[bytes, bytes | None] = dict.fromkeys(() if self._in_any_order else self._expired(), None)
        changes |= {
            batch.encode(): orjson.dumps([self._last_used[batch], spans]) for batch, spans in self._spans.items()
        }
        self._spans, self._last_used = {}, {}
        return changes

    def _expired(self) -> Iterator[bytes]:
        """Yield expired batches among the next stored ones; repeated calls sweep the whole store."""
        if not self._spans:
            return
        limit, oldest = MIN_SWEPT + 2 * len(self._spans), self._today() - WINDOW_DAYS
        rows = self._iterate(self._swept_to, limit)
        self._swept_to = rows[-1][0] + b"\0" if len(rows) == limit else b""
        yield from (batch for batch, stored in rows if orjson.loads(stored)[0] < oldest)

    def _today(self) -> int:
        return int(self._clock()) // DAY_SECONDS
