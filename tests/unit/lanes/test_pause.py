"""The pause flag: which lanes it can pause, and how often the store is queried."""

from datetime import UTC, datetime

import pytest

from app.lanes.pause import POLL_INTERVAL_SECONDS, PauseFlag
from app.store.models import LaneSwitch
from app.store.read_store import ReadStore
from tests.clock import ManualMonotonic

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


async def switch(store: ReadStore, lane: str, *, paused: bool) -> None:
    await store.lanes.switch(lane, LaneSwitch(paused=paused, by="user:ada", at=NOON))


async def test_the_store_is_queried_once_a_second(store: ReadStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "app.lanes")
    monotonic = ManualMonotonic()
    flag = PauseFlag("backfill", store.lanes, monotonic)
    assert not await flag.is_paused()
    await switch(store, "backfill", paused=True)
    monotonic.now += 0.9 * POLL_INTERVAL_SECONDS
    assert not await flag.is_paused()
    monotonic.now += 0.1 * POLL_INTERVAL_SECONDS
    assert await flag.is_paused()
    monotonic.now += POLL_INTERVAL_SECONDS
    assert await flag.is_paused()
    await switch(store, "backfill", paused=False)
    monotonic.now += 0.9 * POLL_INTERVAL_SECONDS
    assert await flag.is_paused(), "the interval begins again with each query"
    monotonic.now += POLL_INTERVAL_SECONDS
    assert not await flag.is_paused()
    monotonic.now += POLL_INTERVAL_SECONDS
    assert not await flag.is_paused()
    assert [(record.levelname, record.args) for record in caplog.records] == [
        ("WARNING", ("backfill",)),
        ("INFO", ("backfill",)),
    ], "only changes are logged"


async def test_the_interval_is_one_second(store: ReadStore) -> None:
    monotonic = ManualMonotonic()
    flag = PauseFlag("backfill", store.lanes, monotonic)
    assert not await flag.is_paused()
    await switch(store, "backfill", paused=True)
    monotonic.now += 0.99
    assert not await flag.is_paused()
    monotonic.now += 0.01
    assert await flag.is_paused()


async def test_real_time_can_not_be_paused(store: ReadStore) -> None:
    await switch(store, "realtime", paused=True)
    assert not await PauseFlag("realtime", store.lanes, ManualMonotonic()).is_paused()
