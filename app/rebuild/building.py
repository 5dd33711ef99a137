"""One rebuild at work: reads raw messages from where its stores are, and keeps up with what comes in.

That it reads more than it has to is no harm: profiles know by its raw offset what they have taken before.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from app.lane.chunk import Chunk
from app.lane.rule_book import RuleBook
from app.rebuild.folding import FoldedRecords, fold_records
from app.rebuild.following import Task
from app.rebuild.workshop import Workshop
from projections.rules import Forgotten, Rules
from schemas.topics import LANES, MAX_RECORD_BYTES
from schemas.updates import MappedBatch

FETCH_BYTES: Final = 64 * 1024 * 1024
MOST_RECORDS: Final = 20_000  # single messages at a time
WAIT_MS: Final = 200
WINDOW_BYTES: Final = 16 * 1024 * 1024  # of raw records that are folded together
LEAST_BYTES: Final = 256 * 1024  # to be worth it
AHEAD: Final = 2  # windows that are folded while others are applied
MOST_PASSED: Final = 16  # windows in a row that aren't tried after some that couldn't be folded
DAY_MS: Final = 24 * 60 * 60 * 1000
KEEP_CHANGES: Final = 50_000
KEEP_SECONDS: Final = 5.0

Bounds = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive raw records of one partition, which arrived on the same day: repeats are known for days."""

    where: TopicPartition
    records: Sequence[Any]

    @property
    def size(self) -> int:
        """Return how many bytes they have."""
        return sum(len(each.value or b"") for each in self.records)


class Building:
    """A rebuild's stores, and the raw topics that they are filled from; use it as an async context manager."""

    def __init__(self, task: Task, folder: Path, bootstrap_servers: str, partitions: int) -> None:
        rules = Rules(task.recipe.identity, task.recipe.mappings, scope=task.recipe.scope)
        self.name = task.rebuild.definition_id
        self._rules = rules
        self._book = RuleBook(rules, 0)
        self._passed = self._to_pass = 0  # windows that aren't tried to fold
        self._numbers = partitions
        self.workshop = Workshop(folder, partitions, self._book.identity.max_identities, task.began)
        self._messages = 0
        self._where = [TopicPartition(topic.name, number) for topic in LANES.values() for number in range(partitions)]
        self._next = {each: self.workshop.next_offset(each.topic, each.partition) for each in self._where}
        self._kept_at = time.monotonic()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=MAX_RECORD_BYTES,
            fetch_max_bytes=FETCH_BYTES,
        )

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
            self._consumer.assign(self._where)
            for each, offset in self._next.items():
                self._consumer.seek(each, offset)
        except BaseException:
            await self._consumer.stop()
            self.workshop.close()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._consumer.stop()
        self.workshop.close()

    async def ends(self) -> Bounds:
        """Return where each raw partition ends now."""
        found: Bounds = await self._consumer.end_offsets(self._where)
        return found

    def take_messages(self) -> int:
        """Return how many messages were read since this was asked."""
        messages, self._messages = self._messages, 0
        return messages

    async def position(self) -> Bounds:
        """Return how far each raw partition is read, what holds no message included."""
        return {each: max(await self._consumer.position(each), self._next[each]) for each in self._where}

    @property
    def read_to(self) -> Bounds:
        """How far each raw partition is read: behind the last message, as lanes count."""
        return dict(self._next)

    async def has_read(self, bounds: Bounds) -> bool:
        """Tell whether it has read as far as that."""
        position = await self.position()
        return all(position[each] >= offset for each, offset in bounds.items())

    async def read_some(self, forgotten: Forgotten) -> None:
        """Read on."""
        found = await self._consumer.getmany(timeout_ms=WAIT_MS, max_records=MOST_RECORDS)
        windows = [each for where, records in found.items() for each in _windows(where, records)]
        async with aclosing(self._folded(windows, forgotten)) as all_folded:
            async for window, folded in all_folded:
                if folded is None or not self._take_folded(window, folded):
                    await self._take(window, forgotten)
                self.keep_if_due()
                await asyncio.sleep(0)
        self.keep_if_due()

    def keep_if_due(self) -> None:
        """Write what was made, now and then."""
        late = time.monotonic() - self._kept_at >= KEEP_SECONDS
        if self.workshop.changes >= KEEP_CHANGES or late:
            self.keep()

    def keep(self) -> None:
        """Write what was made."""
        self.workshop.keep()
        self._kept_at = time.monotonic()

    async def _folded(
        self, windows: Sequence[Window], forgotten: Forgotten
    ) -> AsyncGenerator[tuple[Window, FoldedRecords | None], None]:
        """Yield windows with what they say, folded in threads that work ahead; None where rows are better."""
        ahead: deque[asyncio.Task[FoldedRecords | None]] = deque()
        coming = iter(windows)
        try:
            for window in windows:
                for each in islice(coming, 1 + AHEAD - len(ahead)):
                    ahead.append(asyncio.create_task(self._fold(each, forgotten), name="folding"))
                yield window, await ahead.popleft()
        finally:
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _fold(self, window: Window, forgotten: Forgotten) -> FoldedRecords | None:
        if window.size < LEAST_BYTES:
            return None
        if self._to_pass:
            self._to_pass -= 1
            return None
        book = RuleBook(self._rules, 0)  # its own: a book counts faults and remembers texts
        found = await asyncio.to_thread(fold_records, window.records, book, forgotten, self._numbers)
        self._passed = 0 if found else min(2 * self._passed or 1, MOST_PASSED)
        self._to_pass = self._passed
        return found

    def _take_folded(self, window: Window, folded: FoldedRecords) -> bool:
        where, first, last = window.where, window.records[0], window.records[-1]
        behind, source = last.offset + 1, f"{where.topic}/{where.partition}"
        if not self.workshop.take_folded(folded.told, source, first.offset, behind, last.timestamp / 1000):
            return False
        self._messages += folded.messages
        self._next[where] = behind
        return True

    async def _take(self, window: Window, forgotten: Forgotten) -> None:
        chunk: Chunk | None = None
        for record in window.records:
            if chunk is None:
                first, chunk = record.offset, self._chunk(window.where, forgotten)
            chunk.add(record)
            if chunk.is_full or record is window.records[-1]:
                self._hand_over(window.where, first, chunk, record.timestamp)
                chunk = None
                self.keep_if_due()
                await asyncio.sleep(0)

    def _chunk(self, where: TopicPartition, forgotten: Forgotten) -> Chunk:
        lane = next(lane for lane, topic in LANES.items() if topic.name == where.topic)
        return Chunk(lane, self._book, forgotten, self._numbers, datetime.now(UTC))

    def _hand_over(self, where: TopicPartition, first: int, chunk: Chunk, timestamp: int) -> None:
        header = MappedBatch(
            topic=where.topic,
            partition=where.partition,
            first_offset=first,
            next_offset=chunk.next_offset,
            rules_at=0,
            payload=b"",
        )
        self.workshop.take(chunk, header, timestamp / 1000)
        self._messages += sum(each.count for each in chunk.seen.values())
        self._next[where] = chunk.next_offset


def _windows(where: TopicPartition, records: Sequence[Any]) -> Iterator[Window]:
    found, size = list[Any](), 0
    for each in records:
        if found and (size >= WINDOW_BYTES or each.timestamp // DAY_MS != found[-1].timestamp // DAY_MS):
            yield Window(where, found)
            found, size = [], 0
        found.append(each)
        size += len(each.value or b"")
    if found:
        yield Window(where, found)
