"""Leaves the process when there is something to do, nobody does it, and no rebalance explains that."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import KafkaError


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look at the worker shows. `done` changes whenever a record is acknowledged."""

    work_left: bool
    settled: bool  # partitions are assigned and their state is recovered
    done: int


class Patience:
    """Decides how long is too long; knows nothing of Kafka. The clock counts seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._since = clock()
        self._done = -1

    def lost(self, sight: Sight) -> bool:
        """Whether work has been left undone for too long, as of this look."""
        if not sight.work_left or not sight.settled or sight.done != self._done:
            self._since = self._clock()
            self._done = sight.done
        return self._clock() - self._since >= self._seconds


async def look(app: Any) -> Sight:
    """Compare the end of each owned partition with the consumer's position, and what is taken with what is done.

    The position moves over transaction markers and aborted records, and the end is that of the committed records: a
    partition that ends in a marker, or in a transaction still open, leaves no work.
    """
    consumer = app.consumer
    owned = [tp for tp in consumer.assignment() if tp.topic not in app.tables.changelog_topics]
    done = consumer._n_acked  # noqa: SLF001 - Faust tells it nowhere else
    if not owned or app.rebalancing or app.in_recovery or not consumer.flow_active:
        return Sight(work_left=False, settled=False, done=done)
    if consumer.unacked or any(not topic.queue.empty() for topic in app.topics if topic.acks):
        return Sight(work_left=True, settled=True, done=done)
    ends = await consumer.highwaters(*owned)
    positions = {tp: await consumer.position(tp) for tp in owned}
    work_left = any((positions[tp] or 0) < (ends.get(tp) or 0) for tp in owned)
    return Sight(work_left=work_left, settled=True, done=done)


async def watch(app: Any, seconds: float, clock: Callable[[], float]) -> None:
    """Look several times within `seconds`, for ever; trip the latch when patience is lost.

    A broker that doesn't answer is no reason to leave: a restarted worker would find it as silent.
    """
    patience = Patience(seconds, clock)
    while True:
        await asyncio.sleep(seconds / 5)
        try:
            sight = await asyncio.wait_for(look(app), timeout=seconds / 5)
        except (KafkaError, TimeoutError):
            continue
        if patience.lost(sight):
            app.latch.trip(f"records are waiting and none was processed for {seconds:g} seconds")
            return
