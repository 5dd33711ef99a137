"""A producer for a process that has to be up before its broker: it connects again and again until one answers."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aiokafka.errors import KafkaError

from app.kafka.clients import Producer

RETRY_DELAY_SECONDS: Final = 0.5

_log = logging.getLogger(__name__)


class ReconnectingProducer:
    """One producer made by `make`, `ready` from the moment that a broker has answered. `what` names what it sends."""

    def __init__(self, what: str, make: Callable[[], Producer]) -> None:
        self.ready: Producer | None = None
        self._what = what
        self._make = make
        self._connecting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to connect."""
        self._connecting = asyncio.create_task(self._connect(), name=f"{self._what} producer")

    async def stop(self) -> None:
        """Send what is queued and disconnect."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self.ready is not None:
            await self.ready.stop()

    async def _connect(self) -> None:
        while self.ready is None:
            producer = self._make()
            try:
                await producer.start()
                self.ready = producer
            except (KafkaError, OSError) as error:
                _log.warning("%s can't be sent yet, trying again: %r", self._what, error)
                await asyncio.sleep(RETRY_DELAY_SECONDS)
            finally:
                if self.ready is None:
                    await producer.stop()
