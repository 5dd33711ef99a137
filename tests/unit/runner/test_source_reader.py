"""A source is given up when it delivers neither a batch nor the minimum rate, and a batch that hangs is left behind."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from app.runner.source_reader import SLOW_BYTES, SLOW_SECONDS, Pace, SourceReader
from connectors.contract import Batch, Limits, RetryLater
from tests.clock import ManualMonotonic
from tests.unit.runner.jobs import batch

LIMITS = Limits(source_timeout_seconds=60, source_bytes_per_second=10)


@pytest.fixture
def monotonic() -> ManualMonotonic:
    return ManualMonotonic()


def test_the_pace_counts_from_the_last_complete_bytes(monotonic: ManualMonotonic) -> None:
    pace = Pace(600, monotonic)
    for _ in range(10):
        monotonic.now += 59
        assert pace.seconds == 59
        pace.received(600)
    pace.received(599)
    monotonic.now += 60
    assert (pace.bytes, pace.seconds) == (599, 60)
    pace.received(1)
    assert (pace.bytes, pace.seconds) == (0, 0)


class Source:
    """A source that delivers what the test says."""

    def __init__(self, monotonic: ManualMonotonic) -> None:
        self.ready = asyncio.Event()
        self.closed = False
        self.reader = SourceReader(self._read, LIMITS, monotonic)

    async def _read(self, limits: Limits) -> AsyncGenerator[Batch, None]:
        self.received = limits.received
        try:
            while await self.ready.wait():
                self.ready.clear()
                yield batch()
        finally:
            self.closed = True

    async def fetching(self) -> "asyncio.Task[Batch | None]":
        task = asyncio.create_task(self.reader.next())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task


async def test_a_source_is_slow_until_its_next_batch(monotonic: ManualMonotonic) -> None:
    source = Source(monotonic)
    fetching = await source.fetching()
    source.reader.check()
    assert not source.reader.is_slow
    monotonic.now += SLOW_SECONDS
    source.reader.check()
    assert source.reader.is_slow
    source.ready.set()
    assert await fetching
    source.reader.check()
    assert source.reader.is_slow, "with the batch that was fetched last"
    await source.fetching()
    source.reader.check()
    assert not source.reader.is_slow
    await source.reader.close(left_behind)


async def test_a_source_that_delivers_fast_is_not_slow_however_long_its_batch_takes(monotonic: ManualMonotonic) -> None:
    source = Source(monotonic)
    await source.fetching()
    for _ in range(1_000):
        monotonic.now += 0.9 * SLOW_SECONDS
        source.received(SLOW_BYTES)
        source.reader.check()
    assert not source.reader.is_slow
    await source.reader.close(left_behind)


async def test_only_the_time_of_a_fetch_counts(monotonic: ManualMonotonic) -> None:
    source = Source(monotonic)
    source.ready.set()
    await source.reader.next()
    monotonic.now += 1_000
    source.reader.check()  # the batch is being committed
    assert not source.reader.is_slow
    source.ready.set()
    assert await source.reader.next()
    await source.reader.close(left_behind)


async def test_a_source_that_is_too_slow_is_given_up_and_closed(monotonic: ManualMonotonic) -> None:
    source = Source(monotonic)
    fetching = await source.fetching()
    for _ in range(5):
        monotonic.now += 59
        source.received(600)
        source.reader.check()
    monotonic.now += 59
    source.received(7)
    source.reader.check()
    monotonic.now += 1
    source.reader.check()
    source.reader.check()
    with pytest.raises(RetryLater) as given_up:
        await fetching
    assert (given_up.value.code, given_up.value.params) == ("too_slow", {"bytes": 7, "seconds": 60})
    await source.reader.close(left_behind)
    assert source.closed


async def test_a_connector_that_cancels_itself_is_an_error(monotonic: ManualMonotonic) -> None:
    async def read(_limits: Limits) -> AsyncGenerator[Batch, None]:
        raise asyncio.CancelledError
        yield batch()

    reader = SourceReader(read, LIMITS, monotonic)
    with pytest.raises(RuntimeError, match="cancelled"):
        await reader.next()
    await reader.close(left_behind)


async def test_a_connector_that_fails_while_it_closes_is_logged(
    monotonic: ManualMonotonic, caplog: pytest.LogCaptureFixture
) -> None:
    async def read(_limits: Limits) -> AsyncGenerator[Batch, None]:
        try:
            yield batch()
        finally:
            raise OSError("https://user:secret@example.com")

    reader = SourceReader(read, LIMITS, monotonic)
    await reader.next()
    await reader.close(left_behind)
    assert "failed with OSError while it closed its source" in caplog.text
    assert "secret" not in caplog.text


async def test_a_connector_that_does_not_end_is_left_behind(
    monotonic: ManualMonotonic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.runner.source_reader.CLOSE_TIMEOUT_SECONDS", 0.0)
    released = asyncio.Event()

    async def read(_limits: Limits) -> AsyncGenerator[Batch, None]:
        try:
            yield batch()
        finally:
            await released.wait()

    reader = SourceReader(read, LIMITS, monotonic)
    await reader.next()
    left: list[asyncio.Task[None]] = []
    await reader.close(left.append)
    released.set()
    await left[0]


def left_behind(closing: Any) -> None:
    raise AssertionError(f"{closing} was left behind")
