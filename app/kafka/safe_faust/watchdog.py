"""Leaves the process when there is something to do, nobody does it, and no rebalance explains that.

It looks from a thread of its own, so that an agent that blocks the event loop doesn't blind it.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.errors import KafkaError
from faust.exceptions import FaustError

CHECKS_PER_TIMEOUT: Final = 5  # within the time that a worker is given


@dataclass(frozen=True, slots=True)
class WorkerProgress:
    """What one look at the worker shows. `done` changes whenever a record is acknowledged."""

    work_left: bool
    settled: bool  # partitions are assigned and their state is recovered
    done: int


class StallTimer:
    """Decides how long is too long; knows nothing of Kafka. The clock counts seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._since = clock()
        self._done = -1

    def lost(self, sight: WorkerProgress) -> bool:
        """Whether work has been left undone for too long, as of this look."""
        if not sight.work_left or not sight.settled or sight.done != self._done:
            self._since = self._clock()
            self._done = sight.done
        return self._clock() - self._since >= self._seconds


@asynccontextmanager
async def watched(app: Any, seconds: float, clock: Callable[[], float]) -> AsyncIterator[None]:
    """Look several times within `seconds` as long as the block runs; trip the latch when patience is lost."""
    done = threading.Event()
    watching = threading.Thread(
        target=_watch, args=(app, asyncio.get_running_loop(), StallTimer(seconds, clock), seconds, done), daemon=True
    )
    watching.start()
    try:
        yield
    finally:
        done.set()
        await asyncio.to_thread(watching.join)


def _watch(
    app: Any, loop: asyncio.AbstractEventLoop, patience: StallTimer, seconds: float, done: threading.Event
) -> None:
    while not done.wait(seconds / CHECKS_PER_TIMEOUT):
        looking = asyncio.run_coroutine_threadsafe(look(app, seconds / CHECKS_PER_TIMEOUT / 2), loop)
        try:
            sight = looking.result(seconds / CHECKS_PER_TIMEOUT)
        except concurrent.futures.TimeoutError:  # nothing runs in the loop, and so nothing is done
            sight = WorkerProgress(work_left=True, settled=True, done=app.consumer.acknowledged)
        if sight is not None and patience.lost(sight):
            app.latch.trip(f"records are waiting and none was processed for {seconds:g} seconds")
            return


async def look(app: Any, seconds: float) -> WorkerProgress | None:
    """Compare the end of each owned partition with the consumer's position, and what is taken with what is done.

    The position moves over transaction markers and aborted records, and the end is that of the committed records: a
    partition that ends in a marker, or in a transaction still open, leaves no work. None when the consumer isn't
    running yet or the broker doesn't answer in time: a restarted worker would find it as silent.
    """
    consumer = app.consumer
    done = consumer.acknowledged
    try:
        owned = [tp for tp in consumer.assignment() if tp.topic not in app.tables.changelog_topics]
        if not owned or app.rebalancing or app.in_recovery or not consumer.flow_active:
            return WorkerProgress(work_left=False, settled=False, done=done)
        if consumer.unacked or any(topic.acks and not topic.queue.empty() for topic in app.topics):
            return WorkerProgress(work_left=True, settled=True, done=done)
        async with asyncio.timeout(seconds):
            ends = await consumer.highwaters(*owned)
            positions = {tp: await consumer.position(tp) for tp in owned}
    except (KafkaError, FaustError, TimeoutError):
        return None
    return WorkerProgress(
        work_left=any((positions[tp] or 0) < (ends.get(tp) or 0) for tp in owned), settled=True, done=done
    )
