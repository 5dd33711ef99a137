"""While Kafka is unreachable, requests for the lag fail at once."""

from pathlib import Path

import pytest

from app.api.services.lag_monitor import LagMonitor, UnknownLagError
from app.clock import utc_now
from app.kafka.clients import KafkaCluster
from app.store.read_store import ReadStore
from schemas.topics import UPDATES_BACKFILL

UNREACHABLE = "127.0.0.1:9"


async def test_while_kafka_is_away_nothing_is_known_and_everybody_is_told_at_once(tmp_path: Path) -> None:
    store = await ReadStore.open(f"sqlite+aiosqlite:///{tmp_path / 'views.db'}")
    now = [0.0]
    watch = LagMonitor(KafkaCluster(UNREACHABLE), 4, store.lanes, utc_now, lambda: now[0])
    try:
        with pytest.raises(UnknownLagError) as first:
            await watch.samples()
        now[0] = 1.0
        with pytest.raises(UnknownLagError) as second:
            await watch.samples()
        assert first.value.__cause__ is not None
        assert second.value.__cause__ is None, "it was not retried"
        assert str(second.value) == str(first.value)
        assert not await watch.has_passed([UPDATES_BACKFILL.name], utc_now())
        now[0] = 2.0
        with pytest.raises(UnknownLagError) as third:
            await watch.samples()
        assert third.value.__cause__ is not None
    finally:
        await watch.stop()
        await store.close()
