"""One partition of the profiles: applies updates from lanes and nodes, and flushes state and offsets in one write.

All state follows from the two update topics of the partition. It is flushed after the broker has acked the messages to
other partitions, so a crash only repeats, and a repeat changes nothing.
"""

import logging
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from app.kafka.producer_record import ProducerRecord
from app.profile_store.partition_store import Changes, PartitionStore
from app.profiles.dedup import DedupWindow
from app.profiles.fan_in import FACT, FanIn
from app.profiles.identity_limit import IdentityLimitReports
from app.profiles.node_cache import NodeCache
from projections.profiles.forgotten_persons import ForgottenPersons
from projections.profiles.identity_node import Node, Outbox
from projections.profiles.payload_limits import encoded_batches
from projections.profiles.update_codec import MalformedUpdateError, decode_mapped, decode_messages
from projections.profiles.updates import (
    INDEX,
    KEY,
    OFFSET,
    Counted,
    FoldedMessages,
    MappedMessages,
    NodeMessages,
    any_counted,
    apply_folded,
    apply_mapped,
    apply_messages,
    by_partition,
    drop_counted,
    encode_node,
    mark_counted,
    slices_of,
)
from schemas.topics import LANES, UPDATES
from schemas.updates import MappedBatch, NodeBatch, Update, UpdateFence
from schemas.wire.codec import encode

MAX_OUTBOX_BYTES: Final = 4 * 1024 * 1024  # of JSON in a record, or in the smallest part that a state is split into
REFERENCE: Final = struct.Struct(">BHQQQ")  # lane, partition and offset of a raw record, index in it, rules_offset
PAGES: Final = "pages"  # of references, numbered in the order they were written
RULES_OFFSET: Final = "rules_offset"  # offset of the rules that a rebuild's messages were mapped by: its promotion
PERSON: Final = "person/"  # and an id: the keys of a forgotten person
FENCE: Final = "fence/"  # and the lane: the newest fence of its update topic
ALL_ROWS: Final = sys.maxsize
MAX_REFERENCES: Final = 10_001  # of one key: more than are read for one response
NO_CHANGES: Final[Mapping[str, bytes]] = MappingProxyType({})
LANE_NUMBER: Final = {topic.name: number for number, topic in enumerate(LANES.values())}

Outgoing = list[tuple[str, int, NodeMessages]]  # messages to other partitions, by lane and partition

_log: Final = logging.getLogger(__name__)


class ProfilePartition:
    """The nodes of one partition, in one generation. Call `apply` any number of times, then `flush`.

    `clock` gives the time at which the applied messages arrived, in seconds since 1970; with `in_any_order` it may go
    back.
    """

    def __init__(
        self,
        number: int,
        partitions: int,
        store: PartitionStore,
        *,
        generation: int,
        max_nodes: int,
        clock: Callable[[], float],
        in_any_order: bool = False,
    ) -> None:
        self.number = number
        self.store = store
        self.generation = generation
        self._partitions = partitions
        self._offsets = store.offsets()  # of the update topics by name, and of the raw topics by `topic/partition`
        self._pages = int(store.fact(PAGES) or 0)
        self._rules_offset = int(store.fact(RULES_OFFSET) or 0)
        self._fences = {lane: int(store.fact(FENCE + lane) or 0) for lane in UPDATES}
        self.nodes = NodeCache(store.get_nodes, max_nodes)
        self._dedup = DedupWindow(store.get_seen, store.iterate_seen, clock, in_any_order=in_any_order)
        self._clock = clock
        self.fan_in = FanIn(store.fact(FACT))
        self._persons = ForgottenPersons(lambda person: store.fact(PERSON + person))
        self._limit_reports = IdentityLimitReports(f"profiles/{number}")
        self._references: dict[str, bytearray] = {}
        self._encoded: dict[bytes, bytes] = {}  # changed nodes as they will be stored, unless they change again
        self._outboxes: dict[str, Outbox] = {}
        self._is_dirty = False  # there is something to flush, if only an offset

    @property
    def changes(self) -> int:
        """The number of nodes that were changed since the last flush."""
        return len(self.nodes.changed) + len(self._encoded)

    @property
    def is_clean(self) -> bool:
        """Whether all that was applied is flushed."""
        return not self._is_dirty

    @property
    def has_outgoing(self) -> bool:
        """Whether there are messages to other partitions."""
        return any(self._outboxes.values())

    def next_offset(self, lane: str) -> int:
        """Return the next offset of the lane's update topic."""
        return self._offsets.get(UPDATES[lane].name, 0)

    def next_raw_offset(self, source: str) -> int:
        """Return the next offset of a raw partition (`topic/partition`)."""
        return self._offsets.get(source, 0)

    def apply(self, lane: str, offset: int, update: Update | None, max_identities: int) -> int:
        """Apply one record of an update topic and return its number of rows.

        A record that was applied before, is for another generation, follows a fence that it does not comply with, or
        could not be decoded (None) has no rows.
        """
        return sum(self.apply_in_slices(lane, offset, update, max_identities, ALL_ROWS))

    def apply_in_slices(
        self, lane: str, offset: int, update: Update | None, max_identities: int, rows: int
    ) -> Iterator[int]:
        """Apply one record as `apply` does, about `rows` rows at a time, and yield the number of rows of each slice.

        Flush only after the last slice, which moves the offset.
        """
        if offset < self.next_offset(lane):
            return
        if isinstance(update, UpdateFence):
            self._fences[lane] = max(update.forgettings_offset, self._fences[lane])
        elif isinstance(update, MappedBatch) and update.forgettings_offset < self._fences[lane]:
            position = (UPDATES[lane].name, self.number, offset, update.topic, update.partition)
            _log.warning("skipping %s-%d@%d: a replaced owner of %s/%d has sent it", *position)
        elif update is not None and update.generation == self.generation:
            try:
                yield from self._slices(update, self._outbox(lane, max_identities), rows)
            except MalformedUpdateError as error:
                _log.warning("skipping invalid record %s-%d@%d: %s", UPDATES[lane].name, self.number, offset, error)
        self.seek({UPDATES[lane].name: offset + 1})

    def apply_mapped(self, header: MappedBatch, mapped: MappedMessages, max_identities: int) -> int:
        """Apply raw messages, without those that were applied before, and return the number of rows."""
        return sum(self._apply_mapped(header, mapped, self._outbox("", max_identities), ALL_ROWS))

    def has_counted(self, counted: Sequence[Counted]) -> bool:
        """Return whether one of these messages was counted before."""
        with self._dedup.spans_of({batch for batch, _, _ in counted}) as seen:
            return any_counted(counted, seen)

    def has_forgotten(self, keys: Iterable[str]) -> bool:
        """Return whether any of these people was forgotten, so that the time of each message matters."""
        return any(node.forgotten for node in self.nodes.load(keys).values())

    def apply_folded(self, folded: FoldedMessages, max_identities: int) -> None:
        """Apply folded raw messages, none of which was applied or counted before, or is about a forgotten person."""
        with self._dedup.spans_of({batch for batch, _, _ in folded.counted}) as seen:
            mark_counted(folded.counted, seen)
        apply_folded(folded, self._load_for_change(folded.target_keys()), self._outbox("", max_identities))
        for key, page in folded.references.items():
            self._references.setdefault(key, bytearray()).extend(page)
        self._is_dirty = True

    def apply_messages(self, messages: NodeMessages, max_identities: int) -> int:
        """Apply messages from other nodes, and return their number."""
        return self._apply_messages(messages, self._outbox("", max_identities))

    def seek(self, offsets: Mapping[str, int]) -> None:
        """Set the next offsets of some inputs."""
        self._offsets |= offsets
        self._is_dirty = True

    def drain_outbox(self) -> Outgoing:
        """Remove and return the messages to other partitions, which have to be delivered before the next flush."""
        outboxes, self._outboxes = self._outboxes, {}
        return [
            (lane, partition, messages)
            for lane, outbox in outboxes.items()
            for partition, messages in by_partition(outbox, self._partitions).items()
        ]

    def _outbox(self, lane: str, max_identities: int) -> Outbox:
        return self._outboxes.setdefault(lane, Outbox(max_identities))

    def _slices(self, update: MappedBatch | NodeBatch, outbox: Outbox, rows: int) -> Iterator[int]:
        if isinstance(update, NodeBatch):
            yield self._apply_messages(decode_messages(update.payload), outbox)
        elif update.next_offset > self.next_raw_offset(f"{update.topic}/{update.partition}"):
            mapped = decode_mapped(update.payload)
            yield 0  # decoding takes about as long as a slice
            yield from self._apply_mapped(update, mapped, outbox, rows)
        # otherwise a restarted lane has sent it again

    def _apply_messages(self, messages: NodeMessages, outbox: Outbox) -> int:
        self._is_dirty = True
        apply_messages(messages, self._load_for_change(messages.target_keys()), outbox, self._persons)
        return len(messages.joins) + len(messages.links)

    def _apply_mapped(self, header: MappedBatch, mapped: MappedMessages, outbox: Outbox, rows: int) -> Iterator[int]:
        source = f"{header.topic}/{header.partition}"
        applied = self.next_raw_offset(source)
        for group in mapped.groups:
            if header.first_offset < applied:
                group.rows = [row for row in group.rows if group.offset + row[OFFSET] >= applied]
            if group.counted:
                with self._dedup.spans_of({batch for batch, _, _ in group.counted}) as seen:
                    drop_counted(group, seen)
        for part in slices_of(mapped, rows):
            apply_mapped(part, self._load_for_change(part.target_keys()), outbox)
            self._add_references(header, part)
            yield sum(len(group.rows) for group in part.groups)
        self.seek({source: max(header.next_offset, applied)})

    def _load_for_change(self, keys: Iterable[str]) -> Mapping[str, Node]:
        nodes = self.nodes.load(keys)
        self.nodes.changed |= nodes
        return nodes

    def _add_references(self, update: MappedBatch, mapped: MappedMessages) -> None:
        """Note the raw record of every row, so that a profile can be explained."""
        lane, pack, references = LANE_NUMBER[update.topic], REFERENCE.pack, self._references
        for group in mapped.groups:
            for row in group.rows:
                reference = pack(lane, update.partition, group.offset + row[OFFSET], row[INDEX], update.rules_offset)
                page = references.get(row[KEY])
                if page is None:
                    references[row[KEY]] = bytearray(reference)
                else:
                    page += reference

    def outgoing_records(self) -> list[ProducerRecord]:
        """Drain the outbox as records, with dead letters for profiles that exceed the identity limit."""
        letters = [
            letter
            for outbox in self._outboxes.values()
            if outbox.over_limit
            for letter in self._limit_reports.letters(outbox.over_limit, outbox.max_identities, self._now())
        ]
        updates = [
            ProducerRecord(
                UPDATES[lane].name,
                encode(NodeBatch(payload=payload, generation=self.generation)),
                partition=partition,
            )
            for lane, partition, messages in self.drain_outbox()
            for payload in encoded_batches(messages, MAX_OUTBOX_BYTES)
        ]
        return updates + letters

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def encode_changed(self, limit: int) -> None:
        """Encode some changed nodes ahead of the next flush; a node that changes again is encoded again."""
        changed = self.nodes.changed
        for _ in range(min(limit, len(changed))):
            key, node = changed.popitem()
            self.fan_in.inspect(node)
            self._encoded[key.encode()] = encode_node(node)

    def flush(self, facts: Mapping[str, bytes] = NO_CHANGES) -> None:
        """Write all that was applied, with its offsets, in one step. The outbox must be drained and delivered."""
        assert not self._outboxes, "deliver the messages to other partitions first"
        self._pages += 1
        page = b"\0" + self._pages.to_bytes(8)
        persons = {PERSON + person: keys for person, keys in self._persons.take_changes().items()}
        self.encode_changed(len(self.nodes.changed))
        changes = Changes(
            nodes=self._encoded,
            seen=self._dedup.take_changes(),
            refs={key.encode() + page: bytes(references) for key, references in self._references.items()},
            offsets=self._offsets,
            facts={
                PAGES: str(self._pages).encode(),
                **self._fence_facts(),
                **self.fan_in.take_changes(),
                **persons,
                **facts,
            },
        )
        self.store.write(changes)
        self.nodes.mark_stored(sum(len(node or b"") for node in changes.nodes.values()))
        self._references, self._encoded = {}, {}
        self._is_dirty = False

    def _fence_facts(self) -> Mapping[str, bytes]:
        return {FENCE + lane: str(offset).encode() for lane, offset in self._fences.items() if offset}

    def references(self, key: str) -> Sequence[tuple[int, int, int, int, int]]:
        """Return the first raw messages of a key, in their order: lane, partition, offset, index, rules_offset."""
        max_bytes = MAX_REFERENCES * REFERENCE.size
        stored = b"".join(page for _, page in self.store.iterate_refs(key.encode() + b"\0", max_bytes))
        references = REFERENCE.iter_unpack((stored + self._references.get(key, b""))[:max_bytes])
        return [(*position, max(rules_offset, self._rules_offset)) for *position, rules_offset in references]
