"""With uvloop, a closed connection raises the error that aiokafka expects, so that it reconnects."""

import asyncio

import pytest
import uvloop
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from app.kafka.patches.uvloop import apply


async def send_over_a_closed_transport() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        connection = AIOKafkaConnection("127.0.0.1", port)
        connection._versions = {3: (0, 1)}
        _, connection._writer = await asyncio.open_connection("127.0.0.1", port)
        connection._writer.transport.abort()
        await asyncio.sleep(0)
        connection.send(MetadataRequest([]))


def test_a_closed_connection_raises_the_error_of_aiokafka() -> None:
    apply()
    apply()
    with pytest.raises(KafkaConnectionError, match="is closed"):
        uvloop.run(send_over_a_closed_transport())
