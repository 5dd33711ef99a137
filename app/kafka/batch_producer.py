"""Writes records and returns when the broker has acked them all. Makes no transactions and knows no Faust."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer

from app.kafka.producer_record import ProducerRecord
from schemas.topics import MAX_RECORD_BYTES

BATCH_BYTES: Final = 1024 * 1024
REQUEST_MS: Final = 30_000


class BatchProducer:
    """An idempotent producer; use it as an async context manager. Records of one partition keep their order."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers,
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",  # aiokafka asks lz4 for its slowest level: a tenth of the speed
            linger_ms=0,
            max_batch_size=BATCH_BYTES,
            max_request_size=MAX_RECORD_BYTES,
            request_timeout_ms=REQUEST_MS,
        )

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
        """Send the records and wait for the broker's acks; what fails escapes."""
        acks: list[Any] = [
            await self._producer.send(
                each.topic,
                each.value,
                key=each.key,
                partition=each.partition,
                headers=list(each.headers),
                timestamp_ms=each.timestamp_ms,
            )
            for each in records
        ]
        await asyncio.gather(*acks)
