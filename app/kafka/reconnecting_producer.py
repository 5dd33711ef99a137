"""A producer for a process that may start before its broker: it connects in the background."""

import asyncio
from collections.abc import Callable

from app.kafka.clients import Producer
from app.kafka.retries import retry
from app.tasks import cancel_all


class ReconnectingProducer:
    """A producer made by `make`; `ready` is None until a broker has answered. `what` names its records in the log."""

    def __init__(self, what: str, make: Callable[[], Producer]) -> None:
        self.ready: Producer | None = None
        self._what = what
        self._make = make
        self._connecting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect in the background, with back-off."""
        self._connecting = asyncio.create_task(self._connect(), name=f"{self._what} producer")

    async def stop(self) -> None:
        """Send queued records and disconnect."""
        await cancel_all(self._connecting)
        if self.ready is not None:
            await self.ready.stop()

    async def _connect(self) -> None:
        self.ready = await retry(self._started, (Exception,), name=f"connecting the producer of {self._what}")

    async def _started(self) -> Producer:
        producer = self._make()
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer
