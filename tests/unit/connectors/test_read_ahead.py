"""Reading ahead: one block, never more; and closing or cancelling waits for the block and leaves nothing behind."""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from connectors.kit.read_ahead import in_thread, read_ahead


class Blocks:
    """Counts what is made of it, in a thread that can be held up."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = False
        self.go = threading.Event()
        self.go.set()
        self.started = threading.Event()

    def make(self) -> int:
        self.started.set()
        self.go.wait()
        self.made += 1
        return self.made

    async def all(self) -> AsyncGenerator[int, None]:
        try:
            while self.made < 5:
                yield await in_thread(self.make)
            raise RuntimeError("the source broke")
        finally:
            self.closed = True


async def test_one_block_is_made_while_another_is_used_and_errors_come_in_their_place() -> None:
    blocks = Blocks()
    ahead = read_ahead(blocks.all())
    for expected in range(1, 6):
        assert await anext(ahead) == expected
        await asyncio.to_thread(lambda: None)
        assert blocks.made <= expected + 1
    with pytest.raises(RuntimeError, match="broke"):
        await anext(ahead)
    assert blocks.closed


async def test_closing_waits_for_the_block_at_work_and_closes_the_source() -> None:
    blocks = Blocks()
    async with aclosing(read_ahead(blocks.all())) as ahead:
        assert await anext(ahead) == 1
        blocks.go.clear()
        blocks.started.clear()
        await asyncio.to_thread(blocks.started.wait)
        asyncio.get_running_loop().call_soon(blocks.go.set)
    assert blocks.made <= 3
    assert blocks.closed


async def test_cancelling_waits_for_the_thread_and_then_is_cancelled() -> None:
    blocks = Blocks()
    blocks.go.clear()

    async def use() -> None:
        async with aclosing(read_ahead(blocks.all())) as ahead:
            async for _ in ahead:
                pass

    user = asyncio.ensure_future(use())
    await asyncio.to_thread(blocks.started.wait)
    user.cancel()
    asyncio.get_running_loop().call_soon(blocks.go.set)
    with pytest.raises(asyncio.CancelledError):
        await user
    assert (blocks.made, blocks.closed) == (1, True)
