"""Follows a topic live: all partitions, through outages of the broker. Joins no group and commits nothing."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, Literal

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

from app.kafka.clients import Cluster, Consumer, started
from app.kafka.retries import retry
from app.process import Monotonic
from app.tasks import cancel_all
from schemas.topics import MAX_RECORD_BYTES

CATCH_UP_TIMEOUT_SECONDS: Final = 60.0
POLL_MS: Final = 1_000
POLL_RECORDS: Final = 1_000  # in one poll; other tasks run in between
HEARTBEAT_INTERVAL_SECONDS: Final = 1.0
MAX_AGE_SECONDS: Final = 5.0  # of a tail that is alive

OnRecords = Callable[[Sequence[Any]], None]

_log = logging.getLogger(__name__)


class Tail:
    """Passes committed records to `on_records`: consecutive ones of one partition, each once, in order.

    It starts at the beginning of the topic, or at the end that the topic has at the first connection.
    """

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        on_records: OnRecords,
        *,
        start: Literal["beginning", "end"],
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._topic = topic
        self._on_records = on_records
        self._start = start
        self._positions: dict[int, int] = {}
        self._monotonic = monotonic
        self._connected = False
        self._current_at = -math.inf  # the last time at which every record was known to be delivered
        self._caught_up = asyncio.Event()
        self._polled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def positions(self) -> Mapping[int, int]:
        """The offset of the next record, by partition."""
        return dict(self._positions)

    @property
    def complete(self) -> bool:
        """Whether all records that the topic had at the first connection are delivered."""
        return self._caught_up.is_set()

    @property
    def alive(self) -> bool:
        """Whether it is complete, and connected now."""
        return self._connected and self.age <= MAX_AGE_SECONDS

    @property
    def age(self) -> float:
        """The seconds since every record of the topic was known to be delivered; infinite until `complete`.

        A consumer can't tell a topic without new records from an unreachable broker, so the tail asks the broker for
        the end of the topic every second.
        """
        return self._monotonic() - self._current_at

    def start(self) -> None:
        """Follow the topic in the background, until `stop`."""
        self._task = asyncio.create_task(self._follow(), name=f"tail of {self._topic}")

    async def stop(self) -> None:
        """Stop following."""
        await cancel_all(self._task)

    async def caught_up(self, seconds: float | None = CATCH_UP_TIMEOUT_SECONDS) -> None:
        """Wait until the tail is complete, without a limit if `seconds` is None; raise the error that ended it, if any.

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
            self._seek(consumer, await consumer.end_offsets(sorted(consumer.assignment())))
            self._connected = True
            heartbeat = asyncio.create_task(self._measure_age(consumer), name=f"age of the tail of {self._topic}")
            try:
                while True:
                    polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
                    for partition, records in polled.items():
                        self._positions[partition.partition] = records[-1].offset + 1
                        self._on_records(records)
                    self._polled.set()
            finally:
                self._connected = False
                await cancel_all(heartbeat)

    async def _measure_age(self, consumer: Consumer) -> None:
        while True:
            measured_at = self._monotonic()
            with suppress(KafkaError, OSError):  # the age grows until the broker answers again
                ends = await consumer.end_offsets(sorted(consumer.assignment()))
                while not await _has_reached(consumer, ends):
                    self._polled.clear()
                    await self._polled.wait()
                self._current_at = measured_at
                self._caught_up.set()
            await asyncio.sleep(HEARTBEAT_INTERVAL_SECONDS)

    def _seek(self, consumer: Consumer, ends: Mapping[TopicPartition, int]) -> None:
        for partition, end in ends.items():
            first = 0 if self._start == "beginning" else end
            consumer.seek(partition, self._positions.setdefault(partition.partition, first))


async def _has_reached(consumer: Consumer, ends: Mapping[TopicPartition, int]) -> bool:
    return all([await consumer.position(partition) >= end for partition, end in ends.items()])
