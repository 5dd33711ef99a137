"""Reads updates and applies them to the open partitions: real time before backfill.

Backfill gets the remaining time, one record at a time, and at least every ninth turn. While real-time updates arrive,
backfill is applied in slices, between which look-ups and real-time updates are handled.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from aiokafka import TopicPartition

from app.process import Monotonic
from app.profiles.open_partitions import OpenPartitions
from app.profiles.partition import ALL_ROWS
from app.sentences.sentence import sentence_of
from projections.definitions.compiled_rules import identity_of
from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.rules import Rules
from schemas.topics import LANES, UPDATES
from schemas.updates import MappedBatch, NodeBatch, Update, UpdateFence
from schemas.wire.catalog import UnreadableRecordError
from schemas.wire.codec import decode

IDLE_MS: Final = 50
REALTIME_RECORDS: Final = 16
BACKFILL_RECORDS: Final = 1  # between two reads of real time
MAX_REALTIME_TURNS: Final = 8  # in a row, before backfill gets one
SLICE_ROWS: Final = 200  # of backfill at a time: about two milliseconds
BUSY_SECONDS: Final = 1.0  # after the last real-time update, during which more of them are expected
YIELD_STEPS: Final = 5  # of the event loop: a look-up takes several

REALTIME: Final = UPDATES["realtime"].name
BACKFILL: Final = UPDATES["backfill"].name
LANE_OF_TOPIC: Final = {topic.name: lane for lane, topic in UPDATES.items()}
MAX_PARTITION: Final = 0xFFFF  # of a raw topic: two bytes in `REFERENCE`
RAW_TOPICS: Final = frozenset(topic.name for topic in LANES.values())

PolledRecords = Mapping[TopicPartition, Sequence[Any]]

_log: Final = logging.getLogger(__name__)


class UpdateSource(Protocol):
    """Reads records of the owned partitions, from the offset of the last `seek`."""

    async def read(self, *partitions: TopicPartition, wait_ms: int, max_records: int | None = None) -> PolledRecords:
        """Return the next records of the partitions, by partition; wait up to `wait_ms` for the first."""
        ...


class UpdateRecord(Protocol):
    """A record as Kafka returns it."""

    topic: str
    partition: int
    offset: int
    value: bytes | None


class UpdateConsumer:
    """Applies a few updates at a time. `is_idle`: the last call found nothing to read at once.

    `rules_of` returns the rules of a generation.
    """

    def __init__(
        self,
        source: UpdateSource,
        rules_of: Callable[[int], Rules],
        partitions: OpenPartitions,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._source = source
        self._rules_of = rules_of
        self._partitions = partitions
        self._monotonic = monotonic
        self._limits: dict[int, tuple[VersionedBody | None, int]] = {}  # by generation: identity rules, max_identities
        self._realtime_turns = 0  # in a row
        self._last_realtime = float("-inf")
        self.is_idle = True

    async def apply_next(self, max_wait: float) -> None:
        """Apply the next updates, or wait for some: at most `max_wait` seconds, and never longer than `IDLE_MS`."""
        realtime, backfill = self._inputs(REALTIME), self._inputs(BACKFILL)
        if not realtime:
            await asyncio.sleep(IDLE_MS / 1000)
            return
        has_realtime = await self._apply_realtime()
        self.is_idle = False
        if has_realtime and self._realtime_turns < MAX_REALTIME_TURNS:
            self._realtime_turns += 1
            return
        self._realtime_turns = 0
        polled = await self._source.read(*backfill, wait_ms=0, max_records=BACKFILL_RECORDS)
        self.is_idle = not has_realtime and not polled
        if self.is_idle:
            wait_ms = max(round(min(1000 * max_wait, IDLE_MS)), 1)
            polled = await self._source.read(*realtime, *backfill, wait_ms=wait_ms, max_records=BACKFILL_RECORDS)
        await self._apply_polled(polled)

    async def yield_to_realtime(self) -> None:
        """Let look-ups and real-time updates proceed in the middle of long work."""
        if self._is_busy():
            for _ in range(YIELD_STEPS):
                await asyncio.sleep(0)
            await self._apply_realtime()

    def _is_busy(self) -> bool:
        return self._monotonic() - self._last_realtime < BUSY_SECONDS

    def _inputs(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, number) for number in self._partitions.numbers()]

    async def _apply_realtime(self) -> bool:
        polled = await self._source.read(*self._inputs(REALTIME), wait_ms=0, max_records=REALTIME_RECORDS)
        for source, records in polled.items():
            self._apply_at_once(source, records)
        return bool(polled)

    async def _apply_polled(self, polled: PolledRecords) -> None:
        for source, records in polled.items():
            if source.topic == REALTIME:
                self._apply_at_once(source, records)
            elif self._is_busy():
                for _ in self._slices(source, records, SLICE_ROWS):
                    await self.yield_to_realtime()
            else:
                self._apply(source, records)
                await asyncio.sleep(0)  # for look-ups

    def _apply_at_once(self, source: TopicPartition, records: Sequence[Any]) -> None:
        self._last_realtime = self._monotonic()
        self._apply(source, records)

    def _apply(self, source: TopicPartition, records: Sequence[Any]) -> None:
        for _ in self._slices(source, records, ALL_ROWS):
            pass

    def _slices(self, source: TopicPartition, records: Sequence[Any], rows: int) -> Iterator[int]:
        """Apply records a slice at a time; nothing may be flushed in between."""
        lane = LANE_OF_TOPIC[source.topic]
        partitions = self._partitions.generations_of(source.partition)
        limits = {partition.generation: self._max_identities(partition.generation) for partition in partitions}
        for record in records:
            if all(record.offset < partition.next_offset(lane) for partition in partitions):
                continue
            update = decode_update(record)
            for partition in partitions:
                yield from partition.apply_in_slices(lane, record.offset, update, limits[partition.generation], rows)

    def _max_identities(self, generation: int) -> int:
        """Return the limit in the rules of a generation, parsed once for each version of them."""
        rules = self._rules_of(generation)
        parsed = self._limits.get(generation)
        if parsed is None or parsed[0] is not rules.identity:
            parsed = self._limits[generation] = (rules.identity, identity_of(rules).max_identities)
        return parsed[1]


def decode_update(record: UpdateRecord) -> Update | None:
    """Return the update in a record; None, and a log line, when neither lanes nor profiles have written it."""
    try:
        update = decode(record.value or b"")
    except UnreadableRecordError as error:
        reason = sentence_of(error)
    else:
        if isinstance(update, NodeBatch | UpdateFence) or (isinstance(update, MappedBatch) and _is_plausible(update)):
            return update
        reason = f"{type(update).__name__} is not an update"
    _log.warning("skipping invalid record %s-%d@%d: %s", record.topic, record.partition, record.offset, reason)
    return None


def _is_plausible(update: MappedBatch) -> bool:
    """Return whether a batch names raw records that `REFERENCE` can hold."""
    return (
        update.topic in RAW_TOPICS
        and 0 <= update.partition <= MAX_PARTITION
        and 0 <= update.first_offset < update.next_offset
        and update.rules_offset >= 0
    )
