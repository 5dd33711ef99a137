"""Patch aiokafka so that a client that is cancelled while it starts closes its first connection.

A client asks one server for the brokers of the cluster. aiokafka closes that connection after an answer and after an
error, but not when the task is cancelled meanwhile.
"""

from contextvars import ContextVar
from typing import Any, Final

from aiokafka import client
from aiokafka.client import AIOKafkaClient

_BOOTSTRAP: Final = AIOKafkaClient.bootstrap
_CREATE_CONN: Final = client.create_conn
_CONNECTIONS: Final[ContextVar[list[Any]]] = ContextVar("bootstrap connections")


def apply() -> None:
    """Apply the patch to this process. Idempotent."""
    AIOKafkaClient.bootstrap = _bootstrap
    client.create_conn = _create_conn


async def _bootstrap(self: Any) -> None:
    connections: list[Any] = []
    _CONNECTIONS.set(connections)
    try:
        await _BOOTSTRAP(self)
    except BaseException:
        for connection in connections:
            connection.close()
        raise


async def _create_conn(*address: Any, **options: Any) -> Any:
    connection = await _CREATE_CONN(*address, **options)
    if "on_close" not in options:  # the client does not track this one
        _CONNECTIONS.get().append(connection)
    return connection
