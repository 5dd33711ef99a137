"""The progress of a rebuild is stored and read back, and says how long it still takes."""

from datetime import UTC, datetime

import pytest
from aiokafka import TopicPartition

from app.rebuild.progress import RebuildProgress

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_stored_progress_is_read_back() -> None:
    progress = RebuildProgress("waiting_for_lanes", NOON, NOON, 7, 8, 9, 0.5, ["messages.realtime/0"])
    assert RebuildProgress.decode(progress.encode()) == progress
    assert RebuildProgress.decode(RebuildProgress().encode()) == RebuildProgress() == RebuildProgress.decode(None)


def test_offsets_of_updates_are_stored_by_partition() -> None:
    progress = RebuildProgress()
    assert progress.first_updates() == {}
    ends = {TopicPartition("updates.realtime", 1): 7, TopicPartition("updates.backfill", 0): 0}
    progress.record_updates(ends)
    assert RebuildProgress.decode(progress.encode()).first_updates() == ends


def test_the_time_left_follows_from_the_messages_per_offset() -> None:
    assert RebuildProgress(messages=400, read=4, total=10, rate=50.0).seconds_left == 12.0
    assert RebuildProgress(messages=400, read=10, total=10, rate=50.0).seconds_left == 0.0


@pytest.mark.parametrize("unknown", ["messages", "read", "rate"])
def test_the_time_left_is_unknown_at_first(unknown: str) -> None:
    progress = RebuildProgress(messages=400, read=4, total=10, rate=50.0)
    setattr(progress, unknown, 0)
    assert progress.seconds_left is None
