"""A client that is cancelled while it starts closes its first connection."""

import asyncio

import pytest
from aiokafka.client import AIOKafkaClient

from app.kafka.patches import bootstrap


class SilentServer:
    """A connection to a server that answers nothing."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.closed = False

    async def send(self, _: object) -> None:
        self.asked.set()
        await asyncio.Event().wait()

    def close(self) -> None:
        self.closed = True


async def test_a_client_that_is_cancelled_while_it_starts_closes_its_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = SilentServer()

    async def create_conn(*_: object, **__: object) -> SilentServer:
        return connection

    monkeypatch.setattr(bootstrap, "_CREATE_CONN", create_conn)
    bootstrap.apply()
    bootstrap.apply()
    starting = asyncio.create_task(AIOKafkaClient(bootstrap_servers="127.0.0.1:9092").bootstrap())
    await connection.asked.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert connection.closed
