"""Answers to requests under idempotency keys: one claims, everyone else hears what it was answered, for a week."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.store.idempotency import RETENTION, IdempotencyRecord
from app.store.read_store import ReadStore

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
WANTED = IdempotencyRecord(upload_id="u", digest=b"d", claimed_at=START, next_offset=7, answer=b"{}")


async def test_one_claims_and_the_others_hear_what_was_answered(store: ReadStore) -> None:
    claims = [replace(WANTED, next_offset=number) for number in range(8)]
    found = await asyncio.gather(*(store.requests.claim(each) for each in claims))
    mine = [each for each, wanted in zip(found, claims, strict=True) if each is wanted]
    assert len(mine) == 1
    assert {(each.next_offset, each.answer) for each in found if each is not mine[0]} == {(mine[0].next_offset, b"")}
    await store.requests.complete("u", b"[1]")
    again = await store.requests.claim(WANTED)
    assert (again.answer, again.digest, again.claimed_at) == (b"[1]", b"d", START)


async def test_a_request_that_was_left_is_taken_over_by_one(store: ReadStore) -> None:
    await store.requests.claim(WANTED)
    left = await store.requests.claim(replace(WANTED, claimed_at=START + timedelta(hours=1)))
    later = START + timedelta(minutes=1)
    taken = await asyncio.gather(*(store.requests.reclaim(left, later + timedelta(seconds=each)) for each in range(4)))
    assert sorted(taken) == [False, False, False, True]
    await store.requests.release("u", START)
    left = await store.requests.claim(WANTED)
    assert left.claimed_at == START
    await store.requests.complete("u", b"[1]")
    assert not await store.requests.reclaim(left, later), "it was answered meanwhile"


async def test_one_of_which_nothing_was_written_is_as_none(store: ReadStore) -> None:
    await store.requests.claim(WANTED)
    await store.requests.discard("u")
    assert await store.requests.claim(WANTED) is WANTED
    await store.requests.complete("u", b"[1]")
    await store.requests.discard("u")
    assert (await store.requests.claim(WANTED)).answer == b"[1]"


async def test_answers_are_forgotten_after_a_week(store: ReadStore) -> None:
    await store.requests.claim(WANTED)
    await store.requests.complete("u", b"[1]")
    await store.requests.remove_expired(START + RETENTION)
    assert (await store.requests.claim(WANTED)).answer == b"[1]"
    await store.requests.remove_expired(START + RETENTION + timedelta(seconds=1))
    assert await store.requests.claim(WANTED) is WANTED
