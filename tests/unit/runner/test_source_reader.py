"""A source is given up when it delivers neither a batch nor the least rate, and a batch that hangs is left behind."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from app.runner.source_reader import SLOW_SECONDS, Pace, SourceReader
from connectors.contract import Batch, Limits, RetryLater
from tests.unit.runner.jobs import batch

LIMITS = Limits(source_timeout_seconds=60, source_bytes_per_second=10)


class Steady:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def steady() -> Steady:
    return Steady()


def test_a_source_needs_the_least_rate_on_average(steady: Steady) -> None:
    pace = Pace(LIMITS, steady)
    for _ in range(10):
        steady.now += 59
        assert not pace.is_too_slow
        pace.received(600)
    pace.received(599)
    steady.now += 59
    assert not pace.is_too_slow
    steady.now += 1
    assert pace.is_too_slow
    assert (pace.bytes, pace.seconds) == (599, 60)
    pace.received(1)
    assert not pace.is_too_slow


async def test_only_the_time_of_a_fetch_counts(steady: Steady) -> None:
    async def read() -> AsyncGenerator[Batch, None]:
        yield batch()

    reader = SourceReader(read(), Pace(LIMITS, steady), steady)
    assert await reader.next()
    steady.now += 1_000
    reader.check()  # the batch is being committed
    assert not reader.is_slow
    assert await reader.next() is None
    await reader.close(left_behind)


async def test_a_source_that_is_too_slow_is_given_up_and_closed(steady: Steady) -> None:
    closed = asyncio.Event()

    async def read() -> AsyncGenerator[Batch, None]:
        try:
            await asyncio.Event().wait()
            yield batch()
        finally:
            closed.set()

    reader = SourceReader(read(), Pace(LIMITS, steady), steady)
    fetching = asyncio.create_task(reader.next())
    await asyncio.sleep(0)
    steady.now += SLOW_SECONDS
    assert reader.is_slow
    reader.check()
    steady.now += 59
    reader.check()
    with pytest.raises(RetryLater) as given_up:
        await fetching
    assert (given_up.value.code, given_up.value.params) == ("too_slow", {"bytes": 0, "seconds": 60})
    await reader.close(left_behind)
    assert closed.is_set()


async def test_a_connector_that_cancels_itself_is_an_error(steady: Steady) -> None:
    async def read() -> AsyncGenerator[Batch, None]:
        raise asyncio.CancelledError
        yield batch()

    reader = SourceReader(read(), Pace(LIMITS, steady), steady)
    with pytest.raises(RuntimeError, match="cancelled"):
        await reader.next()
    await reader.close(left_behind)


async def test_a_connector_that_fails_while_it_closes_is_logged(
    steady: Steady, caplog: pytest.LogCaptureFixture
) -> None:
    async def read() -> AsyncGenerator[Batch, None]:
        try:
            yield batch()
        finally:
            raise OSError("lost")

    reader = SourceReader(read(), Pace(LIMITS, steady), steady)
    await reader.next()
    await reader.close(left_behind)
    assert "failed while it closed its source" in caplog.text


async def test_a_connector_that_does_not_end_is_left_behind(steady: Steady, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.runner.source_reader.CLOSE_TIMEOUT_SECONDS", 0.0)
    released = asyncio.Event()

    async def read() -> AsyncGenerator[Batch, None]:
        try:
            yield batch()
        finally:
            await released.wait()

    reader = SourceReader(read(), Pace(LIMITS, steady), steady)
    await reader.next()
    left: list[asyncio.Task[None]] = []
    await reader.close(left.append)
    released.set()
    await left[0]


def left_behind(closing: Any) -> None:
    raise AssertionError(f"{closing} was left behind")
