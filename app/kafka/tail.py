"""Follows a topic live: all partitions, through losses of the broker. Joins no group and commits nothing."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from app.kafka.clients import Cluster, Consumer, started
from app.kafka.retries import retry
from schemas.topics import MAX_RECORD_BYTES

CATCH_UP_TIMEOUT_SECONDS: Final = 60.0
POLL_MS: Final = 1_000
POLL_RECORDS: Final = 1_000  # at a time; other tasks have their turn in between

Take = Callable[[Sequence[Any]], None]

_log = logging.getLogger(__name__)


class Tail:
    """Hands committed records to `take`: consecutive ones of one partition, each once, in order.

    It starts at the beginning of the topic, or at the end that the topic has at the first connection.
    """

    def __init__(self, cluster: Cluster, topic: str, take: Take, *, start: Literal["beginning", "end"]) -> None:
        self._cluster = cluster
        self._topic = topic
        self._take = take
        self._start = start
        self._positions: dict[int, int] = {}
        self._connected = False
        self._caught_up = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def positions(self) -> Mapping[int, int]:
        """The offset of the next record, by partition."""
        return dict(self._positions)

    @property
    def complete(self) -> bool:
        """Whether all records that the topic had at the first connection are taken."""
        return self._caught_up.is_set()

    @property
    def alive(self) -> bool:
        """Whether it is complete, and connected now."""
        return self._connected and self.complete

    def start(self) -> None:
        """Follow the topic in the background, until `stop`."""
        self._task = asyncio.create_task(self._follow(), name=f"tail of {self._topic}")

    async def stop(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def caught_up(self, seconds: float = CATCH_UP_TIMEOUT_SECONDS) -> None:
        """Wait until the tail is complete; raise the error that ended it, if there is one.

        Raises:
            KafkaTimeoutError: the tail was not complete within `seconds`.

        """
        if self._task is None:
            raise RuntimeError("the tail is not started")
        waiting = asyncio.create_task(self._caught_up.wait())
        try:
            await asyncio.wait((waiting, self._task), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._task.done():
            self._task.result()
        if not self.complete:
            raise KafkaTimeoutError(f"{self._topic} could not be read to its end in {seconds:.0f} seconds")

    async def _follow(self) -> None:
        try:
            await retry(self._follow_once, (KafkaError, OSError), name=f"following {self._topic}")
        except Exception:
            _log.exception("%s is not followed any more", self._topic)
            raise

    async def _follow_once(self) -> None:
        client = self._cluster.consumer(self._topic, isolation="read_committed", partition_bytes=MAX_RECORD_BYTES)
        async with started(client) as consumer:
            partitions = sorted(consumer.assignment())
            ends = await consumer.end_offsets(partitions)
            self._seek(consumer, ends)
            self._connected = True
            try:
                while True:
                    if not self.complete and await _has_reached(consumer, ends):
                        self._caught_up.set()
                    polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
                    for partition, records in polled.items():
                        self._positions[partition.partition] = records[-1].offset + 1
                        self._take(records)
            finally:
                self._connected = False

    def _seek(self, consumer: Consumer, ends: Mapping[TopicPartition, int]) -> None:
        for partition, end in ends.items():
            first = 0 if self._start == "beginning" else end
            consumer.seek(partition, self._positions.setdefault(partition.partition, first))


async def _has_reached(consumer: Consumer, ends: Mapping[TopicPartition, int]) -> bool:
    return all([await consumer.position(partition) >= end for partition, end in ends.items()])
