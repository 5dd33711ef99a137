"""The dedup window remembers messages for a week, and the store not much longer."""

from pathlib import Path

import pytest

from app.profile_store.partition_store import Changes, PartitionStore
from app.profiles.dedup import WINDOW_DAYS, DedupWindow

DAY = 86_400


def test_a_batch_is_remembered_for_a_week_and_then_removed(tmp_path: Path) -> None:
    now = 0.0
    store = PartitionStore.open(tmp_path)
    seen = DedupWindow(store.get_seen, store.iterate_seen, lambda: now)

    def known(batch: str) -> list[list[int]]:
        with seen.spans_of({batch}) as spans:
            return spans[batch]

    def keep() -> None:
        store.write(Changes(seen=seen.take_changes()))

    with seen.spans_of({"upload/1"}) as spans:
        spans["upload/1"] = [[0, 10]]
    keep()
    now = WINDOW_DAYS * DAY
    assert known("upload/1") == [[0, 10]]
    keep()  # it was used again, and is known for a week from now
    now = (2 * WINDOW_DAYS + 1) * DAY
    assert known("upload/1") == []
    seen = DedupWindow(store.get_seen, store.iterate_seen, lambda: now)
    assert known("upload/2") == []
    keep()
    assert [key for key, _ in store.iterate_seen(b"", 10)] == [b"upload/2"]
    store.close()


@pytest.mark.slow
def test_the_store_holds_at_most_two_weeks_of_single_messages(tmp_path: Path) -> None:
    a_day, now = 4_000, 0.0
    store = PartitionStore.open(tmp_path)
    seen = DedupWindow(store.get_seen, store.iterate_seen, lambda: now)
    for day in range(10 * WINDOW_DAYS):
        now = day * DAY
        for begin in range(0, a_day, 1_000):
            batches = {f"{number * 7_919 % 10_007:05}-{day}" for number in range(begin, begin + 1_000)}
            with seen.spans_of(batches) as spans:
                spans |= {batch: [[0, 1]] for batch in batches}
            store.write(Changes(seen=seen.take_changes()))
    rows = store.iterate_seen(b"", 1_000_000)
    assert len(rows) < 2 * WINDOW_DAYS * a_day
    store.close()
