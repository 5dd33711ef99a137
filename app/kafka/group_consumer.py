"""A member of a consumer group that decides itself where each partition starts and what is read next.

The lanes and the profiles use it instead of Faust: they handle hundreds of thousands of messages a second, store their
positions with their state, and read real time before backfill. Every failure ends the process without a commit; a
supervisor starts it again.
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
from app.process import Monotonic
from app.tasks import cancel_all

COMMIT_INTERVAL_SECONDS: Final = 1.0
REBALANCE_DELAY_SECONDS: Final = 1.0  # a rebalance waits for the running `guarded` block at most this long
BACKGROUND_POLL_INTERVAL_MS: Final = 10
SESSION_TIMEOUT_SECONDS: Final = SESSION_TIMEOUT_MS / 1000  # after it another worker may own our partitions

_log = logging.getLogger(__name__)

OnAssigned = Callable[[frozenset[int]], Awaitable[Mapping[TopicPartition, int]]]
OnRevoked = Callable[[frozenset[int]], Awaitable[None]]


class SessionExpiredError(RuntimeError):
    """This process was suspended so long that another worker may own its partitions. Leave; nothing is committed."""


class GroupConsumer:
    """Reads the same partition numbers of several topics.

    `on_assigned` returns the offsets to start at, or leaves them to `seek`; both callbacks get partition numbers and
    run between two `guarded` blocks, never within one. They have to be quick: the whole group waits for them.
    `background` names the topics that are read only when the others have nothing.
    """

    def __init__(
        self,
        cluster: Cluster,
        topics: Sequence[str],
        group: str,
        instance_id: str,
        *,
        on_assigned: OnAssigned,
        on_revoked: OnRevoked,
        background: Iterable[str] = (),
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._topics = topics
        self._background = BackgroundConsumer(cluster, background)
        self._monotonic = monotonic
        self._active_at = monotonic()
        self._guard = asyncio.Lock()
        self._failure: BaseException | None = None
        self._numbers: set[int] = set()  # of the partitions that `on_assigned` was called for
        self._committed: dict[TopicPartition, int] = {}
        self._committed_at = monotonic()
        self._committing: asyncio.Task[None] | None = None
        self._consumer = cluster.group_consumer(group, instance_id)
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._listener = _Listener(self._assign, self._revoke)

    @property
    def owned(self) -> frozenset[TopicPartition]:
        """The partitions that are assigned now."""
        return frozenset(self._consumer.assignment())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Join the group, and leave it at the end."""
        try:
            await self._background.start()
            await self._consumer.start()
            self._consumer.subscribe(self._topics, listener=self._listener)
            yield
        finally:
            try:
                await self._stop_committing()
                await self._consumer.stop()
            finally:
                await self._background.stop()

    @asynccontextmanager
    async def guarded(self) -> AsyncIterator[None]:
        """Exclude rebalances while records are read and applied; keep it short.

        Raises:
            SessionExpiredError: since the last block another worker may have been assigned the partitions.

        """
        async with self._guard:
            if self._failure is not None:
                raise self._failure
            gap, self._active_at = self._monotonic() - self._active_at, self._monotonic()
            if gap > SESSION_TIMEOUT_SECONDS and self.owned:
                raise SessionExpiredError(
                    f"this process was suspended for {gap:.0f} seconds; another worker may own its partitions"
                )
            with self._noting_failure():
                yield
            self._active_at = self._monotonic()

    async def read(
        self, *partitions: TopicPartition, wait_ms: int, max_records: int | None = None
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return what was fetched of the given partitions, by default of all; wait for the first records.

        Between the group's assignment and `on_assigned`, aiokafka reads from arbitrary positions. Those records are
        dropped here; they are read again after the seek.
        """
        if partitions and not any(partition.partition in self._numbers for partition in partitions):
            await asyncio.sleep(wait_ms / 1000)  # aiokafka would wait for the group's assignment
            return {}
        all_background = self._background_partitions()
        self._consumer.resume(*(self._consumer.paused() - all_background))
        background = [partition for partition in partitions if partition in all_background]
        urgent = [partition for partition in partitions if partition not in all_background]
        if not background:
            polled = await self._poll(*urgent, wait_ms=wait_ms, max_records=max_records)
        elif not urgent:
            polled = await self._background.read(background, wait_ms, max_records)
        else:
            polled = await self._poll_both(urgent, background, wait_ms, max_records)
        return {partition: records for partition, records in polled.items() if partition.partition in self._numbers}

    async def _poll_both(
        self,
        urgent: Sequence[TopicPartition],
        background: Sequence[TopicPartition],
        wait_ms: int,
        max_records: int | None,
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return what arrives first. The background is polled: cancelling a pending read of it would leave traces."""
        until = self._monotonic() + wait_ms / 1000
        while True:
            left_ms = max(round(1000 * (until - self._monotonic())), 0)
            polled = await self._poll(
                *urgent, wait_ms=min(left_ms, BACKGROUND_POLL_INTERVAL_MS), max_records=max_records
            )
            polled = polled or await self._background.read(background, 0, max_records)
            if polled or not left_ms:
                return polled

    def _background_partitions(self) -> frozenset[TopicPartition]:
        """Return the partitions of background topics, of which the group's own consumer fetches nothing."""
        return frozenset(TopicPartition(topic, number) for topic in self._background.topics for number in self._numbers)

    async def poll_idle(self, wait_ms: int) -> None:
        """Keep the membership without reading; the next read continues where the last one ended."""
        self._consumer.pause(*self.owned)
        await self._poll(wait_ms=wait_ms)  # a member that never polls loses its partitions

    async def _poll(
        self, *partitions: TopicPartition, wait_ms: int, max_records: int | None = None
    ) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return what was fetched; nothing when a rebalance begins, so that this `guarded` block ends.

        aiokafka would wait for the rebalance, and that one for `on_revoked`, which waits for the block.
        """
        try:
            async with asyncio.timeout(wait_ms / 1000 + REBALANCE_DELAY_SECONDS):
                return await self._consumer.getmany(*partitions, timeout_ms=wait_ms, max_records=max_records)
        except TimeoutError:
            return {}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue at an offset."""
        self._consumer.seek(partition, offset)  # also of background topics: it drops what was fetched before the pause
        if partition.topic in self._background.topics:
            self._background.seek(partition, offset)

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the first offset that each partition still has."""
        return await self._consumer.beginning_offsets(partitions)

    async def committed(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the group's committed offsets of partitions that are assigned now; 0 where there is none."""
        return {partition: await self._consumer.committed(partition) or 0 for partition in partitions}

    def commit_soon(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit offsets in the background, once an interval: for the group's lag, and for the next owner."""
        if self._monotonic() - self._committed_at < COMMIT_INTERVAL_SECONDS:
            return
        if self._committing is not None:
            if not self._committing.done():
                return
            self._committing.result()
        self._committed_at = self._monotonic()
        owned = self._consumer.assignment()
        changed = {
            partition: offset
            for partition, offset in offsets.items()
            if self._committed.get(partition) != offset and partition in owned
        }
        if changed:
            self._committing = asyncio.create_task(self._commit(changed), name="committing the group's offsets")

    async def _commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        try:
            await self._consumer.commit(offsets)
            self._committed |= offsets
        except (CommitFailedError, IllegalStateError, KafkaError) as error:
            _log.info("the group's offsets were not committed, which affects its lag only: %r", error)

    async def _stop_committing(self) -> None:
        """Cancel a running commit: the next owner may commit later offsets of the same partitions."""
        committing, self._committing = self._committing, None
        if committing is not None and committing.done():
            committing.result()
        else:
            await cancel_all(committing)

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """Stop using the partitions after a failure, so that no half-applied batch is flushed or committed."""
        try:
            yield
        except BaseException as error:
            self._failure = error
            raise

    async def _assign(self, numbers: frozenset[int]) -> None:
        async with self._guard:
            if self._failure is not None:
                return
            with self._noting_failure():  # aiokafka would only log it: the next `guarded` raises it
                offsets = await self._on_assigned(numbers)
                self._numbers |= numbers
                self._consumer.pause(*self._background_partitions())
                self._background.assign(self._numbers)
                for partition, offset in offsets.items():
                    self.seek(partition, offset)
            self._active_at = self._monotonic()

    async def _revoke(self, numbers: frozenset[int]) -> None:
        async with self._guard:
            if self._failure is not None:
                return
            with self._noting_failure():
                await self._stop_committing()
                self._numbers -= numbers
                self._background.assign(self._numbers)
                await self._on_revoked(numbers)
            self._active_at = self._monotonic()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Passes rebalances from aiokafka to a `GroupConsumer`, as partition numbers."""

    def __init__(
        self,
        assign: Callable[[frozenset[int]], Awaitable[None]],
        revoke: Callable[[frozenset[int]], Awaitable[None]],
    ) -> None:
        self._assign = assign
        self._revoke = revoke

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        if revoked:
            await self._revoke(frozenset(partition.partition for partition in revoked))

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        if assigned:
            await self._assign(frozenset(partition.partition for partition in assigned))
