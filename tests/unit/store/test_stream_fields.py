"""Field statistics of streams: each sketch is added once, in the transaction of its counts."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from app.store.models import BlockedIdentities, StreamDelta
from app.store.read_store import ReadStore
from app.store.tables import stream_fields
from projections.fields.field_stats import FORMAT, FieldStats, merge_sketches
from tests.unit.store.histories import START

REALTIME, BACKFILL = "messages.realtime", "messages.backfill"


def sketch(*messages: dict[str, Any]) -> FieldStats:
    stats = FieldStats()
    for message in messages:
        stats.add(message, 7)
    return stats


def delta(stream: str, *messages: dict[str, Any]) -> StreamDelta:
    fields = sketch(*messages).to_json() if messages else b""
    return StreamDelta(
        stream=stream, lane="realtime", count=50, bytes=9, last_message_at=START, last_arrival_at=START, fields=fields
    )  # fmt: skip


async def stored_fields(store: ReadStore, stream: str) -> bytes:
    return merge_sketches(await store.streams.sketches(stream)).to_json()


async def test_sketches_add_up_over_lanes_and_partitions_without_repetition(store: ReadStore) -> None:
    messages: list[dict[str, Any]] = [{"id": number, f"f{number}": "x"} for number in range(6)]
    first, second = delta("orders", *messages[:2]), delta("orders", messages[2])
    assert await store.streams.sketches("orders") == []
    assert await store.streams.add(REALTIME, 0, 0, 10, [first, delta("contacts", {"email": "a@b.example"})])
    assert not await store.streams.add(REALTIME, 0, 0, 10, [first])
    assert await store.streams.add(REALTIME, 0, 10, 20, [second, delta("quiet")])
    assert await store.streams.add(REALTIME, 0, 20, 30, [delta("orders")])
    assert await store.streams.add(REALTIME, 1, 0, 10, [delta("orders", messages[3])])
    assert await store.streams.add(BACKFILL, 0, 0, 10, [delta("orders", messages[4]), delta("orders", messages[5])])
    assert await stored_fields(store, "orders") == sketch(*messages).to_json()
    assert await stored_fields(store, "contacts") == sketch({"email": "a@b.example"}).to_json()
    assert await store.streams.sketches("quiet") == []
    assert [count.stream for count in await store.streams.counts("orders")] == ["orders"]
    assert await store.streams.counts("missing") == []


async def test_concurrent_writers_of_several_partitions_lose_nothing(database_url: str) -> None:
    stores = [await ReadStore.open(database_url) for _ in range(3)]

    async def write(number: int) -> None:
        for offset in range(8):
            deltas = [delta("orders", {"id": number * 100 + offset})]
            assert await stores[number].streams.add(REALTIME, number, offset, offset + 1, deltas)

    await asyncio.gather(*(write(number) for number in range(3)))
    expected = sketch(*({"id": number * 100 + offset} for number in range(3) for offset in range(8)))
    assert await stored_fields(stores[0], "orders") == expected.to_json()
    for store in stores:
        await store.close()


async def test_a_failed_update_is_rolled_back(store: ReadStore) -> None:
    broken = StreamDelta(
        stream="b", lane="realtime", count=1, bytes=1, last_message_at=START, last_arrival_at=START, fields=b"{"
    )  # fmt: skip
    with pytest.raises(ValueError, match="unexpected end"):
        await store.streams.add(REALTIME, 0, 0, 10, [delta("a", {"id": 1}), broken])
    assert await store.streams.sketches("a") == []
    assert await store.streams.counts() == []
    assert await store.streams.next_offset(REALTIME, 0) == 0


async def test_sketches_of_another_format_are_ignored_and_replaced(store: ReadStore) -> None:
    await store.streams.add(REALTIME, 0, 0, 10, [delta("orders", {"id": 1})])
    async with store.database.writing() as connection:
        await connection.execute(update(stream_fields).values(format=FORMAT + 1))
    assert await store.streams.sketches("orders") == []
    await store.streams.add(REALTIME, 0, 10, 20, [delta("orders", {"id": 2})])
    assert await stored_fields(store, "orders") == sketch({"id": 2}).to_json()


async def test_blocked_identities_add_up_over_partitions(store: ReadStore) -> None:
    null, zero = ("email", "null"), ("tail", "0")
    one, other = (replace(delta("orders"), blocked=counts) for counts in ({null: 2}, {null: 1, zero: 4}))
    assert await store.streams.blocked() == []
    assert await store.streams.add(REALTIME, 0, 0, 10, [one, replace(delta("visits"), blocked={null: 5})])
    assert await store.streams.add(REALTIME, 0, 10, 20, [other])
    assert await store.streams.add(REALTIME, 1, 0, 10, [one])
    assert await store.streams.blocked("orders") == [
        BlockedIdentities("realtime", *null, 5), BlockedIdentities("realtime", *zero, 4)
    ]  # fmt: skip
    assert [row.count for row in await store.streams.blocked()] == [10, 4]
