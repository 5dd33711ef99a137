"""Requests with an Idempotency-Key and their answers, stored for seven days so that a repeat adds nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.database import Database
from app.store.tables import idempotency_records
from schemas.instants import micros, moment

RETENTION: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRecord:
    """One request: its digest, when it was claimed, and its answer once all its messages are written.

    `next_offset` is an offset in the partition of its messages that lies before all of them.
    """

    upload_id: str
    digest: bytes
    claimed_at: datetime
    next_offset: int
    answer: bytes = b""


class IdempotencyStore:
    """The table of requests, in the read store's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, wanted: IdempotencyRecord) -> IdempotencyRecord:
        """Return the request with that upload id: `wanted` itself when it is new, and the caller's to process."""
        row = {
            "upload_id": wanted.upload_id,
            "digest": wanted.digest,
            "claimed_at": micros(wanted.claimed_at),
            "next_offset": wanted.next_offset,
            "answer": b"",
        }
        insert = self._database.insert(idempotency_records).values(row).on_conflict_do_nothing()
        async with self._database.writing() as connection:
            while True:
                if (await connection.execute(insert)).rowcount:
                    return wanted
                if stored := await _stored(connection, wanted.upload_id):
                    return stored  # otherwise it was discarded meanwhile

    async def reclaim(self, abandoned: IdempotencyRecord, now: datetime) -> bool:
        """Claim a request that was left unanswered; False when another process did, or it was answered."""
        unchanged = {"upload_id": abandoned.upload_id, "claimed_at": micros(abandoned.claimed_at), "answer": b""}
        async with self._database.writing() as connection:
            result = await connection.execute(
                update(idempotency_records).filter_by(**unchanged).values(claimed_at=micros(now))
            )
            return bool(result.rowcount)

    async def release(self, upload_id: str, claimed_at: datetime) -> None:
        """Let the next caller reclaim a request whose messages may or may not have been written."""
        query = (
            update(idempotency_records).filter_by(upload_id=upload_id, answer=b"").values(claimed_at=micros(claimed_at))
        )
        async with self._database.writing() as connection:
            await connection.execute(query)

    async def discard(self, upload_id: str) -> None:
        """Remove a claimed request of which nothing was written."""
        async with self._database.writing() as connection:
            await connection.execute(delete(idempotency_records).filter_by(upload_id=upload_id, answer=b""))

    async def complete(self, upload_id: str, answer: bytes) -> None:
        """Store the answer."""
        async with self._database.writing() as connection:
            await connection.execute(update(idempotency_records).filter_by(upload_id=upload_id).values(answer=answer))

    async def remove_expired(self, now: datetime) -> None:
        """Remove requests older than seven days."""
        async with self._database.writing() as connection:
            await connection.execute(
                delete(idempotency_records).where(idempotency_records.c.claimed_at < micros(now - RETENTION))
            )


async def _stored(connection: AsyncConnection, upload_id: str) -> IdempotencyRecord | None:
    row = (await connection.execute(select(idempotency_records).filter_by(upload_id=upload_id))).one_or_none()
    if row is None:
        return None
    return IdempotencyRecord(
        upload_id=row.upload_id,
        digest=bytes(row.digest),
        claimed_at=moment(row.claimed_at),
        next_offset=row.next_offset,
        answer=bytes(row.answer),
    )
