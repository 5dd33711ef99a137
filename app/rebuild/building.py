"""One rebuild at work: reads raw messages from where its stores are, and keeps up with what comes in.

That it reads more than it has to is no harm: profiles know by its raw offset what they have taken before.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from app.lane.chunk import Chunk
from app.lane.rule_book import RuleBook
from app.rebuild.following import Task
from app.rebuild.workshop import Workshop
from projections.rules import Forgotten, Rules
from schemas.topics import LANES, MAX_RECORD_BYTES
from schemas.updates import MappedBatch

FETCH_BYTES: Final = 64 * 1024 * 1024
MOST_RECORDS: Final = 5_000  # single messages at a time
WAIT_MS: Final = 200
KEEP_CHANGES: Final = 50_000
KEEP_SECONDS: Final = 5.0

Bounds = Mapping[TopicPartition, int]


class Building:
    """A rebuild's stores, and the raw topics that they are filled from; use it as an async context manager."""

    def __init__(self, task: Task, folder: Path, bootstrap_servers: str, partitions: int) -> None:
        rules = Rules(task.recipe.identity, task.recipe.mappings, scope=task.recipe.scope)
        self.name = task.rebuild.definition_id
        self._book = RuleBook(rules, 0)
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

    async def read_some(self, forgotten: Forgotten) -> None:
        """Read on."""
        found = await self._consumer.getmany(timeout_ms=WAIT_MS, max_records=MOST_RECORDS)
        for where, records in found.items():
            await self._take(where, records, forgotten)
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

    async def _take(self, where: TopicPartition, records: Sequence[Any], forgotten: Forgotten) -> None:
        chunk: Chunk | None = None
        for record in records:
            if chunk is None:
                first, chunk = record.offset, self._chunk(where, forgotten)
            chunk.add(record)
            if chunk.is_full or record is records[-1]:
                self._hand_over(where, first, chunk, record.timestamp)
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
