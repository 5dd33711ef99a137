"""Abort the process when records are pending, none is processed, and no rebalance explains it.

Runs in its own thread, so that it also detects an agent that blocks the event loop.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.errors import KafkaError
from faust.exceptions import FaustError

from app.process import Monotonic

CHECKS_PER_TIMEOUT: Final = 5


@dataclass(frozen=True, slots=True)
class WorkerProgress:
    """A sample of the progress of the worker."""

    has_work: bool
    is_settled: bool  # partitions are assigned and their state is recovered
    acknowledged: int  # records


class StallTimer:
    """Detects a stall from samples of progress."""

    def __init__(self, seconds: float, monotonic: Monotonic) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._since = monotonic()
        self._acknowledged = -1

    def is_stalled(self, progress: WorkerProgress) -> bool:
        """Whether pending work has made no progress for too long, as of this sample."""
        if not progress.has_work or not progress.is_settled or progress.acknowledged != self._acknowledged:
            self._since = self._monotonic()
            self._acknowledged = progress.acknowledged
        return self._monotonic() - self._since >= self._seconds


@asynccontextmanager
async def watch_progress(app: Any, seconds: float, monotonic: Monotonic) -> AsyncIterator[None]:
    """Monitor the worker while the block runs. Trip the latch if it stalls for `seconds`."""
    finished = threading.Event()
    thread = threading.Thread(
        target=_watch,
        args=(app, asyncio.get_running_loop(), StallTimer(seconds, monotonic), seconds, finished),
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        finished.set()
        await asyncio.to_thread(thread.join)


def _watch(
    app: Any, loop: asyncio.AbstractEventLoop, timer: StallTimer, seconds: float, finished: threading.Event
) -> None:
    while not finished.wait(seconds / CHECKS_PER_TIMEOUT):
        sampling = asyncio.run_coroutine_threadsafe(sample_progress(app, seconds / CHECKS_PER_TIMEOUT / 2), loop)
        try:
            progress = sampling.result(seconds / CHECKS_PER_TIMEOUT)
        except concurrent.futures.TimeoutError:  # the event loop is blocked, so nothing is processed
            progress = WorkerProgress(has_work=True, is_settled=True, acknowledged=app.consumer.acknowledged)
        if progress is not None and timer.is_stalled(progress):
            app.latch.trip(f"records are pending and none was processed for {seconds:g} seconds")
            return


async def sample_progress(app: Any, seconds: float) -> WorkerProgress | None:
    """Compare the end of each owned partition with the position of the consumer, and check for unacked records.

    The position skips transaction markers and aborted records, and the end is that of committed records: a partition
    that ends in a marker or an open transaction has no work. None if the consumer isn't running yet or the broker
    doesn't respond in time, which a restart wouldn't fix.
    """
    consumer = app.consumer
    acknowledged = consumer.acknowledged
    try:
        owned = [tp for tp in consumer.assignment() if tp.topic not in app.tables.changelog_topics]
        if not owned or app.rebalancing or app.in_recovery or not consumer.flow_active:
            return WorkerProgress(has_work=False, is_settled=False, acknowledged=acknowledged)
        if consumer.unacked or any(topic.acks and not topic.queue.empty() for topic in app.topics):
            return WorkerProgress(has_work=True, is_settled=True, acknowledged=acknowledged)
        async with asyncio.timeout(seconds):
            ends = await consumer.highwaters(*owned)
            positions = {tp: await consumer.position(tp) for tp in owned}
    except (KafkaError, FaustError, TimeoutError):
        return None
    return WorkerProgress(
        has_work=any((positions[tp] or 0) < (ends.get(tp) or 0) for tp in owned),
        is_settled=True,
        acknowledged=acknowledged,
    )
