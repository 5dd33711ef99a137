"""Patch aiokafka so that it detects closed connections under uvloop.

Writing to a closed transport raises a RuntimeError in uvloop, but aiokafka expects an OSError. It silently
ends its metadata task, and the client never reconnects.
"""

from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_SEND: Final = AIOKafkaConnection.send


def apply() -> None:
    """Apply the patch to this process. Idempotent."""
    AIOKafkaConnection.send = _send


def _send(self: Any, request: Any, expect_response: bool = True) -> Any:  # noqa: FBT001, FBT002  # aiokafka's signature
    try:
        return _SEND(self, request, expect_response)
    except RuntimeError as error:
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"the connection to {self.host}:{self.port} is closed: {error}") from error
