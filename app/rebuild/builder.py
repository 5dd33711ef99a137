"""One rebuild at work: reads raw messages from where its stores are, and keeps up with what comes in.

That it reads more than it has to is no harm: profiles know by its raw offset what they have taken before.
"""

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from aiokafka import TopicPartition

from app.kafka.clients import Cluster
from app.lanes.chunk import MappingChunk
from app.profile_store.restore import in_thread
from app.rebuild.columnar.fold import FoldedRecords, fold_records
from app.rebuild.raw_reader import WINDOW_BYTES, Bounds, RawReader, Window
from app.rebuild.stores import RebuildStores
from app.rebuild.tasks import RebuildTask
from projections.definitions.compiled_rules import CompiledRules
from projections.definitions.rules import Forgotten, Rules
from schemas.topics import LANES
from schemas.updates import MappedBatch

WAIT_MS: Final = 200
MIN_WINDOW_BYTES: Final = 256 * 1024  # of a window that is worth folding
FOLDERS: Final = 2  # threads, each of which takes memory for a window several times
AHEAD: Final = 2  # windows that are folded, or wait for it, while another is applied
MAX_SKIPPED_WINDOWS: Final = 16  # windows in a row that aren't tried after some that couldn't be folded
KEEP_CHANGES: Final = 50_000
KEEP_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _FoldState:
    """A window that is being folded in a thread, without those who were forgotten by then."""

    window: Window
    forgotten: Forgotten
    folded: asyncio.Task[FoldedRecords | None]


class RebuildBuilder:
    """A rebuild's stores, and the raw topics that they are filled from; use it as an async context manager."""

    def __init__(self, task: RebuildTask, folder: Path, cluster: Cluster, partitions: int) -> None:
        rules = Rules(task.recipe.identity, task.recipe.mappings, scope=task.recipe.scope)
        self.name = task.rebuild.definition_id
        self._rules = rules
        self._book = CompiledRules(rules, 0)
        self._passed = self._to_pass = 0  # windows that aren't tried to fold
        self._numbers = partitions
        self.stores = RebuildStores(folder, partitions, self._book.identity.max_identities, task.began)
        self._messages = 0
        self._raw = RawReader(cluster, partitions)
        self._next = {each: self.stores.next_offset(each.topic, each.partition) for each in self._raw.where}
        self._waiting: deque[Window] = deque()
        self._folding: deque[_FoldState] = deque()  # read before those that wait
        self._folders = ThreadPoolExecutor(FOLDERS, "folding")
        self._flushed_at = time.monotonic()

    async def __aenter__(self) -> Self:
        try:
            await self._raw.start(self._next)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        for each in self._folding:
            each.folded.cancel()
        await asyncio.gather(*(each.folded for each in self._folding), return_exceptions=True)
        await asyncio.to_thread(self._folders.shutdown)
        await self._raw.stop()
        self.stores.close()

    def take_messages(self) -> int:
        """Return how many messages were read since this was asked."""
        messages, self._messages = self._messages, 0
        return messages

    async def position(self) -> Bounds:
        """Return how far each raw partition is read, what holds no message included."""
        under_way = {each.where for each in (*(one.window for one in self._folding), *self._waiting)}
        return {
            each: offset if each in under_way else max(await self._raw.position(each), offset)
            for each, offset in self._next.items()
        }

    @property
    def read_to(self) -> Bounds:
        """How far each raw partition is read: behind the last message, as lanes count."""
        return dict(self._next)

    async def has_read(self, bounds: Bounds) -> bool:
        """Tell whether it has read as far as that."""
        position = await self.position()
        return all(position[each] >= offset for each, offset in bounds.items())

    async def read_some(self, forgotten: Forgotten) -> None:
        """Take the window that was read first, while those behind it are read and folded."""
        if not self._waiting:
            self._waiting.extend(await self._raw.read(0 if self._folding else WAIT_MS))
        while self._waiting and len(self._folding) <= AHEAD:
            window = self._waiting.popleft()
            task = asyncio.create_task(self._fold(window, forgotten), name="folding")
            self._folding.append(_FoldState(window, forgotten, task))
        if self._folding:
            first = self._folding[0]
            folded = await first.folded
            if first.forgotten is not forgotten:
                folded = await self._fold(first.window, forgotten)
            if folded is None or not await in_thread(self._take_folded, first.window, folded):
                await self._take(first.window, forgotten)
            self._folding.popleft()
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write what was made, now and then."""
        late = time.monotonic() - self._flushed_at >= KEEP_SECONDS
        if self.stores.changes >= KEEP_CHANGES or late:
            self.flush()

    def flush(self) -> None:
        """Write what was made."""
        self.stores.flush()
        self._flushed_at = time.monotonic()

    async def _fold(self, window: Window, forgotten: Forgotten) -> FoldedRecords | None:
        if window.size < MIN_WINDOW_BYTES:
            return None
        if self._to_pass:
            self._to_pass -= 1
            return None
        book = CompiledRules(self._rules, 0)  # its own: a book counts faults and remembers texts
        found = await asyncio.get_running_loop().run_in_executor(
            self._folders, fold_records, window.records, book, forgotten, self._numbers
        )
        if found or window.size >= WINDOW_BYTES // 2:  # a small one has few messages of each person in any case
            self._passed = 0 if found else min(2 * self._passed or 1, MAX_SKIPPED_WINDOWS)
            self._to_pass = self._passed
        return found

    def _take_folded(self, window: Window, folded: FoldedRecords) -> bool:
        where, first, last = window.where, window.records[0], window.records[-1]
        behind, source = last.offset + 1, f"{where.topic}/{where.partition}"
        if not self.stores.apply_folded(folded.told, source, first.offset, behind, window.arrived / 1e6):
            return False
        self._messages += folded.messages
        self._next[where] = behind
        return True

    async def _take(self, window: Window, forgotten: Forgotten) -> None:
        chunk: MappingChunk | None = None
        for record in window.records:
            if chunk is None:
                first, chunk = record.offset, self._chunk(window.where, forgotten)
            chunk.add(record)
            if chunk.is_full or record is window.records[-1]:
                await in_thread(self._hand_over, window, first, chunk)
                chunk = None
                self.flush_if_due()

    def _chunk(self, where: TopicPartition, forgotten: Forgotten) -> MappingChunk:
        lane = next(lane for lane, topic in LANES.items() if topic.name == where.topic)
        return MappingChunk(lane, self._book, forgotten, self._numbers, datetime.now(UTC))

    def _hand_over(self, window: Window, first: int, chunk: MappingChunk) -> None:
        where = window.where
        header = MappedBatch(
            topic=where.topic,
            partition=where.partition,
            first_offset=first,
            next_offset=chunk.next_offset,
            rules_at=0,
            payload=b"",
        )
        self.stores.apply(chunk, header, window.arrived / 1e6)
        self._messages += sum(each.count for each in chunk.streams.values())
        self._next[where] = chunk.next_offset
