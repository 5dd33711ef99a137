"""Read-ahead: the next item is fetched while the current one is processed. Closing leaves no task running."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def read_ahead(source: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Yield the items of `source`, fetching one item ahead. Closing it closes `source`."""
    async with aclosing(source):
        pending = asyncio.ensure_future(anext(source, None))
        try:
            while (item := await pending) is not None:
                pending = asyncio.ensure_future(anext(source, None))
                yield item
        finally:
            pending.cancel()
            await asyncio.wait([pending])
            if not pending.cancelled():
                pending.exception()  # mark as retrieved: the consumer stopped early
