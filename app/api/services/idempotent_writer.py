"""Requests under an idempotency key: written once, answered alike however often they come, through whichever server."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from app.api.services.ingest_producer import IngestProducer, NotConfirmedError, NotSentError
from app.clock import Clock
from app.kafka.producer_record import ProducerRecord
from app.store.idempotency import IdempotencyRecord
from app.store.read_store import ReadStore

IN_PROGRESS: Final = timedelta(seconds=20)  # longer than a request takes: after that, whoever claimed it is gone
FORGET_EVERY: Final = timedelta(hours=1)
WAIT_SECONDS: Final = 5.0
POLL_INTERVAL_SECONDS: Final = 0.05


class ReusedKeyError(Exception):
    """The key came with another request before."""


class InProgressError(Exception):
    """The same request is being answered at this moment."""


class IdempotentWriter:
    """Claims requests in the read store. One that was left is taken over: what is there is found in the log."""

    def __init__(self, store: ReadStore, intake: IngestProducer, clock: Clock) -> None:
        self._store = store
        self._intake = intake
        self._clock = clock
        self._forget_at: datetime | None = None

    async def write(
        self, wanted: IdempotencyRecord, records: Sequence[ProducerRecord], letters: Sequence[ProducerRecord]
    ) -> IdempotencyRecord:
        """Write a request's records unless they are there; return its answer, which is `wanted` itself for a new one.

        Raises:
            ReusedKeyError, InProgressError: nothing was written for this request.
            NotSentError, NotConfirmedError: as `IngestProducer.write`.

        """
        await self._forget()
        until = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            found = await self._store.requests.claim(wanted)
            if found is wanted:
                return await self._written(wanted, [*records, *letters])
            if found.digest != wanted.digest:
                raise ReusedKeyError(ReusedKeyError.__doc__)
            if found.answer:
                return found
            now = self._clock()
            if found.claimed_at + IN_PROGRESS <= now and await self._store.requests.reclaim(found, now):
                return await self._written(wanted, await self._intake.lacking(records, found.next_offset))
            if asyncio.get_running_loop().time() > until:
                raise InProgressError(InProgressError.__doc__)
            await asyncio.sleep(POLL_INTERVAL_SECONDS)

    async def _written(self, wanted: IdempotencyRecord, records: Sequence[ProducerRecord]) -> IdempotencyRecord:
        try:
            await self._intake.write(records)
        except NotSentError:
            await self._store.requests.discard(wanted.upload_id)
            raise
        except NotConfirmedError:
            await self._store.requests.release(wanted.upload_id, self._clock() - IN_PROGRESS)
            raise
        await self._store.requests.complete(wanted.upload_id, wanted.answer)
        return wanted

    async def _forget(self) -> None:
        now = self._clock()
        if self._forget_at is None or self._forget_at <= now:
            self._forget_at = now + FORGET_EVERY
            await self._store.requests.remove_expired(now)
