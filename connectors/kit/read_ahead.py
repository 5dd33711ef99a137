"""Threads and read-ahead that keep the event loop responsive. Closing leaves no task or thread running."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], dispose: Callable[[T], Awaitable[None]] | None = None) -> T:
    """Run `work` in a thread. A cancelled caller still waits for its end: it may hold a file or a buffer.

    After a cancellation the result goes to `dispose`, because the caller never receives it.
    """
    thread = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        with suppress(Exception):
            result = await thread
            if dispose:
                await dispose(result)
        raise


async def read_ahead(source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Yield the items of `source`, fetching one item ahead. Closing it closes `source`."""
    async with aclosing(source):
        pending = asyncio.ensure_future(_next_item(source))
        try:
            while (item := await pending) is not None:
                pending = asyncio.ensure_future(_next_item(source))
                yield item
        finally:
            pending.cancel()
            await asyncio.wait([pending])
            if not pending.cancelled():
                pending.exception()  # mark as retrieved: the consumer stopped early


async def _next_item(source: AsyncGenerator[T, None]) -> T | None:
    return await anext(source, None)
