"""Forgets persons: finds them by the hashes of their identities, records linked identities, and drops their data.

The process that owns partition 0 of the profiles works on all forgettings under way. It stores nothing: all progress
is in `definitions.events`, and every step can be repeated, by this process or the next owner. For each person it

1. compares the recorded hashes with all stored keys, and follows links from the matches to all identities;
2. records the hashes of further identities, and starts again; if there are none,
3. waits until all lanes exclude the identities, fences the updates, so that profiles skip what replaced owners of raw
   partitions send later, and waits until profiles have applied what precedes the fence;
4. searches again, as updates that were pending may have linked further identities, and starts again if they have;
5. has the node of each identity forget, waits until all have, and reports; other persons are reported meanwhile.

Nothing is dropped before the wait: a node that has forgotten ignores the links of pending updates, by which further
identities of the person would have been found.

While a rebuild goes live, persons are removed from the live generation only, because dropping a person would also drop
the links by which the next generation may know further identities. They are searched in it, too, once it is live.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from app.definitions.forgetting_catalog import ForgettingCatalog, ForgettingRecord
from app.definitions.rules import RulesReader
from app.kafka.clients import Cluster, started
from app.kafka.producer_record import ProducerRecord
from app.process import Clock
from app.profiles.lookup_client import MAX_POINTERS, GenerationReader, PartitionUnavailable, ProfilesClient
from app.profiles.open_partitions import RecordWriter
from app.records.encoding import encoded
from app.store.data_plane import PlaneStore
from projections.definitions.compiled_rules import identity_of
from projections.definitions.forgetting import MAX_KEYS, MAX_PERSON_KEYS, Forgetting
from projections.definitions.rules import key_hash, key_hashes
from projections.profiles.identity_node import Node
from projections.profiles.partitioning import partition_of_key
from projections.profiles.profile_view import shown_key
from projections.profiles.update_codec import encode_messages
from projections.profiles.updates import NodeMessages
from schemas.definitions import PARTITION, ExtendForgetting, ForgettingCommand, ReportForgotten
from schemas.instants import micros
from schemas.topics import DEFINITIONS_COMMANDS, UPDATES, UPDATES_REALTIME
from schemas.updates import NodeBatch, UpdateFence
from schemas.wire.codec import encode

POLL_INTERVAL: Final = 0.1  # seconds between two checks for forgettings
RETRY_DELAY: Final = 0.5  # seconds, while there are some
MIN_POLL_INTERVAL: Final = 0.02
MAX_POLL_INTERVAL: Final = 0.5
WAIT_TIMEOUT: Final = 5.0  # seconds; then forgettings that are new are handled first
MAX_PERSONS: Final = 100  # in one step
MAX_CONFIRMED_KEYS: Final = 1_000  # in one look-up: those of one that fails are looked up again
MAX_EXTENSIONS: Final = 100  # of one forgetting: later messages could link further identities endlessly
MAX_HOPS: Final = 3  # from node to node, until all identities of a person are linked
MAX_TARGETS: Final = 5_000  # in a record, beside all keys of a person: 25,000 of half a kilobyte fit

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Person:
    """The ranked keys of all identities, and the number of profiles that they have now.

    `complete` is false if a profile had reached its limit of links.
    """

    keys: frozenset[str]
    profiles: int
    complete: bool


@dataclass(slots=True)
class Barrier:
    """Passed once profiles have applied all updates that lanes mapped by rules before `rules_offset`.

    `ends` are the offsets to reach in the present hop from node to node.
    """

    rules_offset: int
    is_fenced: bool = False
    hops: int = 0
    ends: Mapping[TopicPartition, int] = field(default_factory=dict)


class ForgettingWorker:
    """Carries out the forgettings under way in `catalog`, which follows the same events as `rules`."""

    def __init__(  # its parts
        self,
        cluster: Cluster,
        partitions: int,
        plane: PlaneStore,
        client: ProfilesClient,
        rules: RulesReader,
        catalog: ForgettingCatalog,
        writer: RecordWriter,
        clock: Clock,
    ) -> None:
        self._partitions = partitions
        self._plane = plane
        self._client = client
        self._rules = rules
        self._catalog = catalog
        self._writer = writer
        self._clock = clock
        self._offsets = cluster.consumer(isolation="read_committed")
        self._updates = [TopicPartition(topic.name, n) for topic in UPDATES.values() for n in range(partitions)]
        self._generation = 0
        self._keys: dict[str, str] = {}  # of that generation: ranked keys by hash
        self._searched: set[tuple[str, int]] = set()  # ids and seqs of those whose linked identities are recorded
        self._sent: dict[tuple[str, int], frozenset[str]] = {}  # by id and seq: keys that were sent the message
        self._dropped: dict[tuple[str, int], set[str]] = defaultdict(set)  # by id and seq: keys whose nodes forgot
        self._barrier: Barrier | None = None  # that is not passed yet

    async def run(self, owns: Callable[[int], bool]) -> None:
        """Work until cancelled, while this process owns partition 0. Look-ups and requests to Kafka are retried."""
        async with started(self._offsets):
            while True:
                if not owns(PARTITION) or not await self._try_step():
                    await asyncio.sleep(RETRY_DELAY if self._catalog.under_way else POLL_INTERVAL)

    async def _try_step(self) -> bool:
        try:
            return await self.step()
        except (PartitionUnavailable, KafkaError) as error:
            _log.debug("forgetting is retried: %s", error)
        except TimeoutError:
            _log.debug("forgetting waits: control, a lane or profiles lag behind")
        return False

    async def step(self) -> bool:
        """Make a step with some of the forgettings; return whether any of them made progress.

        Raises:
            PartitionUnavailable: some profiles can't be looked up now.
            TimeoutError: control, a lane or profiles lag behind.

        """
        if not self._catalog.under_way:
            self._reset(self._generation)
            return False
        reader = await self._client.reader()
        if reader.generation != self._generation:
            self._reset(reader.generation)
        records = self._catalog.under_way
        steps = {_step_of(record) for record in records}
        self._searched &= steps
        self._sent = {step: keys for step, keys in self._sent.items() if step in steps}
        for step in self._dropped.keys() - steps:
            del self._dropped[step]
        due = [record for record in records if self._is_due(record)]
        new = [record for record in records if _step_of(record) not in self._searched]
        has_recorded = bool(new) and await self._record(reader, new[:MAX_PERSONS])
        has_dropped = bool(due) and await self._drop(reader, due)  # also while new requests keep arriving
        return has_recorded or has_dropped

    def _reset(self, generation: int) -> None:
        self._generation, self._barrier = generation, None
        self._keys, self._searched, self._sent = {}, set(), {}
        self._dropped.clear()

    def _is_live(self) -> bool:
        """Return whether the generation of the active rules is live; otherwise it is going live."""
        return self._rules.rules.generation == self._generation

    def _is_due(self, record: ForgettingRecord) -> bool:
        """Return whether a person can be dropped or reported now; those who are dropped await the next generation."""
        return _step_of(record) in self._searched and (self._is_live() or _step_of(record) not in self._sent)

    async def _record(self, reader: GenerationReader, records: Sequence[ForgettingRecord]) -> bool:
        """Record the identities that are linked already, so that lanes exclude them soon."""
        commands, complete = await self._search(reader, records)
        self._searched |= {_step_of(record) for record, _ in complete}
        await self._submit(records, commands)
        return bool(commands or complete)

    async def _drop(self, reader: GenerationReader, records: Sequence[ForgettingRecord]) -> bool:
        """Drop and report the persons who have no further identities once all pending updates are applied."""
        self._barrier = self._barrier or Barrier(max(record.rules_offset for record in records))
        await self._pass(reader, self._barrier)
        settled = [record for record in records if record.rules_offset <= self._barrier.rules_offset]
        settled = sorted(settled, key=lambda record: _step_of(record) in self._sent)[:MAX_PERSONS]  # awaited ones last
        self._barrier = None
        commands, complete = await self._search(reader, settled)
        for record, keys in complete:
            await self._send_drop(record, keys, micros(record.forgetting.at))
        if complete:
            with suppress(TimeoutError, PartitionUnavailable):
                await _until(partial(self._confirm, reader, complete))
        dropped = [record for record, keys in complete if self._dropped[_step_of(record)].issuperset(keys)]
        if self._is_live():
            now = self._clock()
            commands += [ReportForgotten(**_envelope(record.forgetting, "forgotten", now)) for record in dropped]
        await self._submit(settled, commands)
        return bool(commands or dropped)

    async def _confirm(
        self, reader: GenerationReader, persons: Iterable[tuple[ForgettingRecord, Sequence[str]]]
    ) -> bool:
        """Note which nodes have forgotten; return whether all nodes of any person have.

        Small persons go first, and no node is looked up again once it has forgotten: a timeout loses nothing.
        """
        smallest_first = sorted(persons, key=lambda person: len(person[1]))
        pending = [
            (record, key)
            for record, keys in smallest_first
            for key in keys
            if key not in self._dropped[_step_of(record)]
        ]
        for begin in range(0, len(pending), MAX_CONFIRMED_KEYS):
            chunk = pending[begin : begin + MAX_CONFIRMED_KEYS]
            nodes = await reader.nodes([key for _, key in chunk])
            for (record, key), node in zip(chunk, nodes, strict=True):
                if node and node.forgotten >= micros(record.forgetting.at):
                    self._dropped[_step_of(record)].add(key)
        return any(self._dropped[_step_of(record)].issuperset(keys) for record, keys in smallest_first)

    async def _send_drop(self, record: ForgettingRecord, keys: Sequence[str], at: int) -> None:
        """Send the node of each identity the message to forget; once, unless a node has come into being since."""
        step = _step_of(record)
        if step in self._sent and self._sent[step].issuperset(keys):
            return
        for message in _forget_records(keys, at, self._generation, self._partitions):
            await self._writer.write([message])
        self._sent[step] = frozenset(keys)

    async def _submit(self, records: Sequence[ForgettingRecord], commands: Sequence[ForgettingCommand]) -> None:
        """Send commands about records, and wait until they are decided."""
        await self._writer.write(encoded(DEFINITIONS_COMMANDS, c, c.definition_id, PARTITION) for c in commands)

        async def decided() -> bool:
            return not any(self._catalog.get(command.definition_id) in records for command in commands)

        await _until(decided)

    async def _pass(self, reader: GenerationReader, barrier: Barrier) -> None:
        """Wait until no update that lanes mapped by older rules is pending, nor a message between nodes due to it."""

        async def confirmed() -> bool:
            return not await self._plane.unconfirmed(barrier.rules_offset)

        await self._plane.confirm_unclaimed(self._partitions, barrier.rules_offset)
        await _until(confirmed)
        if not barrier.is_fenced:
            fence = encode(UpdateFence(forgettings_offset=barrier.rules_offset))
            await self._writer.write(ProducerRecord(at.topic, fence, partition=at.partition) for at in self._updates)
            barrier.is_fenced = True
        while barrier.hops < MAX_HOPS:
            if not barrier.ends:
                barrier.ends = await self._offsets.end_offsets(self._updates)
            await _until(partial(self._has_applied, reader, barrier.ends))
            barrier.hops, barrier.ends = barrier.hops + 1, {}

    async def _has_applied(self, reader: GenerationReader, ends: Mapping[TopicPartition, int]) -> bool:
        for number in range(self._partitions):
            offsets = (await reader.page(number, "", 0)).offsets
            if any(offsets.get(at.topic, 0) < end for at, end in ends.items() if at.partition == number):
                return False
        return True

    async def _find_keys(self, reader: GenerationReader, records: Iterable[ForgettingRecord]) -> None:
        """Find the stored keys of all recorded hashes that are not known yet."""
        used, wanted = _hashes_of(self._catalog.under_way), _hashes_of(records)
        self._keys = {name: key for name, key in self._keys.items() if name in used}
        missing = wanted - self._keys.keys()
        for number in range(self._partitions):
            self._keys |= _by_hash(await reader.keys(number, missing))

    async def _search(
        self, reader: GenerationReader, records: Sequence[ForgettingRecord]
    ) -> tuple[list[ForgettingCommand], list[tuple[ForgettingRecord, Sequence[str]]]]:
        """Return commands that record further identities, and the records without further ones, with all keys."""
        await self._find_keys(reader, records)
        commands, complete = list[ForgettingCommand](), list[tuple[ForgettingRecord, Sequence[str]]]()
        for record in records:
            hashes = record.forgetting.key_hashes
            try:
                person = await self._person(reader, {self._keys[name] for name in hashes if name in self._keys})
            except PartitionUnavailable as error:
                _log.debug("forgetting is retried: %s", error)
                continue
            by_hash = _by_hash(person.keys)
            self._keys |= by_hash
            names = frozenset[str]().union(*(key_hashes(shown_key(key)) for key in person.keys))
            extension = _extension(record.forgetting, person, names - hashes, self._clock())
            if extension is None:
                complete.append((record, sorted(key for name, key in by_hash.items() if name in hashes)))
            else:
                commands.append(extension)
        return commands, complete

    async def _person(self, reader: GenerationReader, keys: Iterable[str]) -> Person:
        """Return all identities that are linked with stored keys."""
        nodes: dict[str, Node] = {}
        pending = set(keys)
        for _ in range(MAX_POINTERS):
            level = await reader.nodes(sorted(pending))
            if not all(level):
                raise PartitionUnavailable("the identities of a person are being merged")
            nodes |= {node.key: node for node in level if node}
            pending = {node.parent for node in nodes.values() if node.parent} - nodes.keys()
            if not pending:
                break
        roots = [node for node in nodes.values() if not node.parent]
        limit = identity_of(self._rules.of(reader.generation)).max_identities
        return Person(
            frozenset(key for node in nodes.values() for key in node.identities()),
            sum(bool(root.registers or root.edges) for root in roots),
            complete=all(len(root.edges) < limit for root in roots),
        )


def _extension(forgetting: Forgetting, person: Person, hashes: Iterable[str], now: datetime) -> ExtendForgetting | None:
    """Return the command that records further hashes and counts; None when all of it is recorded already."""
    further, is_bounded = sorted(hashes), forgetting.version < MAX_EXTENSIONS
    room = MAX_PERSON_KEYS - len(forgetting.key_hashes) if is_bounded else 0
    complete = person.complete and len(further) <= room
    added = tuple(further[: min(room, MAX_KEYS)])
    has_more = is_bounded and person.profiles > forgetting.profiles
    if not added and not has_more and (complete or not forgetting.complete):
        return None
    envelope = _envelope(forgetting, "extended", now)
    return ExtendForgetting(**envelope, key_hashes=added, profiles=person.profiles, complete=complete)


def _envelope(forgetting: Forgetting, step: str, now: datetime) -> dict[str, Any]:
    """Return the envelope of a command; another owner, or a repeat after a crash, sends the same step with one id."""
    return {
        "command_id": f"{forgetting.definition_id}/{step}/{forgetting.seq}",
        "definition_id": forgetting.definition_id,
        "issued_at": now,
        "issued_by": "profiles",
        "expected_version": forgetting.version,
    }


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    interval = MIN_POLL_INTERVAL
    async with asyncio.timeout(WAIT_TIMEOUT):
        while not await condition():
            await asyncio.sleep(interval)
            interval = min(2 * interval, MAX_POLL_INTERVAL)


def _step_of(record: ForgettingRecord) -> tuple[str, int]:
    return record.forgetting.definition_id, record.forgetting.seq


def _hashes_of(records: Iterable[ForgettingRecord]) -> frozenset[str]:
    return frozenset[str]().union(*(record.forgetting.key_hashes for record in records))


def _by_hash(keys: Iterable[str]) -> dict[str, str]:
    return {key_hash(shown_key(key)): key for key in keys}


def _forget_records(keys: Sequence[str], at: int, generation: int, partitions: int) -> Iterator[ProducerRecord]:
    """Yield the records that make the nodes of a person forget. Each names all keys, so it has many targets."""
    by_partition: dict[int, list[str]] = defaultdict(list)
    for key in keys:
        by_partition[partition_of_key(key, partitions)].append(key)
    for number, targets in by_partition.items():
        for begin in range(0, len(targets), MAX_TARGETS):
            messages = NodeMessages(forget=[(targets[begin : begin + MAX_TARGETS], at, keys)])
            batch = NodeBatch(payload=encode_messages(messages), generation=generation)
            yield ProducerRecord(UPDATES_REALTIME.name, encode(batch), partition=number)
