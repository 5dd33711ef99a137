"""A member of a consumer group whose reader decides where each partition begins and what is read next.

The lanes and the profiles use it instead of Faust: they handle hundreds of thousands of messages a second, keep their
own positions beside their state, and read real time before backfill. Every failure leaves the process, which a
supervisor starts again; nothing is committed then.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from app.kafka.background_consumer import BackgroundConsumer
from app.kafka.clients import SESSION_TIMEOUT_MS, Cluster

TELL_SECONDS: Final = 1.0
DECISION_SECONDS: Final = 1.0  # of the group, before this turn has to make way for it
PATIENT_POLL_INTERVAL_MS: Final = 10  # between two looks at what is patient, while nothing arrives
FROZEN_SECONDS: Final = SESSION_TIMEOUT_MS / 1000  # after that another worker may own our partitions

_log = logging.getLogger(__name__)

Start = Callable[[frozenset[int]], Awaitable[Mapping[TopicPartition, int]]]
Stop = Callable[[frozenset[int]], Awaitable[None]]


class SessionExpiredError(RuntimeError):
    """This process stood still for so long that another worker may own its partitions. Leave; nothing is committed."""


class GroupConsumer:
    """Reads the same partition numbers of several topics. `assigned` returns where they begin, or leaves it to `seek`.

    `patient` are those of the topics that are read only when others have nothing: they hold nobody up.

    `assigned` and `revoked` are called between two turns of whoever holds `turn`, never within one. They have to be
    quick: the group waits for them.
    """

    def __init__(
        self,
        cluster: Cluster,
        topics: Sequence[str],
        group: str,
        instance_id: str,
        *,
        assigned: Start,
        revoked: Stop,
        patient: Iterable[str] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = topics
        self._patient = BackgroundConsumer(cluster, patient)
        self._clock = clock
        self._last_turn = clock()
        self._turn = asyncio.Lock()
        self._failure: BaseException | None = None
        self._taken_over: set[int] = set()
        self._told: dict[TopicPartition, int] = {}
        self._told_at = clock()
        self._telling: asyncio.Task[None] | None = None
        self._consumer = cluster.group_consumer(group, instance_id)
        self._listener = _Listener(self, assigned, revoked)

    @property
    def owned(self) -> frozenset[TopicPartition]:
        """What is owned at this moment."""
        return frozenset(self._consumer.assignment())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Join the group, and leave it at the end."""
        try:
            await self._patient.start()
            await self._consumer.start()
            self._consumer.subscribe(self._topics, listener=self._listener)
            yield
        finally:
            try:
                await self._tell_no_more()
                await self._consumer.stop()
            finally:
                await self._patient.stop()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold off any change of partitions, for as short a time as it takes to work on what was read.

        Raises:
            SessionExpiredError: between this turn and the last one others may have taken over.

        """
        async with self._turn:
            if self._failure is not None:
                raise self._failure
            gap, self._last_turn = self._clock() - self._last_turn, self._clock()
            if gap > FROZEN_SECONDS and self.owned:
                raise SessionExpiredError(
                    f"nothing moved here for {gap:.0f} seconds; another worker may own the partitions"
                )
            with self._noting_failure():
                yield
            self._last_turn = self._clock()

    async def read(
        self, *partitions: TopicPartition, wait_ms: int, most: int | None = None
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return what has arrived in some of the owned partitions, waiting for the first of it.

        Between the group's decision and `assigned` aiokafka reads on from anywhere. That is left out: it comes again.
        """
        if partitions and not any(each.partition in self._taken_over for each in partitions):
            await asyncio.sleep(wait_ms / 1000)  # to ask aiokafka would be to wait for the group's decision
            return {}
        held = self._held()
        self._consumer.resume(*(self._consumer.paused() - held))
        patient = [each for each in partitions if each in held]
        urgent = [each for each in partitions if each not in held]
        if not patient:
            found = await self._fetched(*urgent, wait_ms=wait_ms, most=most)
        elif not urgent:
            found = await self._patient.read(patient, wait_ms, most)
        else:
            found = await self._fetched_of_either(urgent, patient, wait_ms, most)
        return {where: records for where, records in found.items() if where.partition in self._taken_over}

    async def _fetched_of_either(
        self, urgent: Sequence[TopicPartition], patient: Sequence[TopicPartition], wait_ms: int, most: int | None
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return what arrives first; what is patient is looked for now and then: who is called off leaves traces."""
        until = self._clock() + wait_ms / 1000
        while True:
            left_ms = max(round(1000 * (until - self._clock())), 0)
            found = await self._fetched(*urgent, wait_ms=min(left_ms, PATIENT_POLL_INTERVAL_MS), most=most)
            found = found or await self._patient.read(patient, 0, most)
            if found or not left_ms:
                return found

    def _held(self) -> frozenset[TopicPartition]:
        """Return the partitions of patient topics, of which the group's own consumer fetches nothing."""
        return frozenset(TopicPartition(topic, number) for topic in self._patient.topics for number in self._taken_over)

    async def rest(self, wait_ms: int) -> None:
        """Let time pass without reading: what is owned stays so, and the next read goes on where the last one ended."""
        self._consumer.pause(*self.owned)
        await self._fetched(wait_ms=wait_ms)  # a member that never asks would be put out of the group

    async def _fetched(
        self, *partitions: TopicPartition, wait_ms: int, most: int | None = None
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return what was fetched; nothing when the group begins to decide anew, so that this turn comes to its end.

        aiokafka waits for that decision as long as it takes, and `_give_up`, without which there is none, for the turn.
        """
        try:
            async with asyncio.timeout(wait_ms / 1000 + DECISION_SECONDS):
                found: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(
                    *partitions, timeout_ms=wait_ms, max_records=most
                )
        except TimeoutError:
            return {}
        return found

    def seek(self, where: TopicPartition, offset: int) -> None:
        """Read on from there."""
        self._consumer.seek(where, offset)  # also of a patient topic: what was fetched before it was held is dropped
        if where.topic in self._patient.topics:
            self._patient.seek(where, offset)

    async def first_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the lowest offset that each partition still has."""
        found: Mapping[TopicPartition, int] = await self._consumer.beginning_offsets(partitions)
        return found

    async def told(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the offsets that were told last, by whoever owned these partitions; they have to be owned now."""
        return {each: await self._consumer.committed(each) or 0 for each in partitions}

    def tell(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit offsets now and then: for whoever watches the group's lag, and for the next owner, who asks `told`.

        Nobody waits for it.
        """
        if self._clock() - self._told_at < TELL_SECONDS:
            return
        if self._telling is not None:
            if not self._telling.done():
                return
            self._telling.result()
        self._told_at = self._clock()
        news = {where: offset for where, offset in offsets.items() if self._told.get(where) != offset}
        mine = {where: offset for where, offset in news.items() if where in self._consumer.assignment()}
        if mine:
            self._telling = asyncio.create_task(self._commit(mine), name="telling the group's offsets")

    async def _commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        try:
            await self._consumer.commit(offsets)
            self._told |= offsets
        except (CommitFailedError, IllegalStateError, KafkaError) as error:
            _log.info("the group's offsets weren't committed, which only its lag shows: %r", error)

    async def _tell_no_more(self) -> None:
        """Give up what is being told: somebody else may tell more of the same partitions next."""
        telling, self._telling = self._telling, None
        if telling is not None and telling.done():
            telling.result()
        elif telling is not None:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """Have nothing more be done with partitions after something failed: what was half done must not be kept."""
        try:
            yield
        except BaseException as error:
            self._failure = error
            raise

    async def _take_over(self, numbers: frozenset[int], assigned: Start) -> None:
        async with self._turn:
            if self._failure is not None:
                return
            with self._noting_failure():  # aiokafka would only log it: the next turn raises it
                begin = await assigned(numbers)
                self._taken_over |= numbers
                self._consumer.pause(*self._held())
                self._patient.take_over(self._taken_over)
                for where, offset in begin.items():
                    self.seek(where, offset)
            self._last_turn = self._clock()

    async def _give_up(self, numbers: frozenset[int], revoked: Stop) -> None:
        async with self._turn:
            if self._failure is not None:
                return
            with self._noting_failure():
                await self._tell_no_more()
                self._taken_over -= numbers
                self._patient.take_over(self._taken_over)
                await revoked(numbers)
            self._last_turn = self._clock()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Part of its reader, which it may look into."""

    def __init__(self, reader: GroupConsumer, assigned: Start, revoked: Stop) -> None:
        self._reader = reader
        self._assigned = assigned
        self._revoked = revoked

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        if revoked:
            await self._reader._give_up(frozenset(each.partition for each in revoked), self._revoked)  # noqa: SLF001

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        if assigned:
            await self._reader._take_over(frozenset(each.partition for each in assigned), self._assigned)  # noqa: SLF001
