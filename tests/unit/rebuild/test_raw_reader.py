"""Windows have what arrived on one day, whenever it happened, and are full but no larger than memory allows."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from aiokafka import TopicPartition

from app.kafka.memory.cluster import MemoryCluster
from app.rebuild import raw_reader
from app.rebuild.raw_reader import FIRST_RECORDS, RawReader, Window, size_of, windows_of
from tests.unit.rebuild.deployment import PARTITIONS, cluster, send
from tests.unit.rebuild.test_fold import ARRIVED, DAY, NOW, Record, packed

WHERE = TopicPartition("messages.backfill", 1)
REALTIME = TopicPartition("messages.realtime", 0)
LONG_AGO = (ARRIVED - 1_000 * DAY) // 1000


def record(offset: int, days: int, size: int = 1) -> Record:
    """A packed record of something old, that came in so many days later."""
    found = packed(offset, "j/1", offset, [{"text": "x" * size}], arrived=NOW + timedelta(days=days))
    return replace(found, timestamp=LONG_AGO + offset)


def test_history_that_arrived_on_one_day_is_one_window() -> None:
    (window,) = windows_of(WHERE, [record(number, 0) for number in range(5)])
    assert window.arrived == ARRIVED
    assert window.size == sum(map(size_of, window.records))


def test_days_of_arrival_have_their_own_windows() -> None:
    singles = [Record(number, b"{}", timestamp=ARRIVED // 1000 + number * 12 * 3_600_000) for number in (2, 3, 4)]
    garbage = Record(5, b"\0\0\0\0\1", timestamp=ARRIVED // 1000 + 2 * 24 * 3_600_000)
    windows = list(windows_of(WHERE, [record(0, 0), record(1, 1), *singles, garbage]))
    assert [[item.offset for item in window.records] for window in windows] == [[0], [1, 2, 3], [4, 5]]
    assert [(window.arrived - ARRIVED) / DAY for window in windows] == [0, 1.5, 2]


def test_a_record_without_a_time_stays_in_the_window() -> None:
    timeless = [Record(number, value, timestamp=-1) for number, value in ((1, b"{}"), (3, b"\0garbage"))]
    (window,) = windows_of(WHERE, [record(0, 0), timeless[0], record(2, 0), timeless[1]])
    assert window.arrived == ARRIVED


def test_large_reads_are_several_windows() -> None:
    records = [record(number, 0, raw_reader.WINDOW_BYTES // 3) for number in range(8)]
    assert [len(window.records) for window in windows_of(WHERE, records)] == [3, 3, 2]


@asynccontextmanager
async def reading(kafka: MemoryCluster, begin: int = 0) -> AsyncIterator[RawReader]:
    """Read the first partition of real time from an offset on, and all others from their beginning."""
    reader = RawReader(kafka, PARTITIONS)
    try:
        await reader.start(dict.fromkeys(reader.sources, 0) | {REALTIME: begin})
        yield reader
    finally:
        await reader.stop()


def offsets(windows: Sequence[Window]) -> list[list[int]]:
    return [[item.offset for item in window.records] for window in windows]


async def test_all_partitions_of_both_lanes_are_read() -> None:
    kafka = cluster()
    for lane in ("realtime", "backfill"):
        for number in range(PARTITIONS):
            await send(kafka, [{}] * (1 + number), lane, number)
    async with reading(kafka) as reader:
        windows = await reader.read(0)
        assert {window.source: len(window.records) for window in windows} == {
            source: 1 + source.partition for source in reader.sources
        }
        assert await reader.read(0) == []
    assert kafka.connections == 0


async def test_reading_begins_at_the_given_offsets() -> None:
    kafka = cluster()
    await send(kafka, [{}] * 3)
    async with reading(kafka, begin=2) as reader:
        assert offsets(await reader.read(0)) == [[2]]
        assert await reader.position(REALTIME) == 3


async def test_a_window_is_filled_with_all_that_is_there() -> None:
    kafka = cluster()
    await send(kafka, [{}] * 3 * FIRST_RECORDS)
    async with reading(kafka) as reader:
        assert offsets(await reader.read(0)) == [list(range(3 * FIRST_RECORDS))]


async def test_a_window_is_filled_with_no_more_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = cluster()
    await send(kafka, [{}] * 4 * FIRST_RECORDS)
    size = size_of(kafka.records(REALTIME.topic)[0])
    monkeypatch.setattr(raw_reader, "WINDOW_BYTES", 2 * FIRST_RECORDS * size)
    async with reading(kafka) as reader:
        for _ in range(2):
            assert [len(window.records) for window in await reader.read(0)] == [2 * FIRST_RECORDS]


async def test_records_in_an_open_transaction_are_not_waited_for() -> None:
    kafka = cluster()
    await send(kafka, [{}])
    producer = kafka.transactional_producer("job", timeout_ms=60_000)
    await producer.start()
    await producer.begin_transaction()
    await producer.send(REALTIME.topic, b"{}", partition=0)
    async with reading(kafka) as reader:
        assert offsets(await reader.read(0)) == [[0]]
        await producer.commit_transaction()
        assert offsets(await reader.read(0)) == [[1]]
    await producer.stop()


async def test_a_read_has_no_more_records_than_a_window_once_their_size_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kafka = cluster()
    await send(kafka, [{"email": "a@b.c"}] * 3 * FIRST_RECORDS)
    size = size_of(kafka.records(REALTIME.topic)[0])
    monkeypatch.setattr(raw_reader, "WINDOW_BYTES", 4 * size)
    async with reading(kafka) as reader:
        assert [len(window.records) for window in await reader.read(0)] == [4] * (FIRST_RECORDS // 4)
        assert [len(window.records) for window in await reader.read(0)] == [4]
        monkeypatch.setattr(raw_reader, "WINDOW_BYTES", 100 * size)
        assert [len(window.records) for window in await reader.read(0)] == [3 * FIRST_RECORDS - FIRST_RECORDS - 4]
