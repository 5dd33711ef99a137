"""Counts that are added in several steps are those of one step."""

from dataclasses import replace
from datetime import UTC, datetime

from app.lanes.pending_counts import PendingCounts
from app.store.models import StreamDelta


def delta(stream: str, day: int, count: int) -> StreamDelta:
    return StreamDelta(
        stream=stream, lane="realtime", count=count, bytes=10 * count,
        last_message_at=datetime(2026, 1, day, tzinfo=UTC), last_arrival_at=datetime(2026, 2, day, tzinfo=UTC),
    )  # fmt: skip


def test_streams_and_jobs_add_up_and_the_newest_time_counts() -> None:
    pending = PendingCounts(5, 5)
    pending.add(9, {"visits": delta("visits", 3, 2)}, {"job": 2}, {"too_large": 1})
    pending.add(
        12, {"visits": delta("visits", 1, 4), "orders": delta("orders", 2, 1)}, {"job": 1, "other": 1}, {"too_large": 2}
    )
    pending.add(7, {}, {}, {})
    assert (pending.start, pending.next_offset) == (5, 12), "it never goes back"
    assert (pending.jobs, pending.rejected) == ({"job": 3, "other": 1}, {"too_large": 3})
    visits = delta("visits", 3, 6)
    assert visits.blocked == {}
    assert pending.streams == {"visits": visits, "orders": delta("orders", 2, 1)}


def test_blocked_identities_add_up() -> None:
    pending = PendingCounts(0, 0)
    pending.add(1, {"visits": replace(delta("visits", 1, 1), blocked={("email", "null"): 2})}, {}, {})
    pending.add(
        2, {"visits": replace(delta("visits", 1, 1), blocked={("email", "null"): 1, ("email", "0"): 4})}, {}, {}
    )
    assert pending.streams["visits"].blocked == {("email", "null"): 3, ("email", "0"): 4}
