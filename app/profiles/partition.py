"""One partition of the profiles: applies what lanes and other nodes say, and hands over all of it to be kept at once.

Everything follows from the two update topics of the partition, so state and offsets are kept in one step, behind the
broker's acks of what other partitions were told. A crash repeats; a repeat changes nothing.
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
from app.profiles.identity_limit import IdentityLimitReports
from app.profiles.node_cache import NodeCache
from projections.profiles.identity_node import Node, Outbox
from projections.profiles.payload_limits import encoded_parts
from projections.profiles.update_codec import MalformedUpdateError, decode_mapped, decode_told
from projections.profiles.updates import (
    INDEX,
    KEY,
    OFFSET,
    FoldedMessages,
    Group,
    MappedMessages,
    NodeMessages,
    apply_folded,
    apply_mapped,
    apply_told,
    encode_node,
    in_slices,
    meets,
    note_counted,
    take_new,
    told_by,
)
from schemas.topics import LANES, UPDATES
from schemas.updates import EVERY_GENERATION, MappedBatch, NodeBatch, Update
from schemas.wire.codec import encode

MAX_OUTBOX_BYTES: Final = (
    4 * 1024 * 1024
)  # of JSON in a record, or of a piece of it: a thousand edges, or values of a cell
REFERENCE: Final = struct.Struct(">BHQQQ")  # lane, partition and offset of a raw record, index in it, rules_at
PAGES: Final = "pages"  # of references, numbered in the order they were written
RULES_AT: Final = "rules_at"  # behind the rules of what was made by a rebuild: its promotion
ALL_ROWS: Final = sys.maxsize
MAX_REFERENCES: Final = 10_001  # of one key: more than anybody reads for an answer
NO_CHANGES: Final[Mapping[str, bytes]] = MappingProxyType({})
LANE_NUMBER: Final = {topic.name: number for number, topic in enumerate(LANES.values())}


_log: Final = logging.getLogger(__name__)


class ProfilePartition:
    """The nodes of one partition, in one generation. `apply` as much as you like, then `keep`.

    `clock` tells when what is applied arrived, in seconds since 1970; `in_any_order`: that may go back.
    """

    def __init__(
        self,
        number: int,
        partitions: int,
        store: PartitionStore,
        *,
        generation: int,
        most_nodes: int,
        clock: Callable[[], float],
        in_any_order: bool = False,
    ) -> None:
        self.number = number
        self.store = store
        self.generation = generation
        self._partitions = partitions
        self._offsets = store.offsets()  # of the update topics by name, and of the raw topics by `topic/partition`
        self._pages = int(store.fact(PAGES) or 0)
        self._rules_at = int(store.fact(RULES_AT) or 0)
        self.nodes = NodeCache(store.get_nodes, most_nodes)
        self._seen = DedupWindow(store.get_seen, store.iterate_seen, clock, in_any_order=in_any_order)
        self._clock = clock
        self._overfull = IdentityLimitReports(f"profiles/{number}")
        self._references: dict[str, bytearray] = {}
        self._encoded: dict[bytes, bytes] = {}  # nodes as they will be stored, unless they change again
        self._outboxes: dict[str, Outbox] = {}
        self._moved = False  # there is something to keep, if only a position

    @property
    def changes(self) -> int:
        """How many nodes were changed since they were kept."""
        return len(self.nodes.changed) + len(self._encoded)

    @property
    def is_kept(self) -> bool:
        """Whether all that was applied is kept."""
        return not self._moved

    @property
    def has_news(self) -> bool:
        """Whether other partitions have to hear something."""
        return any(self._outboxes.values())

    def next_offset(self, lane: str) -> int:
        """Return the offset of the lane's update topic that comes next."""
        return self._offsets.get(UPDATES[lane].name, 0)

    def next_raw_offset(self, source: str) -> int:
        """Return the offset of a raw partition (`topic/partition`) that comes next."""
        return self._offsets.get(source, 0)

    def apply(self, lane: str, offset: int, update: Update | None, most_identities: int) -> int:
        """Apply one record of an update topic and return how many rows it had.

        One that was applied before, or is for another generation, has none; nor has a stranger's, None.
        """
        return sum(self.slices(lane, offset, update, most_identities, ALL_ROWS))

    def slices(self, lane: str, offset: int, update: Update | None, most_identities: int, rows: int) -> Iterator[int]:
        """Apply one record as `apply` does, so many rows at a time, and yield how many each slice had.

        Nothing may be kept before the last one: with that, the position moves.
        """
        if offset < self.next_offset(lane):
            return
        if update is not None and update.generation in {self.generation, EVERY_GENERATION}:
            try:
                yield from self._slices(update, self._outbox(lane, most_identities), rows)
            except MalformedUpdateError as error:
                _log.warning("%s/%d@%d is passed over: %s", UPDATES[lane].name, self.number, offset, error)
        self.seek({UPDATES[lane].name: offset + 1})

    def take(self, header: MappedBatch, mapped: MappedMessages, most_identities: int) -> int:
        """Apply what raw messages say, and return how many rows that was; only what wasn't taken before counts."""
        return sum(self._take(header, mapped, self._outbox("", most_identities), ALL_ROWS))

    def has_counted(self, counted: Sequence[tuple[str, int, int]]) -> bool:
        """Tell whether one of these messages was counted before: (batch, first index, how many)."""
        with self._seen.of({batch for batch, _, _ in counted}) as seen:
            return meets(counted, seen)

    def has_forgotten(self, keys: Iterable[str]) -> bool:
        """Tell whether anybody of these was forgotten, and nodes have to look at the time of each message."""
        return any(node.forgotten for node in self.nodes.load(keys).values())

    def take_folded(self, folded: FoldedMessages, most_identities: int) -> None:
        """Apply what raw messages say, folded before; none was taken or counted yet, or is about who was forgotten."""
        with self._seen.of({batch for batch, _, _ in folded.counted}) as seen:
            note_counted(folded.counted, seen)
        apply_folded(folded, self._touch(folded.spoken_to()), self._outbox("", most_identities))
        for key, page in folded.references.items():
            self._references.setdefault(key, bytearray()).extend(page)
        self._moved = True

    def hear(self, told: NodeMessages, most_identities: int) -> int:
        """Apply what other nodes tell, and return how much that was."""
        return self._hear(told, self._outbox("", most_identities))

    def seek(self, offsets: Mapping[str, int]) -> None:
        """Note what comes next of some inputs."""
        self._offsets |= offsets
        self._moved = True

    def told(self) -> list[tuple[str, int, NodeMessages]]:
        """Return what other partitions have to hear before anything is kept: by lane and partition."""
        outboxes, self._outboxes = self._outboxes, {}
        return [
            (lane, partition, told)
            for lane, outbox in outboxes.items()
            for partition, told in told_by(outbox, self._partitions).items()
        ]

    def _outbox(self, lane: str, most_identities: int) -> Outbox:
        return self._outboxes.setdefault(lane, Outbox(most_identities))

    def _slices(self, update: Update, outbox: Outbox, rows: int) -> Iterator[int]:
        if isinstance(update, NodeBatch):
            yield self._hear(decode_told(update.payload), outbox)
        elif update.next_offset > self.next_raw_offset(f"{update.topic}/{update.partition}"):
            mapped = decode_mapped(update.payload)
            yield 0  # that takes about as long as a slice
            yield from self._take(update, mapped, outbox, rows)
        # else a lane that was killed sends it again

    def _hear(self, told: NodeMessages, outbox: Outbox) -> int:
        self._moved = True
        apply_told(told, self._touch(told.spoken_to()), outbox)
        return len(told.joins) + len(told.links)

    def _take(self, header: MappedBatch, mapped: MappedMessages, outbox: Outbox, rows: int) -> Iterator[int]:
        source = f"{header.topic}/{header.partition}"
        taken = self.next_raw_offset(source)
        for group in mapped.groups:
            if header.first_offset < taken:
                group.rows = [row for row in group.rows if group.offset + row[OFFSET] >= taken]
            self._take_new(group)
        for part in in_slices(mapped, rows):
            apply_mapped(part, self._touch(part.spoken_to()), outbox)
            self._refer(header, part)
            yield sum(len(group.rows) for group in part.groups)
        self.seek({source: max(header.next_offset, taken)})

    def _take_new(self, group: Group) -> None:
        if group.counted:
            with self._seen.of({batch for batch, _, _ in group.counted}) as seen:
                take_new(group, seen)

    def _touch(self, keys: Iterable[str]) -> Mapping[str, Node]:
        found = self.nodes.load(keys)
        self.nodes.changed |= found
        return found

    def _refer(self, update: MappedBatch, mapped: MappedMessages) -> None:
        """Note where the raw messages of every row are, so that a profile can be explained."""
        lane, pack, references = LANE_NUMBER[update.topic], REFERENCE.pack, self._references
        for group in mapped.groups:
            for row in group.rows:
                reference = pack(lane, update.partition, group.offset + row[OFFSET], row[INDEX], update.rules_at)
                known = references.get(row[KEY])
                if known is None:
                    references[row[KEY]] = bytearray(reference)
                else:
                    known += reference

    def to_tell(self) -> list[ProducerRecord]:
        """Return what `told` does, as records, with dead letters of what is too much to be kept."""
        letters = [
            letter
            for each in self._outboxes.values()
            if each.overfull
            for letter in self._overfull.letters(each.overfull, each.most_identities, self._now())
        ]
        told = [
            ProducerRecord(
                UPDATES[lane].name,
                encode(NodeBatch(payload=payload, generation=self.generation)),
                partition=partition,
            )
            for lane, partition, told in self.told()
            for payload in encoded_parts(told, MAX_OUTBOX_BYTES)
        ]
        return told + letters

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def encode_some(self, most: int) -> None:
        """Do some of the work of the next `keep`, for so many nodes; what changes again is done again."""
        changed = self.nodes.changed
        for _ in range(min(most, len(changed))):
            key, node = changed.popitem()
            self._encoded[key.encode()] = encode_node(node)

    def keep(self, facts: Mapping[str, bytes] = NO_CHANGES) -> None:
        """Write all that was applied, with the position behind it, in one step. What was to tell has been told."""
        assert not self._outboxes, "others have to be told first"
        self._pages += 1
        page = b"\0" + self._pages.to_bytes(8)
        self.encode_some(len(self.nodes.changed))
        changes = Changes(
            nodes=self._encoded,
            seen=self._seen.taken(),
            refs={key.encode() + page: bytes(found) for key, found in self._references.items()},
            offsets=self._offsets,
            facts={PAGES: str(self._pages).encode(), **facts},
        )
        self.store.write(changes)
        self.nodes.stored(sum(len(each or b"") for each in changes.nodes.values()))
        self._references, self._encoded = {}, {}
        self._moved = False

    def references(self, key: str) -> Sequence[tuple[int, int, int, int, int]]:
        """Return where the raw messages behind a key are, as `REFERENCE` lays it out; the first, in their order."""
        most = MAX_REFERENCES * REFERENCE.size
        kept = b"".join(page for _, page in self.store.iterate_refs(key.encode() + b"\0", most))
        found = REFERENCE.iter_unpack((kept + self._references.get(key, b""))[:most])
        return [(*where, max(rules_at, self._rules_at)) for *where, rules_at in found]
