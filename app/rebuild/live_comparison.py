"""Compares a rebuild with the live profiles while both apply new messages.

The live profiles are read page by page from the owners of their partitions, after they include every message that the
rebuild had applied when the comparison started. Identities in messages that arrive meanwhile are recorded on both
sides; their profiles are reported as changing, and not compared.
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

from app.kafka.clients import Cluster, started
from app.process import Clock, Monotonic
from app.profile_store.partition_store import PartitionStore
from app.profiles.lookup_client import GenerationReader, KeyPage, PartitionUnavailable, ProfilesClient
from app.profiles.update_consumer import UpdateRecord, decode_update
from app.rebuild.builder import RebuildBuilder
from app.rebuild.diff import ProfileComparison, ProfileSet, compare, identity_hash
from app.rebuild.raw_reader import Bounds
from app.rebuild.report import keys_of, report_of, skipped_report
from app.rebuild.stores import MAX_CHANGED_KEYS
from app.store.lanes import LaneStore
from app.tasks import cancel_all
from connectors.kit.threads import in_thread
from projections.profiles.identity_node import Node
from projections.profiles.profile_view import shown_key
from projections.profiles.update_codec import MalformedUpdateError, decode_mapped, decode_messages
from projections.profiles.updates import decode_node
from schemas.topics import LANES, MAX_RECORD_BYTES, UPDATES
from schemas.updates import MappedBatch, UpdateFence

STALL_TIMEOUT_SECONDS: Final = 30.0  # without any progress
RETRY_DELAY_SECONDS: Final = 0.2
UPDATE_ROUNDS: Final = 4  # applying an update can send updates to other nodes: wait for their effects, too
PAGE_NODES: Final = 500  # read at a time
FETCH_WAIT_MS: Final = 1_000

_log = logging.getLogger(__name__)


class NotComparable(Exception):
    """The rebuild can't be compared with the live profiles. The message is the reason in the report."""


class LiveComparison:
    """Reads the live profiles in the background, then compares the rebuild with them. Starts at construction."""

    def __init__(
        self,
        cluster: Cluster,
        lanes: LaneStore,
        client: ProfilesClient,
        builder: RebuildBuilder,
        partitions: int,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._lanes = lanes
        self._client = client
        self._builder = builder
        self._partitions = range(partitions)
        self._monotonic = monotonic
        self._live = ProfileSet()
        self._touched: set[int] = set()
        self._samples: SampleLoader | None = None
        self._report = ""
        builder.stores.touched = set()
        self._reading = asyncio.create_task(self._read_live(builder.read_to), name="reading the live profiles")

    async def stop(self) -> None:
        """Stop reading and comparing."""
        self._builder.stores.touched = None
        await cancel_all(self._reading)

    async def report(self, clock: Clock) -> str:
        """Return the report as JSON; "" until it is complete. The call that does the comparison takes seconds.

        When no comparison is possible, the report contains the reason.
        """
        if not self._report and self._reading.done():
            report: Mapping[str, Any] | None = None
            try:
                if self._samples is None and await self._builder.has_read(self._reading.result()):
                    nodes = self._builder.stores.nodes
                    self._samples = SampleLoader(await self._compare(), nodes, self._client, self._monotonic)
                if self._samples is not None:
                    report = await self._samples.report(clock())
            except NotComparable as error:
                report = skipped_report(str(error), clock())
            self._report = "" if report is None else orjson.dumps(report).decode()
        return self._report

    async def _compare(self) -> ProfileComparison:
        stores = self._builder.stores
        self._builder.flush()
        if max(len(self._touched), len(stores.touched or ())) >= MAX_CHANGED_KEYS:
            raise NotComparable(f"messages named more than {MAX_CHANGED_KEYS:,} identities during the comparison")
        touched = self._touched | (stores.touched or set())
        stores.touched = None
        comparison = await in_thread(lambda: compare(self._live, profiles_of(stores.partition_stores), touched))
        self._live, self._touched = ProfileSet(), set()  # free their memory
        return comparison

    async def _read_live(self, applied: Bounds) -> Bounds:
        """Read the live profiles; return the raw offsets that the rebuild has to reach before it can be compared.

        `applied` has the raw offsets up to which the rebuild is applied now.

        Raises:
            NotComparable: the lanes or the live profiles make no progress, or an owner does not respond.

        """
        async with started(
            self._cluster.consumer(isolation="read_uncommitted", partition_bytes=MAX_RECORD_BYTES)
        ) as consumer:
            updates = [TopicPartition(topic.name, number) for topic in UPDATES.values() for number in self._partitions]
            begin: Bounds = await consumer.end_offsets(updates)
            await self._wait_for_lanes(applied)
            reader = await self._client.reader()
            for _ in range(UPDATE_ROUNDS):
                await self._wait_for_profiles(reader, await consumer.end_offsets(updates))
            for number in self._partitions:
                await self._read_partition(reader, number)
            await self._record_touched(consumer, begin, await consumer.end_offsets(updates))
            bound: Bounds = await consumer.end_offsets(list(applied))
            return bound

    async def _wait_for_lanes(self, bound: Bounds) -> None:
        """Wait until the lanes have mapped the raw messages up to these offsets."""

        async def missing() -> Mapping[str, int]:
            positions = await self._lanes.positions([topic.name for topic in LANES.values()])
            return _count_missing(bound, lambda source: positions.get((source.topic, source.partition), 0))

        await _wait_until_none(missing, "messages that the lanes have not mapped yet", self._monotonic)

    async def _wait_for_profiles(self, reader: GenerationReader, bound: Bounds) -> None:
        """Wait until the live profiles include the updates up to these offsets."""

        async def missing() -> Mapping[str, int]:
            pages = [await reader.page(number, "", 0) for number in self._partitions]
            return _count_missing(bound, lambda source: pages[source.partition].offsets.get(source.topic, 0))

        await _wait_until_none(missing, "updates that the live profiles have not read yet", self._monotonic)

    async def _read_partition(self, reader: GenerationReader, number: int) -> None:
        """Add the profiles of one partition to the live ones. Nodes with a parent hold no profile."""
        start = ""
        while nodes := (await _page(reader, number, start, self._monotonic)).nodes:
            for node in nodes:
                if not node.parent:
                    self._live.add(node.key, node.registers, node.edges)
            start = nodes[-1].key + "\0"
            await asyncio.sleep(0)

    async def _record_touched(self, consumer: Any, begin: Bounds, ends: Bounds) -> None:
        """Record the identities in the updates between two offsets of each partition."""
        consumer.assign(list(ends))
        for source, offset in begin.items():
            consumer.seek(source, offset)
        while any([await consumer.position(source) < end for source, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=FETCH_WAIT_MS)).values():
                for record in records:
                    if len(self._touched) < MAX_CHANGED_KEYS:
                        self._touched.update(_identities(record))


class SampleLoader:
    """Adds sample profiles to a comparison, which makes it a report. The live ones come from the partition owners.

    `rebuilt` returns nodes of the rebuild by ranked key.
    """

    def __init__(
        self,
        comparison: ProfileComparison,
        rebuilt: Callable[[Iterable[str]], Mapping[str, Node]],
        client: ProfilesClient,
        monotonic: Monotonic = time.monotonic,
    ) -> None:
        self._comparison = comparison
        self._rebuilt = rebuilt
        self._client = client
        self._monotonic = monotonic
        self._deadline = monotonic() + STALL_TIMEOUT_SECONDS

    async def report(self, at: datetime) -> Mapping[str, Any] | None:
        """Return the report; None when an owner does not respond: call again.

        After `STALL_TIMEOUT_SECONDS` without a response the report has no samples.
        """
        live_keys, rebuilt_keys = keys_of(self._comparison)
        reader = await self._client.reader()
        try:
            live = {node.key: node for node in await reader.nodes(sorted(live_keys)) if node is not None}
        except PartitionUnavailable as error:
            if self._monotonic() < self._deadline:
                return None
            _log.warning("the report of the rebuild has no samples: %s", error)
            return report_of(replace(self._comparison, samples={}), at, {}, {})
        return report_of(self._comparison, at, live, self._rebuilt(rebuilt_keys))


def profiles_of(stores: Sequence[PartitionStore]) -> ProfileSet:
    """Return all profiles in the stores of a rebuild, of which there is one for each partition."""
    profiles = ProfileSet()
    for store in stores:
        start = b""
        while page := store.iterate_nodes(start, PAGE_NODES):
            for key, stored in page:
                node = decode_node(key.decode(), stored)
                if not node.parent:
                    profiles.add(node.key, node.registers, node.edges)
            start = page[-1][0] + b"\0"
    return profiles


async def _page(reader: GenerationReader, number: int, start: str, monotonic: Monotonic) -> KeyPage:
    """Return up to `PAGE_NODES` nodes of a partition, from the ranked key `start` on; retry until its owner responds.

    Raises:
        NotComparable: the owner does not respond in time.

    """
    deadline = monotonic() + STALL_TIMEOUT_SECONDS
    while True:
        try:
            return await reader.page(number, start, PAGE_NODES)
        except PartitionUnavailable as error:
            if monotonic() >= deadline:
                raise NotComparable(str(error)) from error
            await asyncio.sleep(RETRY_DELAY_SECONDS)


async def _wait_until_none(
    missing: Callable[[], Awaitable[Mapping[str, int]]], description: str, monotonic: Monotonic
) -> None:
    """Wait until nothing is missing, as long as the total decreases. `missing` returns counts by partition.

    Raises:
        NotComparable: the total has not decreased for `STALL_TIMEOUT_SECONDS`.

    """
    least, reason = float("inf"), ""
    deadline = monotonic() + STALL_TIMEOUT_SECONDS
    while monotonic() < deadline:
        try:
            counts = await missing()
        except PartitionUnavailable as error:
            reason = str(error)
        else:
            if not counts:
                return
            count = sum(counts.values())
            reason = f"{count:,} {description}, in {', '.join(sorted(counts))}, and the number does not decrease"
            if count < least:
                least, deadline = count, monotonic() + STALL_TIMEOUT_SECONDS
        await asyncio.sleep(RETRY_DELAY_SECONDS)
    raise NotComparable(reason)


def _count_missing(bound: Bounds, reached: Callable[[TopicPartition], int]) -> Mapping[str, int]:
    """Return by `topic/partition` how many offsets are missing up to the bound, without partitions that reached it."""
    return {
        f"{source.topic}/{source.partition}": end - reached(source)
        for source, end in bound.items()
        if reached(source) < end
    }


def _identities(record: UpdateRecord) -> set[int]:
    """Return the hashes of the identities that an update is sent to."""
    update = decode_update(record)
    if update is None or isinstance(update, UpdateFence):
        return set()
    try:
        messages = decode_mapped(update.payload) if isinstance(update, MappedBatch) else decode_messages(update.payload)
    except MalformedUpdateError:  # the profiles role skips it, too
        return set()
    return {identity_hash(shown_key(key)) for key in messages.target_keys()}
