"""Writes records and returns when the broker has acked them all. Without transactions, and independent of Faust."""

from collections.abc import Iterable
from typing import Final, Self

from app.kafka.clients import Cluster
from app.kafka.producer_record import ProducerRecord, send

REQUEST_TIMEOUT_MS: Final = 30_000


class BatchProducer:
    """An idempotent producer; use it as an async context manager. Records of one partition keep their order."""

    def __init__(self, cluster: Cluster) -> None:
        self._producer = cluster.producer(compression="zstd", linger_ms=0, request_timeout_ms=REQUEST_TIMEOUT_MS)

    async def __aenter__(self) -> Self:
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._producer.stop()

    async def write(self, records: Iterable[ProducerRecord]) -> None:
        """Send the records and wait until the broker has acked them all."""
        await send(self._producer, records)
