"""Compares what a rebuild has built with what is live, while both take in what comes.

What is live is read page by page from its owners, once everything that the rebuild had read by then has arrived there.
Whoever is named by a message in between is noted on both sides, and not compared.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import orjson
from aiokafka import TopicPartition

from app.clock import Clock
from app.kafka.clients import Cluster, started
from app.profile_store.partition_store import PartitionStore
from app.profile_store.restore import in_thread
from app.profiles.lookup_client import GenerationReader, KeyPage, PartitionUnavailable, ProfilesClient
from app.profiles.update_consumer import UpdateRecord, decode_update
from app.rebuild.builder import RebuildBuilder
from app.rebuild.diff import ProfileComparison, ProfileSet, compare, identity_hash
from app.rebuild.raw_reader import Bounds
from app.rebuild.report import keys_of, not_compared, report_of
from app.rebuild.stores import MAX_CHANGED_KEYS
from app.store.lanes import LaneStore
from projections.profiles.identity_node import Node
from projections.profiles.profile_view import shown_key
from projections.profiles.update_codec import MalformedUpdateError, decode_mapped, decode_messages
from projections.profiles.updates import decode_node
from schemas.topics import LANES, MAX_RECORD_BYTES, UPDATES
from schemas.updates import MappedBatch

STALL_TIMEOUT_SECONDS: Final = 30.0  # without any progress
AGAIN_SECONDS: Final = 0.2
HOPS: Final = 4  # from node to node, until what messages say has arrived
NODES: Final = 500  # of a page
WAIT_MS: Final = 1_000

_log = logging.getLogger(__name__)


class NotComparable(Exception):
    """What was built can't be compared with what is live. The message says why, for whoever looks at the rebuild."""


class LiveComparison:
    """Reads what is live in the background, and then tells how what was built differs from it."""

    def __init__(
        self,
        cluster: Cluster,
        lanes: LaneStore,
        asking: ProfilesClient,
        building: RebuildBuilder,
        partitions: int,
    ) -> None:
        self._cluster = cluster
        self._lanes = lanes
        self._asking = asking
        self._building = building
        self._numbers = range(partitions)
        self._live = ProfileSet()
        self._touched: set[int] = set()
        self._examples: SampleLoader | None = None
        self._report = ""
        building.stores.touched = set()
        self._reading = asyncio.create_task(self._read(building.read_to), name="reading what is live")

    async def stop(self) -> None:
        """Stop reading, and comparing."""
        self._building.stores.touched = None
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def report(self, clock: Clock) -> str:
        """Return the report as JSON, which is empty until it is there. It takes seconds when it is made.

        Where nothing can be compared, it says why.
        """
        if not self._report and self._reading.done():
            found: Mapping[str, Any] | None = None
            try:
                if self._examples is None and await self._building.has_read(self._reading.result()):
                    self._examples = SampleLoader(await self._compare(), self._building.stores.nodes, self._asking)
                if self._examples is not None:
                    found = await self._examples.report(clock())
            except NotComparable as why:
                found = not_compared(str(why), clock())
            self._report = "" if found is None else orjson.dumps(found).decode()
        return self._report

    async def _compare(self) -> ProfileComparison:
        stores = self._building.stores
        self._building.flush()
        if max(len(self._touched), len(stores.touched or ())) >= MAX_CHANGED_KEYS:
            raise NotComparable(f"messages named more than {MAX_CHANGED_KEYS:,} identities while it was compared")
        touched = self._touched | (stores.touched or set())
        stores.touched = None
        found = await in_thread(lambda: compare(self._live, side_of(stores.partition_stores), touched))
        self._live, self._touched = ProfileSet(), set()  # which are large
        return found

    async def _read(self, since: Bounds) -> Bounds:
        async with started(
            self._cluster.consumer(isolation="read_uncommitted", partition_bytes=MAX_RECORD_BYTES)
        ) as consumer:
            updates = [TopicPartition(topic.name, n) for topic in UPDATES.values() for n in self._numbers]
            begin: Bounds = await consumer.end_offsets(updates)
            await self._until_lanes_have(since)
            reader = await self._asking.reader()
            for _ in range(HOPS):
                await self._until_live_has(reader, await consumer.end_offsets(updates))
            for number in self._numbers:
                await self._read_partition(reader, number)
            await self._note_touched(consumer, begin, await consumer.end_offsets(updates))
            bound: Bounds = await consumer.end_offsets(list(since))
            return bound

    async def _until_lanes_have(self, bound: Bounds) -> None:
        async def missing() -> Mapping[str, int]:
            found = await self._lanes.positions([topic.name for topic in LANES.values()])
            return _missing(bound, lambda each: found.get((each.topic, each.partition), 0))

        await _until_none(missing, "messages that the lanes have not mapped yet")

    async def _until_live_has(self, reader: GenerationReader, bound: Bounds) -> None:
        async def missing() -> Mapping[str, int]:
            pages = [await reader.page(number, "", 0) for number in self._numbers]
            return _missing(bound, lambda each: pages[each.partition].offsets.get(each.topic, 0))

        await _until_none(missing, "updates that the live profiles have not read yet")

    async def _read_partition(self, reader: GenerationReader, number: int) -> None:
        start = ""
        while nodes := (await _page(reader, number, start)).nodes:
            for each in nodes:
                if not each.parent:
                    self._live.add(each.key, each.registers, each.edges)
            start = nodes[-1].key + "\0"
            await asyncio.sleep(0)

    async def _note_touched(self, consumer: Any, begin: Bounds, ends: Bounds) -> None:
        """Note whom the updates between two moments were about."""
        consumer.assign(list(ends))
        for each, offset in begin.items():
            consumer.seek(each, offset)
        while any([await consumer.position(each) < end for each, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=WAIT_MS)).values():
                for record in records:
                    if len(self._touched) < MAX_CHANGED_KEYS:
                        self._touched.update(_named(record))


class SampleLoader:
    """The report of a comparison, as soon as the owners of what is live show examples. `clock` counts seconds.

    `rebuilt` returns the nodes of ranked keys.
    """

    def __init__(
        self,
        found: ProfileComparison,
        rebuilt: Callable[[Iterable[str]], Mapping[str, Node]],
        asking: ProfilesClient,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._found = found
        self._rebuilt = rebuilt
        self._asking = asking
        self._clock = clock
        self._until = clock() + STALL_TIMEOUT_SECONDS

    async def report(self, at: datetime) -> Mapping[str, Any] | None:
        """Return the report; None while an owner doesn't answer. When that is too long, it has no examples."""
        mine, theirs = keys_of(self._found)
        reader = await self._asking.reader()
        try:
            live = {each.key: each for each in await reader.nodes(sorted(mine)) if each is not None}
        except PartitionUnavailable as error:
            if self._clock() < self._until:
                return None
            _log.warning("the report of the rebuild has no examples: %s", error)
            return report_of(replace(self._found, samples={}), at, {}, {})
        return report_of(self._found, at, live, self._rebuilt(theirs))


def side_of(stores: Sequence[PartitionStore]) -> ProfileSet:
    """Return the profiles in stores."""
    side = ProfileSet()
    for store in stores:
        start = b""
        while page := store.iterate_nodes(start, NODES):
            for key, stored in page:
                node = decode_node(key.decode(), stored)
                if not node.parent:
                    side.add(node.key, node.registers, node.edges)
            start = page[-1][0] + b"\0"
    return side


async def _page(reader: GenerationReader, number: int, start: str) -> KeyPage:
    """Return some nodes of a partition, as soon as its owner answers."""
    until = time.monotonic() + STALL_TIMEOUT_SECONDS
    while True:
        try:
            return await reader.page(number, start, NODES)
        except PartitionUnavailable as error:
            if time.monotonic() > until:
                raise NotComparable(str(error)) from error
            await asyncio.sleep(AGAIN_SECONDS)


async def _until_none(missing: Callable[[], Awaitable[Mapping[str, int]]], what: str) -> None:
    """Wait until nothing is missing, as long as it gets less."""
    least, until, why = float("inf"), time.monotonic() + STALL_TIMEOUT_SECONDS, ""
    while time.monotonic() < until:
        try:
            found = await missing()
        except PartitionUnavailable as error:
            why = str(error)
        else:
            if not found:
                return
            count = sum(found.values())
            why = f"{count:,} {what}, in {', '.join(sorted(found))}, and they get no fewer"
            if count < least:
                least, until = count, time.monotonic() + STALL_TIMEOUT_SECONDS
        await asyncio.sleep(AGAIN_SECONDS)
    raise NotComparable(why)


def _missing(bound: Bounds, reached: Callable[[TopicPartition], int]) -> Mapping[str, int]:
    return {f"{each.topic}/{each.partition}": end - reached(each) for each, end in bound.items() if reached(each) < end}


def _named(record: UpdateRecord) -> set[int]:
    """Return the hashes of the identities that an update is about."""
    update = decode_update(record)
    if update is None:
        return set()
    try:
        said = decode_mapped(update.payload) if isinstance(update, MappedBatch) else decode_messages(update.payload)
    except MalformedUpdateError:  # profiles pass over it, too
        return set()
    return {identity_hash(shown_key(each)) for each in said.target_keys()}
