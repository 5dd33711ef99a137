"""Windows hold what arrived on one day, whenever it happened, and are no larger than memory allows."""

from dataclasses import replace
from datetime import timedelta

from aiokafka import TopicPartition

from app.rebuild import raw_reader
from app.rebuild.raw_reader import size_of, windows_of
from tests.unit.rebuild.test_fold import ARRIVED, DAY, NOW, Record, packed

WHERE = TopicPartition("messages.backfill", 1)
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


def test_large_reads_are_several_windows() -> None:
    records = [record(number, 0, raw_reader.WINDOW_BYTES // 3) for number in range(8)]
    assert [len(window.records) for window in windows_of(WHERE, records)] == [3, 3, 2]
