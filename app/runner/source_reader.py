"""Reads the batches of a connector, and gives up on a source that is too slow or hangs."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any, Final

from app.process import Monotonic
from app.settings import Settings
from app.tasks import cancel_all
from connectors.contract import Batch, Limits, RetryLater

SLOW_SECONDS: Final = 0.5
SLOW_BYTES: Final = 32 * 1024  # a source that delivers less in that time, and no batch, is slow
CLOSE_TIMEOUT_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


def limits_of(settings: Settings) -> Limits:
    """Return the limits of connectors."""
    return Limits(
        file_roots=settings.file_roots,
        allow_private_networks=settings.allow_private_networks,
        batch_bytes=settings.batch_bytes,
        source_timeout_seconds=settings.source_timeout_seconds,
        source_bytes_per_second=settings.source_bytes_per_second,
    )


class Pace:
    """How long a source has been taking for the next `size` bytes."""

    def __init__(self, size: float, monotonic: Monotonic) -> None:
        self._size = size
        self._monotonic = monotonic
        self.restart()

    @property
    def seconds(self) -> float:
        """The time since the last `size` bytes were complete."""
        return self._monotonic() - self._since

    def received(self, count: int) -> None:
        """Add bytes of the source."""
        self.bytes += count
        if self.bytes >= self._size:
            self.restart()

    def restart(self) -> None:
        """Begin again."""
        self._since = self._monotonic()
        self.bytes = 0


class SourceReader:
    """Fetches each batch in a task of its own, so that one that hangs can be left behind."""

    def __init__(
        self, read: Callable[[Limits], AsyncGenerator[Batch, None]], limits: Limits, monotonic: Monotonic
    ) -> None:
        self.is_slow = False  # with the current batch
        self._timeout = limits.source_timeout_seconds
        self._recent = Pace(SLOW_BYTES, monotonic)
        self._minimum = Pace(self._timeout * limits.source_bytes_per_second, monotonic)
        self._batches = read(replace(limits, received=self._received))
        self._fetch: asyncio.Future[Batch | None] | None = None
        self._given_up: asyncio.Future[RetryLater] = asyncio.get_running_loop().create_future()

    def _received(self, count: int) -> None:
        self._recent.received(count)
        self._minimum.received(count)

    def check(self) -> None:
        """Find out whether the source is slow, and give up on one that is too slow."""
        if self._fetch is None or self._fetch.done():
            return
        self.is_slow = self.is_slow or self._recent.seconds >= SLOW_SECONDS
        if (seconds := self._minimum.seconds) >= self._timeout:
            self.give_up(RetryLater("too_slow", {"bytes": self._minimum.bytes, "seconds": round(seconds)}))

    def give_up(self, reason: RetryLater) -> None:
        """Stop waiting for the source: `next` raises the reason."""
        if not self._given_up.done():
            self._given_up.set_result(reason)

    async def next(self) -> Batch | None:
        """Return the next batch; None at the end of the source."""
        self.is_slow = False
        self._recent.restart()
        self._minimum.restart()
        fetch = self._fetch = asyncio.ensure_future(anext(self._batches, None))
        pending: set[asyncio.Future[Any]] = {fetch, self._given_up}
        await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        if not fetch.done():
            raise self._given_up.result()
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
        await cancel_all(self._fetch)
        try:
            await self._batches.aclose()
        except Exception as error:  # noqa: BLE001  # the outcome of the run is decided already
            # Without its message and traceback: they can hold secrets of the configuration.
            _log.warning("a connector failed with %s while it closed its source", type(error).__name__)
