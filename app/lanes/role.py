"""The `lane` roles: read raw messages, tell the profiles what they say, and count what was seen of each stream.

A lane's position stands in the read store beside its counts, so that each message counts once. What it tells is sent
again after a crash; profiles know it by the raw offset. Rules change at a raw offset that is noted first, so a raw
message is always mapped by the same rules.
"""

import asyncio
import logging
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka import TopicPartition

from app.clock import Clock, utc_now
from app.definitions.compiled_rules import CompiledRulesCache
from app.definitions.rules import RulesReader
from app.definitions.tail import DefinitionsTail
from app.kafka.batch_producer import BatchProducer
from app.kafka.clients import Cluster, KafkaCluster
from app.kafka.group_consumer import GroupConsumer
from app.lanes.chunk import MappingChunk
from app.lanes.field_sampler import FieldSample
from app.lanes.pause import PauseFlag
from app.lanes.pending_counts import PendingCounts
from app.settings import Settings
from app.signals import shutdown_event
from app.store.models import JobMapped, StreamDelta
from app.store.read_store import ReadStore
from projections.definitions.compiled_rules import CompiledRules
from schemas.topics import LANES

GROUP: Final = "entrepot.lane"
WAIT_MS: Final = 200
COUNT_SECONDS: Final = 0.1
MAX_RECORDS: Final = 2_000  # single messages at a time

_log = logging.getLogger(__name__)


class StaleOwnerError(RuntimeError):
    """Somebody else works on a partition of this process. Leave; who comes back goes on behind what is counted."""


class Lane:
    """The raw partitions that this process owns in one lane."""

    def __init__(
        self, name: str, cluster: Cluster, settings: Settings, store: ReadStore, rules: RulesReader, clock: Clock
    ) -> None:
        self._name = name
        self._partitions = settings.partitions
        self._store = store
        self._rules = rules
        self._clock = clock
        self._positions: dict[TopicPartition, int] = {}  # up to where all is counted
        self._reached: dict[TopicPartition, int] = {}  # up to where all is told
        self._uncounted: dict[TopicPartition, PendingCounts] = {}
        self._counted_at = time.monotonic()
        self._counting: asyncio.Task[None] | None = None
        self._pins: dict[TopicPartition, list[tuple[int, int]]] = {}  # (raw offset, rules_at from there on), ascending
        self._samples: dict[TopicPartition, FieldSample] = {}
        self._books = CompiledRulesCache(rules.at)
        self._brake = PauseFlag(name, store.lanes)
        self._writer = BatchProducer(cluster)
        self._reader = GroupConsumer(
            cluster,
            [LANES[name].name],
            f"{GROUP}.{name}",
            f"{GROUP}.{name}-{settings.worker_id}",
            on_assigned=self._assigned,
            on_revoked=self._revoked,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set. Whatever goes wrong escapes, and nothing is counted that wasn't told."""
        async with self._writer, self._reader.running(), self._counting_until_the_end():
            while not stop.is_set():
                async with self._reader.guarded():
                    found = await self._read()
                    await self._follow_rules()  # as they are after the wait: whoever applies rules and writes is served
                    for where, records in found.items():
                        await self._take(where, records)
                    await self._hand_over_samples()
                    self._count_if_due()
                    self._reader.commit_soon(self._positions)
            async with self._reader.guarded():
                await self._count()

    @asynccontextmanager
    async def _counting_until_the_end(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            if self._counting is not None:
                self._counting.cancel()
                await asyncio.gather(self._counting, return_exceptions=True)

    async def _read(self) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return what comes next; nothing while the lane is paused: it keeps its partitions and follows the rules."""
        if await self._brake.holds():
            await self._reader.poll_idle(WAIT_MS)
            return {}
        wait_ms = WAIT_MS
        if self._uncounted and self._counting is None:
            wait_ms = max(round(1000 * (self._counted_at + COUNT_SECONDS - time.monotonic())), 1)
        return await self._reader.read(wait_ms=wait_ms, max_records=MAX_RECORDS)

    async def _assigned(self, numbers: frozenset[int]) -> Mapping[TopicPartition, int]:
        topic = LANES[self._name].name
        for number in numbers:
            where = TopicPartition(topic, number)
            self._positions[where] = self._reached[where] = await self._store.streams.next_offset(topic, number)
            self._samples[where] = FieldSample(self._name)
            self._pins[where] = list(await self._store.plane.rules_of(topic, number))
        return {where: offset for where, offset in self._positions.items() if where.partition in numbers}

    async def _revoked(self, _numbers: frozenset[int]) -> None:
        await self._count()
        self._positions.clear()
        self._reached.clear()
        self._pins.clear()
        self._samples.clear()

    async def _follow_rules(self) -> None:
        """Note from which raw offset on the newest rules are followed, before any message is mapped by them."""
        rules, newest = self._rules.rules, self._rules.rules_at
        for where, pins in self._pins.items():
            if pins and (pins[-1][1] == newest or (await self._books.at(pins[-1][1])).maps_like(rules)):
                continue
            await self._count()  # so that no message from before that offset is read again
            position = self._positions[where]
            await self._store.plane.note_rules(where.topic, where.partition, position, newest)
            pins.append((position, newest))

    async def _rules_for(self, where: TopicPartition, offset: int) -> tuple[CompiledRules, float]:
        """Return the rules for a raw offset, and the offset that others begin at."""
        pins = self._pins[where]
        place = max(bisect_right(pins, offset, key=lambda pin: pin[0]), 1)
        return await self._books.at(pins[place - 1][1]), pins[place][0] if place < len(pins) else float("inf")

    async def _take(self, where: TopicPartition, records: Sequence[Any]) -> None:
        chunk: MappingChunk | None = None
        until = float("inf")
        for record in records:
            if chunk is None or chunk.is_full or record.offset >= until:
                if chunk is not None:
                    await self._send(where, chunk)
                if await self._brake.holds():
                    self._reader.seek(where, record.offset)
                    return
                book, until = await self._rules_for(where, record.offset)
                forgotten, sample = self._rules.rules.forgotten, self._samples[where]
                chunk = MappingChunk(self._name, book, forgotten, self._partitions, self._clock(), sample)
            chunk.add(record)
        if chunk is not None:
            await self._send(where, chunk)

    async def _send(self, where: TopicPartition, whole: MappingChunk) -> None:
        for chunk in whole.fitting():
            await self._writer.write([*chunk.updates(), *chunk.letters])
            self._note(where, chunk.next_offset, chunk.seen, chunk.jobs)
        self._count_if_due()

    def _note(
        self, where: TopicPartition, reached: int, seen: Mapping[str, StreamDelta], jobs: Mapping[str, int]
    ) -> None:
        begin = self._reached[where]
        self._uncounted.setdefault(where, PendingCounts(begin, begin)).add(reached, seen, jobs)
        self._reached[where] = max(reached, begin)

    async def _hand_over_samples(self) -> None:
        """Have what is known of fields seen also where no more messages come."""
        for where, sample in self._samples.items():
            if sample.is_due(self._clock()):
                self._note(where, self._reached[where], {}, {})

    def _count_if_due(self) -> None:
        """Begin to count; mapping goes on meanwhile."""
        if self._counting is not None and self._counting.done():
            counting, self._counting = self._counting, None
            counting.result()
        is_due = time.monotonic() - self._counted_at >= COUNT_SECONDS
        if self._uncounted and self._counting is None and is_due:
            self._counting = asyncio.create_task(self._count_some(), name="counting")

    async def _count(self) -> None:
        """Count all that was told."""
        counting, self._counting = self._counting, None
        if counting is not None:
            await counting
        await self._count_some()

    async def _count_some(self) -> None:
        """Move the positions, with what was seen up to there."""
        uncounted, self._uncounted = self._uncounted, {}
        self._counted_at, now = time.monotonic(), self._clock()
        seen = {where: self._samples[where].handed_over(each.seen, now) for where, each in uncounted.items()}
        for where, each in uncounted.items():
            jobs = [JobMapped(job_id=job_id, count=count, at=now) for job_id, count in each.jobs.items()]
            told, begin, reached = seen[where], each.begin, each.reached
            if not await self._store.streams.add(where.topic, where.partition, begin, reached, told, jobs):
                raise StaleOwnerError(f"another worker has counted {where.topic}/{where.partition} behind {begin}")
            self._positions[where] = reached


async def run_lane(settings: Settings, name: str, clock: Clock = utc_now) -> int:
    """Run the lane `realtime` or `backfill` until it is told to stop; return the process's exit code."""
    store = await ReadStore.open(settings.database())
    cluster = KafkaCluster(settings.bootstrap_servers)
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
