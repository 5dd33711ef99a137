"""Idempotency records: one request claims a key, repeated requests get the stored response for a week."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.store.idempotency import RETENTION, IdempotencyRecord
from app.store.read_store import ReadStore

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
CLAIM = IdempotencyRecord(upload_id="u", digest=b"d", claimed_at=START, next_offset=7, answer=b"{}")


async def test_one_claim_succeeds_and_the_others_get_the_stored_record(store: ReadStore) -> None:
    claims = [replace(CLAIM, next_offset=number) for number in range(8)]
    records = await asyncio.gather(*(store.requests.claim(claim) for claim in claims))
    granted = [record for record, claim in zip(records, claims, strict=True) if record is claim]
    assert len(granted) == 1
    assert {(record.next_offset, record.answer) for record in records if record is not granted[0]} == {
        (granted[0].next_offset, b"")
    }
    await store.requests.complete("u", b"[1]")
    again = await store.requests.claim(CLAIM)
    assert (again.answer, again.digest, again.claimed_at) == (b"[1]", b"d", START)


async def test_an_abandoned_request_is_reclaimed_once(store: ReadStore) -> None:
    await store.requests.claim(CLAIM)
    abandoned = await store.requests.claim(replace(CLAIM, claimed_at=START + timedelta(hours=1)))
    later = START + timedelta(minutes=1)
    reclaimed = await asyncio.gather(
        *(store.requests.reclaim(abandoned, later + timedelta(seconds=number)) for number in range(4))
    )
    assert sorted(reclaimed) == [False, False, False, True]
    await store.requests.release("u", START)
    abandoned = await store.requests.claim(CLAIM)
    assert abandoned.claimed_at == START
    await store.requests.complete("u", b"[1]")
    assert not await store.requests.reclaim(abandoned, later), "it has been answered since"


async def test_a_discarded_claim_frees_the_key_unless_it_was_answered(store: ReadStore) -> None:
    await store.requests.claim(CLAIM)
    await store.requests.discard("u")
    assert await store.requests.claim(CLAIM) is CLAIM
    await store.requests.complete("u", b"[1]")
    await store.requests.discard("u")
    assert (await store.requests.claim(CLAIM)).answer == b"[1]"


async def test_responses_expire_after_a_week(store: ReadStore) -> None:
    await store.requests.claim(CLAIM)
    await store.requests.complete("u", b"[1]")
    await store.requests.remove_expired(START + RETENTION)
    assert (await store.requests.claim(CLAIM)).answer == b"[1]"
    await store.requests.remove_expired(START + RETENTION + timedelta(seconds=1))
    assert await store.requests.claim(CLAIM) is CLAIM
