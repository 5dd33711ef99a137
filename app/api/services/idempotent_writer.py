"""Requests with an idempotency key: written once; every server sends the same response to a repeat."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from app.api.services.ingest_producer import IngestProducer, NotConfirmedError, NotSentError
from app.kafka.producer_record import ProducerRecord
from app.process import Clock
from app.store.idempotency import IdempotencyRecord
from app.store.read_store import ReadStore

CLAIM_TIMEOUT: Final = timedelta(seconds=20)  # longer than a request takes: after it, the claim is abandoned
CLEANUP_INTERVAL: Final = timedelta(hours=1)
WAIT_TIMEOUT_SECONDS: Final = 5.0
POLL_INTERVAL_SECONDS: Final = 0.05


class ReusedKeyError(Exception):
    """The key was used for another request."""


class InProgressError(Exception):
    """The same request is being processed."""


class IdempotentWriter:
    """Claims requests in the read store. For an abandoned claim, only the records that the log lacks are written."""

    def __init__(self, store: ReadStore, ingest: IngestProducer, clock: Clock) -> None:
        self._store = store
        self._ingest = ingest
        self._clock = clock
        self._cleanup_at: datetime | None = None

    async def write(
        self, claim: IdempotencyRecord, records: Sequence[ProducerRecord], letters: Sequence[ProducerRecord]
    ) -> IdempotencyRecord:
        """Write the records of a request once; return its record, which is `claim` itself for a new request.

        Raises:
            ReusedKeyError, InProgressError: nothing is written for this request.
            NotSentError, NotConfirmedError: as `IngestProducer.write`.

        """
        await self._clean_up()
        until = asyncio.get_running_loop().time() + WAIT_TIMEOUT_SECONDS
        while True:
            record = await self._store.requests.claim(claim)
            if record is claim:
                return await self._write(claim, [*records, *letters])
            if record.digest != claim.digest:
                raise ReusedKeyError
            if record.answer:
                return record
            now = self._clock()
            if record.claimed_at + CLAIM_TIMEOUT <= now and await self._store.requests.reclaim(record, now):
                return await self._write(claim, await self._ingest.missing(records, record.next_offset))
            if asyncio.get_running_loop().time() > until:
                raise InProgressError
            await asyncio.sleep(POLL_INTERVAL_SECONDS)

    async def _write(self, claim: IdempotencyRecord, records: Sequence[ProducerRecord]) -> IdempotencyRecord:
        try:
            await self._ingest.write(records)
        except NotSentError:
            await self._store.requests.discard(claim.upload_id)
            raise
        except NotConfirmedError:
            await self._store.requests.release(claim.upload_id, self._clock() - CLAIM_TIMEOUT)
            raise
        await self._store.requests.complete(claim.upload_id, claim.answer)
        return claim

    async def _clean_up(self) -> None:
        now = self._clock()
        if self._cleanup_at is None or self._cleanup_at <= now:
            self._cleanup_at = now + CLEANUP_INTERVAL
            await self._store.requests.remove_expired(now)
