"""Reads the batches of a connector, and gives up on a source that is too slow or hangs."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

from connectors.contract import Batch, Limits, RetryLater

SLOW_SECONDS: Final = 1.0  # a source that takes longer for a batch is slow
CLOSE_TIMEOUT_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


class Pace:
    """The pace of a source while a batch is being fetched. `clock` is steady, in seconds."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._timeout = limits.source_timeout_seconds
        self._min_bytes = limits.source_timeout_seconds * limits.source_bytes_per_second
        self._clock = clock
        self.restart()

    @property
    def seconds(self) -> float:
        """The time since the last progress."""
        return self._clock() - self._since

    @property
    def is_too_slow(self) -> bool:
        """Whether the source has delivered less than the minimum in the time that it has."""
        return self.seconds >= self._timeout

    def received(self, count: int) -> None:
        """Add bytes of the source. The minimum for the whole timeout restarts it."""
        self.bytes += count
        if self.bytes >= self._min_bytes:
            self.restart()

    def restart(self) -> None:
        """Begin again."""
        self._since = self._clock()
        self.bytes = 0


class SourceReader:
    """Fetches each batch in a task of its own, so that one that hangs can be left behind."""

    def __init__(
        self, batches: AsyncGenerator[Batch, None], pace: Pace, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.was_slow = False  # with the last batch
        self._batches = batches
        self._pace = pace
        self._clock = clock
        self._fetch: asyncio.Task[Batch | None] | None = None
        self._fetch_began = 0.0
        self._given_up: asyncio.Future[RetryLater] = asyncio.get_running_loop().create_future()

    @property
    def is_slow(self) -> bool:
        """Whether the current batch takes long."""
        fetching = self._fetch is not None and not self._fetch.done()
        return fetching and self._clock() - self._fetch_began >= SLOW_SECONDS

    def check(self) -> None:
        """Give up on a source that is too slow."""
        if self.is_slow and self._pace.is_too_slow:
            self.give_up(RetryLater("too_slow", {"bytes": self._pace.bytes, "seconds": round(self._pace.seconds)}))

    def give_up(self, reason: RetryLater) -> None:
        """Stop waiting for the source: `next` raises the reason."""
        if not self._given_up.done():
            self._given_up.set_result(reason)

    async def next(self) -> Batch | None:
        """Return the next batch; None at the end of the source."""
        self._pace.restart()
        self._fetch_began = self._clock()
        fetch = self._fetch = asyncio.create_task(_next(self._batches), name="fetch a batch")
        pending: set[asyncio.Future[Any]] = {fetch, self._given_up}
        await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if not fetch.done():
            raise self._given_up.result()
        self.was_slow = self._clock() - self._fetch_began >= SLOW_SECONDS
        if fetch.cancelled():
            raise RuntimeError("the connector cancelled its own task")
        return fetch.result()

    async def close(self, left_behind: Callable[[asyncio.Task[None]], None]) -> None:
        """Close the source. If that takes too long, leave it to a task, which ends with the connector's thread."""
        closing = asyncio.create_task(self._close(), name="close a source")
        try:
            await asyncio.wait({closing}, timeout=CLOSE_TIMEOUT_SECONDS)
        finally:
            if not closing.done():
                left_behind(closing)

    async def _close(self) -> None:
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)
        try:
            await self._batches.aclose()
        except Exception:  # noqa: BLE001  # the outcome of the run is decided already
            _log.exception("a connector failed while it closed its source")


async def _next(batches: AsyncGenerator[Batch, None]) -> Batch | None:
    return await anext(batches, None)
