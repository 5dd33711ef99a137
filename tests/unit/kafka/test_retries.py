"""Back-off: temporary failures are retried, all others are raised at once."""

import asyncio
from collections.abc import Iterator

import pytest
import stamina

from app.kafka.retries import retry


class Work:
    """Raises the given failures in turn, then returns the number of calls."""

    def __init__(self, *failures: BaseException) -> None:
        self._failures = list(failures)
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        if self._failures:
            raise self._failures.pop(0)
        return self.calls


@pytest.fixture
def no_delay() -> Iterator[None]:
    with stamina.set_testing(True, attempts=5):
        yield


async def test_temporary_failures_are_retried_and_logged(no_delay: None, caplog: pytest.LogCaptureFixture) -> None:
    assert await retry(Work(OSError("one"), ConnectionError("two")), (OSError,), name="connecting") == 3
    assert caplog.messages == [
        "connecting failed, retrying: OSError('one')",
        "connecting failed, retrying: ConnectionError('two')",
    ]


async def test_work_without_a_name_is_retried_without_logging(no_delay: None, caplog: pytest.LogCaptureFixture) -> None:
    assert await retry(Work(OSError()), (OSError,)) == 2
    assert caplog.messages == []


async def test_other_failures_are_raised_at_once(no_delay: None, caplog: pytest.LogCaptureFixture) -> None:
    work = Work(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await retry(work, (OSError,), name="connecting")
    assert work.calls == 1
    assert caplog.messages == []


async def test_the_last_failure_is_raised_after_the_timeout() -> None:
    work = Work(OSError("first"), OSError("second"))
    with pytest.raises(OSError, match="second"):
        await retry(work, (OSError,), give_up_after=0.05)


async def test_a_cancelled_retry_ends() -> None:
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(retry(work, (Exception,)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
