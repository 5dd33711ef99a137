"""Builds one rebuild: reads raw messages from the offsets of its stores on, and follows new ones.

Reading a message twice is harmless: partitions know by its raw offset that they have applied it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Final, Self

from aiokafka import TopicPartition

from app.kafka.clients import Cluster
from app.lanes.chunk import MappingChunk
from app.process import Clock, Monotonic
from app.rebuild.columnar.fold import FoldedRecords, fold_records
from app.rebuild.raw_reader import WINDOW_BYTES, Bounds, RawReader, Window
from app.rebuild.stores import RebuildStores
from app.rebuild.tasks import RebuildTask
from app.tasks import cancel_all
from connectors.kit.threads import in_thread
from projections.definitions.compiled_rules import CompiledRules, identity_of
from projections.definitions.rules import Forgotten, Rules
from schemas.topics import LANES
from schemas.updates import MappedBatch

WAIT_MS: Final = 200
MIN_WINDOW_BYTES: Final = 256 * 1024  # of a window that is worth folding
FOLD_THREADS: Final = 2  # each takes the memory of several windows
MAX_FOLDS_AHEAD: Final = 2  # windows that are folded, or wait for it, while another is applied
MAX_SKIPPED_WINDOWS: Final = 16  # windows in a row that are not folded after some that could not be
FLUSH_CHANGES: Final = 50_000  # nodes
FLUSH_INTERVAL: Final = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class _Folding:
    """A window that a thread folds, without the people who were forgotten by then."""

    window: Window
    forgotten: Forgotten
    folded: asyncio.Task[FoldedRecords | None]


class RebuildBuilder:
    """The stores of a rebuild, and the raw topics that fill them; use it as an async context manager."""

    def __init__(
        self,
        task: RebuildTask,
        folder: Path,
        cluster: Cluster,
        partitions: int,
        clock: Clock,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._rules = Rules(task.spec.identity, task.spec.mappings, scope=task.spec.scope)
        self._compiled: CompiledRules | None = None
        self.name = task.rebuild.definition_id
        self.stores = RebuildStores(folder, partitions, identity_of(self._rules).max_identities, task.start_offset)
        self._partitions = partitions
        self._clock = clock
        self._monotonic = monotonic
        self._skipped = self._to_skip = 0  # windows that are not folded, after some that could not be
        self._messages = 0
        self._raw = RawReader(cluster, partitions)
        self._next = {source: self.stores.next_offset(source.topic, source.partition) for source in self._raw.sources}
        self._waiting: deque[Window] = deque()
        self._folding: deque[_Folding] = deque()  # read before those that wait
        self._threads = ThreadPoolExecutor(FOLD_THREADS, "folding")
        self._flushed_at = self._monotonic()

    async def __aenter__(self) -> Self:
        try:
            self._compiled = await in_thread(CompiledRules, self._rules, 0)
            await self._raw.start(self._next)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        await cancel_all(*(folding.folded for folding in self._folding))
        await asyncio.to_thread(self._threads.shutdown)
        await self._raw.stop()
        self.stores.close()

    def take_messages(self) -> int:
        """Return the number of messages that were applied since the last call."""
        messages, self._messages = self._messages, 0
        return messages

    async def position(self) -> Bounds:
        """Return the offset up to which each raw partition is applied, records without messages included."""
        pending = {window.source for window in (*(folding.window for folding in self._folding), *self._waiting)}
        return {
            source: offset if source in pending else max(await self._raw.position(source), offset)
            for source, offset in self._next.items()
        }

    @property
    def read_to(self) -> Bounds:
        """The offset after the last applied message of each raw partition, as lanes count."""
        return dict(self._next)

    async def has_read(self, bounds: Bounds) -> bool:
        """Return whether all raw partitions are applied up to these offsets."""
        position = await self.position()
        return all(position[source] >= offset for source, offset in bounds.items())

    async def read_some(self, forgotten: Forgotten) -> None:
        """Apply the window that was read first, while the next ones are read and folded."""
        if not self._waiting:
            self._waiting.extend(await self._raw.read(0 if self._folding else WAIT_MS))
        while self._waiting and len(self._folding) <= MAX_FOLDS_AHEAD:
            window = self._waiting.popleft()
            task = asyncio.create_task(self._fold(window, forgotten), name="folding")
            self._folding.append(_Folding(window, forgotten, task))
        if self._folding:
            first = self._folding[0]
            folded = await first.folded
            if first.forgotten is not forgotten:
                folded = await self._fold(first.window, forgotten)
            if folded is None or not await in_thread(self._apply_folded, first.window, folded):
                await self._apply_records(first.window, forgotten)
            self._folding.popleft()
        self._flush_if_due()

    def flush(self) -> None:
        """Flush the stores."""
        self.stores.flush()
        self._flushed_at = self._monotonic()

    def _flush_if_due(self) -> None:
        if self.stores.changes >= FLUSH_CHANGES or self._monotonic() - self._flushed_at >= FLUSH_INTERVAL:
            self.flush()

    async def _fold(self, window: Window, forgotten: Forgotten) -> FoldedRecords | None:
        if window.size < MIN_WINDOW_BYTES:
            return None
        if self._to_skip:
            self._to_skip -= 1
            return None
        folded = await asyncio.get_running_loop().run_in_executor(self._threads, self._fold_records, window, forgotten)
        if folded or window.size >= WINDOW_BYTES // 2:  # a small window has few messages per person anyway
            self._skipped = 0 if folded else min(2 * self._skipped or 1, MAX_SKIPPED_WINDOWS)
            self._to_skip = self._skipped
        return folded

    def _fold_records(self, window: Window, forgotten: Forgotten) -> FoldedRecords | None:
        compiled = CompiledRules(self._rules, 0)  # one per thread: it counts faults and caches texts
        return fold_records(window.records, compiled, forgotten, self._partitions)

    def _apply_folded(self, window: Window, folded: FoldedRecords) -> bool:
        first, end = window.records[0].offset, window.records[-1].offset + 1
        source = f"{window.source.topic}/{window.source.partition}"
        if not self.stores.apply_folded(folded.by_partition, source, first, end, window.arrived / 1e6):
            return False
        self._messages += folded.messages
        self._next[window.source] = end
        return True

    async def _apply_records(self, window: Window, forgotten: Forgotten) -> None:
        """Map and apply records as a lane would."""
        records = window.records
        while records:
            chunk = self._chunk(window.source, forgotten)
            await in_thread(self._apply_chunk, window, records, chunk)
            records = records[len(chunk.records) :]
            self._flush_if_due()

    def _chunk(self, source: TopicPartition, forgotten: Forgotten) -> MappingChunk:
        assert self._compiled
        lane = next(lane for lane, topic in LANES.items() if topic.name == source.topic)
        return MappingChunk(lane, self._compiled, forgotten, self._partitions, self._clock())

    def _apply_chunk(self, window: Window, records: Sequence[Any], chunk: MappingChunk) -> None:
        chunk.fill(records, inf)
        header = MappedBatch(
            topic=window.source.topic,
            partition=window.source.partition,
            first_offset=records[0].offset,
            next_offset=chunk.next_offset,
            rules_offset=0,
            payload=b"",
        )
        self.stores.apply(chunk, header, window.arrived / 1e6)
        self._messages += sum(counts.count for counts in chunk.streams.values())
        self._next[window.source] = chunk.next_offset
