"""Watches how far lanes and profiles are behind: a look every few seconds, kept for a minute. Changes nothing."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from app.api.services.lag_reader import LagReader
from app.clock import Clock
from app.kafka.clients import KafkaCluster
from app.store.lanes import LaneStore
from projections.views.lag import LagSample, Place, has_passed
from schemas.topics import LANES, UPDATES

PROFILES_GROUP: Final = "entrepot.profiles"  # as `app.profiles.role` names its consumer group
TOPICS: Final = tuple(each.name for each in (*LANES.values(), *UPDATES.values()))
WINDOW_SECONDS: Final = 60.0
EVERY_SECONDS: Final = 5.0
KEEP_SECONDS: Final = 0.5  # many who ask are one look
POLL_INTERVAL_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 2.0  # after a look that failed; until then everybody is told so at once
UNKNOWN: Final = "Kafka or the read store can't be asked now how far the lanes are"

_log = logging.getLogger(__name__)


class UnknownLagError(Exception):
    """It isn't known how far the lanes are, as Kafka or the read store can't be asked now."""


class LaneWatch:
    """The samples of the last minute."""

    def __init__(
        self,
        cluster: KafkaCluster,
        partitions: int,
        store: LaneStore,
        clock: Clock,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._partitions = partitions
        self._store = store
        self._clock = clock
        self._steady = steady
        self._reader: LagReader | None = None
        self._samples: deque[LagSample] = deque()
        self._nothing: dict[Place, tuple[int, int]] = {}  # from the first offset up to the second there is no record
        self._looking = asyncio.Lock()
        self._failure = ""
        self._failed_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._watch(), name="lanes")

    async def stop(self) -> None:
        """Stop looking, and disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._disconnect()

    async def look(self) -> Sequence[LagSample]:
        """Return the samples of the last minute; the newest is at most half a second old.

        Raises:
            UnknownLagError: it isn't known how far the lanes are.

        """
        async with self._looking:
            if not self._samples or self._steady() - self._samples[-1].at > KEEP_SECONDS:
                self._keep(await self._new_sample())
            return tuple(self._samples)

    async def has_passed(self, topics: Sequence[str], moment: datetime) -> bool:
        """Tell whether all that was written to some topics up to a moment was read. What isn't known was not.

        What was passed once is so for ever: also an old look will do.
        """
        if self._samples and has_passed(self._samples[-1], topics, moment):
            return True
        try:
            return has_passed((await self.look())[-1], topics, moment)
        except UnknownLagError:
            return False

    def _keep(self, sample: LagSample) -> None:
        self._samples.append(sample)
        while sample.at - self._samples[0].at > WINDOW_SECONDS:
            self._samples.popleft()

    async def _new_sample(self) -> LagSample:
        if self._steady() - self._failed_at < RETRY_SECONDS:
            raise UnknownLagError(self._failure)
        try:
            async with asyncio.timeout(POLL_INTERVAL_SECONDS):
                return await self._sample()
        except (KafkaError, SQLAlchemyError, OSError, TimeoutError) as error:
            await self._disconnect()
            self._failure, self._failed_at = f"{UNKNOWN} ({type(error).__name__})", self._steady()
            raise UnknownLagError(self._failure) from error

    async def _watch(self) -> None:
        while True:
            try:
                await self.look()
            except UnknownLagError as error:
                _log.debug("%s", error)
            await asyncio.sleep(EVERY_SECONDS)

    async def _sample(self) -> LagSample:
        at, looked_at = self._steady(), self._clock()
        reader = await self._connected()
        ends = await reader.ends(TOPICS, self._partitions)
        told = {**await self._store.positions(TOPICS), **await reader.positions(PROFILES_GROUP)}
        positions = {each: self._behind_nothing(each, told.get(each, 0)) for each in ends}
        waiting = {}
        late = {each: position for each, position in positions.items() if position < ends[each]}
        for place, (offset, since) in (await reader.next_records(late, ends) if late else {}).items():
            if since is not None:
                waiting[place] = since
            self._nothing[place] = (told.get(place, 0), offset)
            positions[place] = offset
        return LagSample(at, looked_at, positions, ends, waiting, await self._store.messages())

    def _behind_nothing(self, place: Place, position: int) -> int:
        """Return the position behind what is known to be no record: a reader isn't told of the ends of transactions."""
        start, end = self._nothing.get(place, (0, 0))
        return end if start <= position < end else position

    async def _connected(self) -> LagReader:
        if self._reader is None:
            reader = LagReader(self._cluster)
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
