"""Lets aiokafka notice under uvloop that a connection is closed, as it does under asyncio's own loop.

To write to a closed transport is a RuntimeError in uvloop. aiokafka waits for an OSError: the task that keeps its
metadata ends of the other, nobody looks at that, and the client never finds a broker again.
"""

from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_SEND: Final = AIOKafkaConnection.send


def mend() -> None:
    """Mend it for this process. Once more changes nothing."""
    AIOKafkaConnection.send = _send


def _send(self: Any, request: Any, expect_response: bool = True) -> Any:  # noqa: FBT001, FBT002  # aiokafka's signature
    try:
        return _SEND(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"the connection to {self.host}:{self.port} is closed: {error}") from error
