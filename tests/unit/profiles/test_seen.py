"""What was counted is known for a week, and the store doesn't keep it longer."""

from pathlib import Path

from app.profiles.seen import DAYS, Seen
from app.profiles.store import Changes, PartitionStore

DAY = 86_400


def test_a_batch_is_known_for_a_week_and_gone_some_time_after(tmp_path: Path) -> None:
    now = 0.0
    store = PartitionStore.open(tmp_path)
    seen = Seen(store.get_seen, store.iterate_seen, lambda: now)

    def known(batch: str) -> list[list[int]]:
        with seen.of({batch}) as spans:
            return spans[batch]

    def keep() -> None:
        store.write(Changes(seen=seen.taken()))

    with seen.of({"upload/1"}) as spans:
        spans["upload/1"] = [[0, 10]]
    keep()
    now = DAYS * DAY
    assert known("upload/1") == [[0, 10]]
    keep()  # it was used again, and is known for a week from now
    now = (2 * DAYS + 1) * DAY
    assert known("upload/1") == []
    seen = Seen(store.get_seen, store.iterate_seen, lambda: now)
    assert known("upload/2") == []
    keep()
    assert [key for key, _ in store.iterate_seen(b"", 10)] == [b"upload/2"]
    store.close()
