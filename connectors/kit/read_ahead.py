"""Threads and read-ahead for connectors: the event loop stays free, and closing leaves nothing running behind."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], let_go: Callable[[T], Awaitable[None]] | None = None) -> T:
    """Run `work` in a thread. A cancelled caller still waits for it to end: it may hold a file or a buffer.

    What `work` then returns goes to `let_go`, as the caller never gets it.
    """
    thread = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        with suppress(Exception):
            result = await thread
            if let_go:
                await let_go(result)
        raise


async def read_ahead(source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Yield what `source` yields, and let it work on the next one meanwhile. Closing closes `source`."""
    async with aclosing(source):
        coming = asyncio.ensure_future(_next(source))
        try:
            while (ready := await coming) is not None:
                coming = asyncio.ensure_future(_next(source))
                yield ready
        finally:
            coming.cancel()
            await asyncio.wait([coming])
            if not coming.cancelled():
                coming.exception()  # seen: who closes doesn't ask for more


async def _next(source: AsyncGenerator[T, None]) -> T | None:
    return await anext(source, None)
