"""Read-ahead is limited to one item. Closing or cancelling waits for the running item."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from connectors.kit.read_ahead import read_ahead
from connectors.kit.threads import in_thread


class CountingSource:
    """A source that counts its items and can be blocked."""

    def __init__(self) -> None:
        self.count = 0
        self.closed = False
        self.unblocked = threading.Event()
        self.unblocked.set()
        self.started = threading.Event()

    def produce(self) -> int:
        self.started.set()
        self.unblocked.wait()
        self.count += 1
        return self.count

    async def items(self) -> AsyncGenerator[int, None]:
        try:
            while self.count < 5:
                yield await in_thread(self.produce)
            raise RuntimeError("the source broke")
        finally:
            self.closed = True


async def test_one_item_is_read_ahead_and_errors_stay_in_order() -> None:
    source = CountingSource()
    ahead = read_ahead(source.items())
    for expected in range(1, 6):
        assert await anext(ahead) == expected
        await asyncio.to_thread(lambda: None)
        assert source.count <= expected + 1
    with pytest.raises(RuntimeError, match="broke"):
        await anext(ahead)
    assert source.closed


async def test_closing_waits_for_the_running_item() -> None:
    source = CountingSource()
    async with aclosing(read_ahead(source.items())) as ahead:
        assert await anext(ahead) == 1
        source.unblocked.clear()
        source.started.clear()
        await asyncio.to_thread(source.started.wait)
        asyncio.get_running_loop().call_soon(source.unblocked.set)
    assert source.count <= 3
    assert source.closed


async def test_cancelling_waits_for_the_thread() -> None:
    source = CountingSource()
    source.unblocked.clear()

    async def consume() -> None:
        async with aclosing(read_ahead(source.items())) as ahead:
            async for _ in ahead:
                pass

    consumer = asyncio.ensure_future(consume())
    await asyncio.to_thread(source.started.wait)
    consumer.cancel()
    asyncio.get_running_loop().call_soon(source.unblocked.set)
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert (source.count, source.closed) == (1, True)
