"""The lag reader disconnects in bounded time."""

import asyncio

import pytest

from app.api.services import lag_reader
from app.api.services.lag_reader import LagReader
from app.kafka.memory.cluster import MemoryCluster
from app.kafka.memory.consumer import MemoryConsumer


async def test_a_client_that_does_not_stop_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping: list[MemoryConsumer] = []

    async def never(self: MemoryConsumer) -> None:
        stopping.append(self)
        await asyncio.Event().wait()

    monkeypatch.setattr(lag_reader, "CLOSE_TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr(MemoryConsumer, "stop", never)
    reader = LagReader(MemoryCluster({"topic": 1}), "group")
    await reader.start()
    async with asyncio.timeout(10):
        await reader.close()
    assert len(stopping) == 2, "the other client is stopped, too"
