"""Samples the lag of lanes and profiles every few seconds, and keeps a minute of samples."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from app.api.services.lag_reader import LagReader
from app.kafka.clients import Cluster
from app.process import Clock, Monotonic
from app.store.lanes import LaneStore
from app.tasks import cancel_all
from projections.views.lag import LagSample, PartitionId, has_passed
from schemas.topics import LANES, MESSAGES_REJECTED, UPDATES

PROFILES_GROUP: Final = "entrepot.profiles"  # as `app.profiles.role` names its consumer group
RAW_TOPICS: Final = tuple(topic.name for topic in LANES.values())
UPDATE_TOPICS: Final = tuple(topic.name for topic in UPDATES.values())
WINDOW_SECONDS: Final = 60.0
SAMPLE_INTERVAL_SECONDS: Final = 5.0
MAX_AGE_SECONDS: Final = 0.5  # a younger sample is used again
SAMPLE_TIMEOUT_SECONDS: Final = 3.0
RETRY_DELAY_SECONDS: Final = 2.0  # after a failure; until then requests fail at once
UNKNOWN: Final = "the lag of the lanes is unknown: Kafka or the read store is not reachable"

_log = logging.getLogger(__name__)


class UnknownLagError(Exception):
    """The lag is unknown: Kafka or the read store is not reachable."""


class LagMonitor:
    """The lag samples of the last minute."""

    def __init__(
        self,
        cluster: Cluster,
        partitions: int,
        store: LaneStore,
        clock: Clock,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._partitions = partitions
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._reader: LagReader | None = None
        self._samples: deque[LagSample] = deque()
        self._gaps: dict[PartitionId, tuple[int, int]] = {}  # no records from the first offset up to the second
        self._sampling = asyncio.Lock()
        self._failure = ""
        self._failed_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sample in the background."""
        self._task = asyncio.create_task(self._run(), name="lag monitor")

    async def stop(self) -> None:
        """Stop sampling, and disconnect."""
        await cancel_all(self._task)
        await self._disconnect()

    async def samples(self) -> Sequence[LagSample]:
        """Return the samples of the last minute; the newest is at most half a second old.

        Raises:
            UnknownLagError: the lag is unknown now.

        """
        async with self._sampling:
            if not self._samples or self._monotonic() - self._samples[-1].at > MAX_AGE_SECONDS:
                self._add(await self._new_sample())
            return tuple(self._samples)

    async def has_passed(self, topics: Sequence[str], moment: datetime) -> bool:
        """Whether all records that were written to the topics up to a moment are read; False when it is unknown.

        Once true it stays true, so an old sample is enough.
        """
        if self._samples and has_passed(self._samples[-1], topics, moment):
            return True
        try:
            return has_passed((await self.samples())[-1], topics, moment)
        except UnknownLagError:
            return False

    def _add(self, sample: LagSample) -> None:
        self._samples.append(sample)
        while sample.at - self._samples[0].at > WINDOW_SECONDS:
            self._samples.popleft()

    async def _new_sample(self) -> LagSample:
        if self._monotonic() - self._failed_at < RETRY_DELAY_SECONDS:
            raise UnknownLagError(self._failure)
        try:
            async with asyncio.timeout(SAMPLE_TIMEOUT_SECONDS):
                return await self._sample()
        except (KafkaError, SQLAlchemyError, OSError, TimeoutError) as error:
            await self._disconnect()
            self._failure, self._failed_at = f"{UNKNOWN} ({type(error).__name__})", self._monotonic()
            raise UnknownLagError(self._failure) from error

    async def _run(self) -> None:
        while True:
            try:
                await self.samples()
            except UnknownLagError as error:
                _log.debug("%s", error)
            await asyncio.sleep(SAMPLE_INTERVAL_SECONDS)

    async def _sample(self) -> LagSample:
        at, sampled_at = self._monotonic(), self._clock()
        reader = await self._connected()
        raw, updates, rejected = map(self._partitions_of, (RAW_TOPICS, UPDATE_TOPICS, (MESSAGES_REJECTED.name,)))
        ends = dict(await reader.ends([*raw, *updates, *rejected]))
        dead_letters = sum(ends.pop(partition) for partition in rejected)
        stored = {**await self._store.positions(RAW_TOPICS), **await reader.positions(updates)}
        positions = {partition: self._behind_gap(partition, stored.get(partition, 0)) for partition in ends}
        waiting = {}
        behind = {partition: position for partition, position in positions.items() if position < ends[partition]}
        for partition, (offset, since) in (await reader.next_records(behind, ends) if behind else {}).items():
            if since is not None:
                waiting[partition] = since
            self._gaps[partition] = (stored.get(partition, 0), offset)
            positions[partition] = offset
        return LagSample(at, sampled_at, positions, ends, waiting, await self._store.messages(), dead_letters)

    def _partitions_of(self, topics: Sequence[str]) -> list[PartitionId]:
        return [(topic, number) for topic in topics for number in range(self._partitions)]

    def _behind_gap(self, partition: PartitionId, position: int) -> int:
        """Return the position after a known gap: transaction markers are not records."""
        start, end = self._gaps.get(partition, (0, 0))
        return end if start <= position < end else position

    async def _connected(self) -> LagReader:
        if self._reader is None:
            reader = LagReader(self._cluster, PROFILES_GROUP)
            try:
                await reader.start()
            except BaseException:
                await reader.close()
                raise
            self._reader = reader
        return self._reader

    async def _disconnect(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()
