"""The `lane` roles: map raw messages to updates of profiles, and count the messages of each stream.

A lane's offsets are stored beside its counts, so that each message counts once. After a crash it sends some updates
again; profiles skip them by the raw offset. The offset at which new rules begin is stored before they are used, so a
raw message is always mapped by the same rules.
"""

import asyncio
import logging
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from uuid import uuid4

from aiokafka import TopicPartition

from app.definitions.rules import RulesReader
from app.definitions.rules_cache import RulesCache
from app.definitions.tail import DefinitionsTail
from app.kafka.batch_producer import BatchProducer
from app.kafka.clients import Cluster
from app.kafka.cluster import cluster_of
from app.kafka.group_consumer import GroupConsumer
from app.kafka.safe_faust.latch import Latch
from app.lanes.chunk import MappingChunk
from app.lanes.field_sampler import FieldSample
from app.lanes.pause import PauseFlag
from app.lanes.pending_counts import PendingCounts
from app.process import Clock, Monotonic, shutdown_event, utc_now
from app.settings import Settings
from app.store.models import JobMapped, StaleOwnerError, StreamDelta
from app.store.read_store import ReadStore
from app.tasks import cancel_all
from connectors.kit.threads import in_thread
from projections.definitions.compiled_rules import CompiledRules
from schemas.topics import LANES

GROUP: Final = "entrepot.lane"
POLL_TIMEOUT_MS: Final = 200
COUNT_INTERVAL_SECONDS: Final = 0.1
MAX_CACHED_RULES: Final = 100
MAX_RECORDS: Final = 2_000  # single messages at a time
SLOW_SECONDS: Final = 10.0  # of mapping, until the log names the stream
MAX_STALLED_CHECKS: Final = 12  # without progress; counted, since the time of a suspended process says nothing

Pending = Mapping[TopicPartition, PendingCounts]
Deltas = Mapping[TopicPartition, Sequence[StreamDelta]]

_log = logging.getLogger(__name__)


class Lane:
    """The raw partitions that this process owns in one lane."""

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        settings: Settings,
        store: ReadStore,
        rules: RulesReader,
        clock: Clock,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._name = name
        self._owner = uuid4().hex
        self._partitions = settings.partitions
        self._store = store
        self._rules = rules
        self._clock = clock
        self._monotonic = monotonic
        self._counted: dict[TopicPartition, int] = {}  # next offsets to count
        self._mapped: dict[TopicPartition, int] = {}  # next offsets to map
        self._pending: dict[TopicPartition, PendingCounts] = {}
        self._counted_at = monotonic()
        self._counting: asyncio.Task[None] | None = None
        # (first raw offset, rules_offset), ascending
        self._rule_changes: dict[TopicPartition, list[tuple[int, int]]] = {}
        self._confirmed = -1  # the offset of the rules that are confirmed for all partitions
        self._required = 0  # the offset of the oldest rules to map by: earlier owners confirmed them
        self._samples: dict[TopicPartition, FieldSample] = {}
        self._compiled = RulesCache(self._read_compiled, MAX_CACHED_RULES)
        self._pause = PauseFlag(name, store.lanes, monotonic)
        self._latch = Latch()
        self._producer = BatchProducer(cluster)
        self._consumer = GroupConsumer(
            cluster,
            [LANES[name].name],
            f"{GROUP}.{name}",
            f"{GROUP}.{name}-{settings.worker_id}",
            on_assigned=self._on_assigned,
            on_revoked=self._on_revoked,
            monotonic=monotonic,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Every failure escapes, and nothing is counted whose updates are not acked."""
        async with self._producer, self._consumer.running(), self._cancelling_counting():
            while not stop.is_set():
                async with self._consumer.guarded():
                    polled = await self._poll()
                    await self._follow_rules()  # after the wait, so that a rule applies to all messages sent after it
                    for partition, records in polled.items():
                        await self._map(partition, records)
                    self._count_samples()
                    self._count_if_due()
                    self._consumer.commit_soon(self._counted)
            async with self._consumer.guarded():
                await self._count()

    @asynccontextmanager
    async def _cancelling_counting(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await cancel_all(self._counting)

    async def _poll(self) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return the next records; none while the lane is paused: it keeps its partitions and follows the rules.

        Return none, too, before it has read all rules that earlier owners of its partitions confirmed.
        """
        if self._is_behind() or await self._pause.is_paused():
            await self._consumer.poll_idle(POLL_TIMEOUT_MS)
            return {}
        wait_ms = POLL_TIMEOUT_MS
        if self._pending:
            waited = self._monotonic() - self._counted_at if self._counting is None else 0.0
            wait_ms = max(round(1000 * (COUNT_INTERVAL_SECONDS - waited)), 1)
        return await self._consumer.read(wait_ms=wait_ms, max_records=MAX_RECORDS)

    async def _on_assigned(self, numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        topic = LANES[self._name].name
        await self._store.lanes.claim(topic, numbers, self._owner)  # before all offsets are read
        for number in numbers:
            partition = TopicPartition(topic, number)
            self._counted[partition] = self._mapped[partition] = await self._store.streams.next_offset(topic, number)
            self._samples[partition] = FieldSample(self._name)
            self._rule_changes[partition] = list(await self._store.plane.rules_of(topic, number))
        self._confirmed = -1
        self._required = max(self._required, await self._store.plane.confirmed(topic, numbers))
        if self._is_behind():
            _log.warning("%s waits for rules: offset %d of %d", self._name, self._rules.rules_offset, self._required)
        return {partition: offset for partition, offset in self._counted.items() if partition.partition in numbers}

    def _is_behind(self) -> bool:
        return self._rules.rules_offset < self._required

    async def _on_revoked(self, _numbers: frozenset[int]) -> None:
        await self._count()
        self._counted.clear()
        self._mapped.clear()
        self._rule_changes.clear()
        self._samples.clear()

    async def _follow_rules(self) -> None:
        """Store the raw offset at which the newest rules begin, before any message is mapped by them.

        Then confirm them, forgotten persons included: the updates of all messages that were mapped by older ones are
        sent.
        """
        if self._is_behind():
            return
        rules, newest = self._rules.rules, self._rules.rules_offset
        for partition, changes in self._rule_changes.items():
            if changes and (changes[-1][1] == newest or (await self._compiled.at(changes[-1][1])).maps_like(rules)):
                continue
            await self._count()  # so that no message from before that offset is mapped again
            offset = self._counted[partition]
            await self._store.plane.record_rules(partition.topic, partition.partition, offset, newest, self._owner)
            changes.append((offset, newest))
        if self._confirmed != newest and self._rule_changes:
            numbers = [partition.partition for partition in self._rule_changes]
            required = await self._store.plane.confirm_rules(LANES[self._name].name, numbers, newest, self._owner)
            self._required = max(self._required, required)
            self._confirmed = newest

    async def _rules_for(self, partition: TopicPartition, offset: int) -> tuple[CompiledRules, float]:
        """Return the rules for a raw offset, and the offset at which the next rules begin."""
        changes = self._rule_changes[partition]
        following = max(bisect_right(changes, offset, key=lambda change: change[0]), 1)
        end = changes[following][0] if following < len(changes) else float("inf")
        return await self._compiled.at(changes[following - 1][1]), end

    async def _read_compiled(self, rules_offset: int) -> CompiledRules:
        return await in_thread(CompiledRules, await self._rules.at(rules_offset), rules_offset)

    async def _map(self, partition: TopicPartition, records: Sequence[Any]) -> None:
        while records:
            if self._is_behind() or await self._pause.is_paused():
                self._consumer.seek(partition, records[0].offset)
                return
            compiled, end = await self._rules_for(partition, records[0].offset)
            chunk = MappingChunk(
                self._name,
                compiled,
                self._rules.rules.forgotten,
                self._partitions,
                self._clock(),
                self._samples[partition],
                self._rules.rules_offset,
            )
            fitting = await self._fill(chunk, records, end)
            records = records[len(chunk.records) :]
            await self._send(partition, fitting)

    async def _fill(self, chunk: MappingChunk, records: Sequence[Any], end: float) -> Sequence[MappingChunk]:
        """Map records in a thread, so that the group gets heartbeats from this process; log which stream is slow.

        A mapping without any progress aborts the process: only a restart ends a thread.
        """
        filling = asyncio.create_task(in_thread(_filled, chunk, records, end), name="mapping")
        stalled, position = 0, chunk.position
        try:
            while not (await asyncio.wait([filling], timeout=SLOW_SECONDS))[0]:
                before, position = position, chunk.position
                stalled = stalled + 1 if position == before else 0
                _log.warning("%s is slow: mapping %s", self._name, chunk.mapping_now)
                if stalled == MAX_STALLED_CHECKS:
                    seconds = MAX_STALLED_CHECKS * SLOW_SECONDS
                    self._latch.trip(f"no progress for {seconds:.0f} seconds with mapping {chunk.mapping_now}")
        except asyncio.CancelledError:
            filling.cancel()
            await asyncio.wait([filling])
            raise
        return filling.result()

    async def _send(self, partition: TopicPartition, chunks: Iterable[MappingChunk]) -> None:
        for chunk in chunks:
            await self._producer.write([*chunk.updates(), *chunk.dead_letters])
            self._add_pending(partition, chunk.next_offset, chunk.streams, chunk.jobs, chunk.rejected)
        self._count_if_due()

    def _add_pending(
        self,
        partition: TopicPartition,
        next_offset: int,
        streams: Mapping[str, StreamDelta],
        jobs: Mapping[str, int],
        rejected: Mapping[str, int],
    ) -> None:
        start = self._mapped[partition]
        self._pending.setdefault(partition, PendingCounts(start, start)).add(next_offset, streams, jobs, rejected)
        self._mapped[partition] = max(next_offset, start)

    def _count_samples(self) -> None:
        """Have the fields of sampled messages stored, also where no more messages arrive."""
        for partition, sample in self._samples.items():
            if sample.is_due(self._clock()):
                self._add_pending(partition, self._mapped[partition], {}, {}, {})

    def _count_if_due(self) -> None:
        """Start to store the counts in the background, once an interval."""
        if self._counting is not None and self._counting.done():
            counting, self._counting = self._counting, None
            counting.result()
        is_due = self._monotonic() - self._counted_at >= COUNT_INTERVAL_SECONDS
        if self._pending and self._counting is None and is_due:
            self._counting = asyncio.create_task(self._store_counts(*self._take_counts()), name="storing counts")

    async def _count(self) -> None:
        """Store the counts of all mapped messages."""
        counting, self._counting = self._counting, None
        if counting is not None:
            await counting
        await self._store_counts(*self._take_counts())

    def _take_counts(self) -> tuple[Pending, Deltas, datetime]:
        """Return the pending counts, also as deltas of the streams. Not while a thread adds to the samples."""
        pending, self._pending = self._pending, {}
        self._counted_at, now = self._monotonic(), self._clock()
        deltas = {
            partition: self._samples[partition].drain(counts.streams, now) for partition, counts in pending.items()
        }
        return pending, deltas, now

    async def _store_counts(self, pending: Pending, deltas: Deltas, now: datetime) -> None:
        for partition, counts in pending.items():
            jobs = [JobMapped(job_id=job_id, count=count, at=now) for job_id, count in counts.jobs.items()]
            source = (partition.topic, partition.partition)
            start, end = counts.start, counts.next_offset
            rejected = tuple(counts.rejected.items())
            if not await self._store.streams.add(*source, start, end, deltas[partition], jobs, rejected, self._owner):
                name = "/".join(map(str, source))
                raise StaleOwnerError(f"another worker has counted {name} past offset {counts.start}")
            self._counted[partition] = counts.next_offset


def _filled(chunk: MappingChunk, records: Iterable[Any], end: float) -> Sequence[MappingChunk]:
    chunk.fill(records, end)
    return list(chunk.fitting())


async def run_lane(settings: Settings, name: str, clock: Clock = utc_now) -> int:
    """Run the lane `realtime` or `backfill` until it is stopped; return the process's exit code."""
    store = await ReadStore.open(settings.database())
    cluster = cluster_of(settings)
    definitions = DefinitionsTail(cluster)
    rules = RulesReader(definitions)
    try:
        definitions.start()
        await definitions.caught_up()
        await Lane(name, cluster, settings, store, rules, clock).run(shutdown_event())
    finally:
        await definitions.stop()
        await store.close()
    return 0
