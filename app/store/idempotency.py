"""What was answered to requests with an Idempotency-Key, for seven days, so that a repeat adds nothing."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.store.database import Database
from app.store.tables import collected
from schemas.instants import micros, moment

KEPT: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRecord:
    """One request: its digest, since when someone is at it, and what it is answered once all is written.

    `next_offset` is a place in the partition of its messages that lies before all of them.
    """

    upload_id: str
    digest: bytes
    claimed_at: datetime
    next_offset: int
    answer: bytes = b""


async def claim(database: Database, wanted: IdempotencyRecord) -> IdempotencyRecord:
    """Return the request of that upload id; `wanted` itself when it is the first: then the caller has to answer it."""
    row = {
        "upload_id": wanted.upload_id,
        "digest": wanted.digest,
        "claimed_at": micros(wanted.claimed_at),
        "next_offset": wanted.next_offset,
        "answer": b"",
    }
    async with database.writing() as connection:
        while True:
            made = await connection.execute(database.insert(collected).values(row).on_conflict_do_nothing())
            if made.rowcount:
                return wanted
            if found := await _found(connection, wanted.upload_id):
                return found  # else it was given up meanwhile


async def take_over(database: Database, left: IdempotencyRecord, now: datetime) -> bool:
    """Claim a request that was left unanswered; False when someone else did, or it was answered."""
    place = {"upload_id": left.upload_id, "claimed_at": micros(left.claimed_at), "answer": b""}
    async with database.writing() as connection:
        taken = await connection.execute(update(collected).filter_by(**place).values(claimed_at=micros(now)))
        return bool(taken.rowcount)


async def leave(database: Database, upload_id: str, since: datetime) -> None:
    """Leave a claimed request to whoever asks next: it isn't known whether it was written."""
    async with database.writing() as connection:
        await connection.execute(
            update(collected).filter_by(upload_id=upload_id, answer=b"").values(claimed_at=micros(since))
        )


async def give_up(database: Database, upload_id: str) -> None:
    """Forget a request of which nothing was written."""
    async with database.writing() as connection:
        await connection.execute(delete(collected).filter_by(upload_id=upload_id, answer=b""))


async def answered(database: Database, upload_id: str, answer: bytes) -> None:
    """Keep the answer."""
    async with database.writing() as connection:
        await connection.execute(update(collected).filter_by(upload_id=upload_id).values(answer=answer))


async def forget(database: Database, now: datetime) -> None:
    """Remove what is older than seven days."""
    async with database.writing() as connection:
        await connection.execute(delete(collected).where(collected.c.claimed_at < micros(now - KEPT)))


async def _found(connection: AsyncConnection, upload_id: str) -> IdempotencyRecord | None:
    row = (await connection.execute(select(collected).filter_by(upload_id=upload_id))).one_or_none()
    if row is None:
        return None
    return IdempotencyRecord(
        upload_id=row.upload_id,
        digest=bytes(row.digest),
        claimed_at=moment(row.claimed_at),
        next_offset=row.next_offset,
        answer=bytes(row.answer),
    )
