"""The stores that a rebuild fills: every partition of the profiles in one process, and the messages between them.

Each partition stores what it has sent to others since its last flush. After a crash between the flushes of two
partitions the messages are delivered again, and a repeat changes nothing.
"""

import logging
import shutil
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Final

import orjson
from aiokafka import TopicPartition

from app.lanes.chunk import MappingChunk
from app.profile_store.partition_store import CorruptStore, PartitionStore
from app.profiles.partition import RULES_OFFSET, Outgoing, ProfilePartition
from app.rebuild.diff import identity_hash
from app.rebuild.tasks import ForgottenPerson
from connectors.kit.threads import in_thread
from projections.definitions.rules import key_hash
from projections.profiles.identity_node import Node
from projections.profiles.partitioning import partition_of_key
from projections.profiles.profile_view import shown_key
from projections.profiles.update_codec import encode_messages
from projections.profiles.updates import FoldedMessages, NodeMessages
from schemas.instants import micros
from schemas.updates import MappedBatch

FOLDER: Final = "rebuild"
SENT: Final = "sent"
FORGOTTEN_TO: Final = "forgotten_to"  # the offset in definitions.events up to which people were forgotten here
MAX_CACHED_NODES: Final = 100_000  # in memory, decoded, of all partitions together
MAX_CHANGED_KEYS: Final = 1_000_000  # identities: 100 MB
MAX_LINKS: Final = 1_000  # applied at a time
MAX_OUTBOX_BYTES: Final = 8 * 1024 * 1024  # sent between partitions since the last flush
PAGE: Final = 10_000  # nodes read at a time

_log = logging.getLogger(__name__)


class RebuildStores:
    """All partitions of one rebuild, in a folder. Call `apply` or `apply_folded` any number of times, then `flush`."""

    def __init__(self, folder: Path, partitions: int, max_identities: int, start_offset: int) -> None:
        self._max_identities = max_identities
        self._arrived = 0.0  # of the current message, in seconds since 1970: the dedup window follows it
        stores = _opened(folder, partitions)
        self._partitions = [
            ProfilePartition(
                number,
                partitions,
                store,
                generation=0,
                max_nodes=MAX_CACHED_NODES // partitions,
                clock=lambda: self._arrived,
                in_any_order=True,  # each raw partition is at another time
            )
            for number, store in enumerate(stores)
        ]
        self.touched: set[int] | None = None  # hashes of the identities in messages, while they are recorded
        self._sent: list[list[tuple[int, bytes]]] = [[] for _ in stores]  # by sender, since its flush: target, payload
        self._sent_bytes = 0
        self._forgotten_to = min(int(store.fact(FORGOTTEN_TO) or start_offset) for store in stores)
        try:
            self._send_again()
        except BaseException:
            self.close()
            raise

    @property
    def partition_stores(self) -> Sequence[PartitionStore]:
        """The stores, by partition."""
        return [partition.store for partition in self._partitions]

    def nodes(self, keys: Iterable[str]) -> Mapping[str, Node]:
        """Return the nodes of ranked keys; an empty one for an unknown key."""
        return {key: self._node(key) for key in keys}

    @property
    def changes(self) -> int:
        """The number of nodes that were changed since the last flush."""
        return sum(partition.changes for partition in self._partitions)

    def next_offset(self, topic: str, partition: int) -> int:
        """Return the raw offset up to which all partitions have read."""
        source = f"{topic}/{partition}"
        return min(target.next_raw_offset(source) for target in self._partitions)

    def apply(self, chunk: MappingChunk, header: MappedBatch, arrived: float) -> None:
        """Apply mapped raw messages, cut as lanes would cut them, and all messages between nodes that follow."""
        self._arrived = arrived
        for part in chunk.fitting():
            self._apply(part, replace(header, first_offset=part.records[0].offset, next_offset=part.next_offset))
        self._deliver_all()

    def _apply(self, chunk: MappingChunk, header: MappedBatch) -> None:
        source = f"{header.topic}/{header.partition}"
        for partition in self._partitions:
            mapped = chunk.mapped.get(partition.number)
            if mapped is not None:
                partition.apply_mapped(header, mapped, self._max_identities)
                self._note_touched(mapped.target_keys())
            elif header.next_offset > partition.next_raw_offset(source):
                partition.seek({source: header.next_offset})

    def apply_folded(
        self, folded: Mapping[int, FoldedMessages], source: str, first: int, end: int, arrived: float
    ) -> bool:
        """Apply the raw records from `first` up to `end`, folded by partition, and all messages that follow.

        False: some of it was applied or counted before, or is about a person who was forgotten here. Then nothing is
        applied, and the records have to be applied one by one.
        """
        self._arrived = arrived
        if any(partition.next_raw_offset(source) > first for partition in self._partitions):
            return False
        targets = [(self._partitions[number], messages) for number, messages in folded.items()]
        if any(
            partition.has_counted(messages.counted) or partition.has_forgotten(messages.target_keys())
            for partition, messages in targets
        ):
            return False
        for partition, messages in targets:  # first, as a flush may come in between: a repeated link changes nothing
            for begin in range(0, len(messages.links), MAX_LINKS):
                links = FoldedMessages(links=messages.links[begin : begin + MAX_LINKS])
                partition.apply_folded(links, self._max_identities)
                self._deliver_all()
        for partition, messages in targets:
            self._note_touched(messages.target_keys())
            partition.apply_folded(replace(messages, links=[]), self._max_identities)
        for partition in self._partitions:
            partition.seek({source: end})
        self._deliver_all()
        return True

    def _note_touched(self, keys: Iterable[str]) -> None:
        if self.touched is not None and len(self.touched) < MAX_CHANGED_KEYS:
            self.touched.update(identity_hash(shown_key(key)) for key in keys)

    def flush(self) -> None:
        """Write all that was applied, and the messages that are still to be delivered; then deliver them."""
        undelivered = [partition.drain_outbox() for partition in self._partitions]
        for partition, outgoing in zip(self._partitions, undelivered, strict=True):
            stored = len(self._sent[partition.number])
            self._note_sent(partition, outgoing)
            sent = [[target, orjson.Fragment(payload)] for target, payload in self._sent[partition.number]]
            partition.flush({SENT: orjson.dumps(sent), FORGOTTEN_TO: str(self._forgotten_to).encode()})
            del self._sent[partition.number][:stored]
        self._sent_bytes = sum(len(payload) for sent in self._sent for _, payload in sent)
        for outgoing in undelivered:
            self._deliver(outgoing)

    async def forget(self, people: Iterable[ForgottenPerson]) -> None:
        """Forget people, of whose keys only hashes are known, so every stored key is compared.

        By the rules of this rebuild a person may have more identities than those. Folded messages cannot be separated
        again, so the whole profile is removed, as it is in the live generation.
        """
        new = [person for person in people if person.offset >= self._forgotten_to]
        if not new:
            return
        self.flush()
        keys = await in_thread(self._keys_with, frozenset[str]().union(*(person.key_hashes for person in new)))
        for person in new:
            person_keys = self._with_profiles(keys[name] for name in person.key_hashes if name in keys)
            self._forget(person_keys, micros(person.at))
        self._forgotten_to = 1 + max(person.offset for person in new)
        self._deliver_all()
        self.flush()

    def _forget(self, keys: Sequence[str], at: int) -> None:
        outgoing: Outgoing = []
        for number in range(len(self._partitions)):
            local = [key for key in keys if partition_of_key(key, len(self._partitions)) == number]
            outgoing.append(("", number, NodeMessages(forget=[(local, at, keys)])))
        self._note_sent(self._partitions[0], outgoing)  # flushed first: afterwards the keys can't be found any more
        self._deliver(outgoing)

    def _with_profiles(self, keys: Iterable[str]) -> Sequence[str]:
        """Return keys with all identities of their profiles."""
        identities = set[str]()
        for key in keys:
            root = key
            while parent := self._node(root).parent:
                root = parent
            identities |= {key, *self._node(root).identities()}
        return sorted(identities)

    def _node(self, key: str) -> Node:
        return self._partitions[partition_of_key(key, len(self._partitions))].nodes.peek(key) or Node(key)

    def finish(self, rules_offset: int, updates: Mapping[TopicPartition, int]) -> None:
        """Turn the stores into those of a generation, with the offset of its rules and the first offsets of updates."""
        self.flush()  # before any of them says that nothing is left to deliver
        for partition in self._partitions:
            offsets = {
                source.topic: offset for source, offset in updates.items() if source.partition == partition.number
            }
            partition.seek(offsets)
            partition.flush({SENT: b"[]", RULES_OFFSET: str(rules_offset).encode()})

    def is_finished(self, rules_offset: int) -> bool:
        """Return whether the stores were turned into those of a generation."""
        return all(int(store.fact(RULES_OFFSET) or 0) == rules_offset for store in self.partition_stores)

    def close(self) -> None:
        """Close the stores; what was not flushed is read again."""
        for store in self.partition_stores:
            store.close()

    def _keys_with(self, hashes: Container[str]) -> Mapping[str, str]:
        """Return the keys with these hashes, by hash. It takes seconds for a million keys."""
        keys_by_hash = dict[str, str]()
        for store in self.partition_stores:
            start = b""
            while page := store.iterate_nodes(start, PAGE):
                keys = [key.decode() for key, _ in page]
                keys_by_hash |= {name: key for key in keys if (name := key_hash(shown_key(key))) in hashes}
                start = page[-1][0] + b"\0"
        return keys_by_hash

    def _send_again(self) -> None:
        """Deliver again what was sent before the last flush: some targets may not have been flushed since."""
        for partition in self._partitions:
            sent = orjson.loads(partition.store.fact(SENT) or b"[]")
            outgoing = [("", target, NodeMessages(*content)) for target, content in sent]
            self._note_sent(partition, outgoing)
            self._deliver(outgoing)
        self._deliver_all()

    def _deliver_all(self) -> None:
        """Deliver messages between partitions until none is left."""
        while any(partition.has_outgoing for partition in self._partitions):
            for partition in self._partitions:
                outgoing = partition.drain_outbox()
                self._note_sent(partition, outgoing)
                self._deliver(outgoing)
                if self._sent_bytes >= MAX_OUTBOX_BYTES:
                    self.flush()

    def _note_sent(self, sender: ProfilePartition, outgoing: Outgoing) -> None:
        for _, target, messages in outgoing:
            payload = encode_messages(messages)
            self._sent[sender.number].append((target, payload))
            self._sent_bytes += len(payload)

    def _deliver(self, outgoing: Outgoing) -> None:
        for _, target, messages in outgoing:
            self._partitions[target].apply_messages(messages, self._max_identities)


def _opened(folder: Path, partitions: int) -> list[PartitionStore]:
    """Open the stores. When one is damaged, all start from scratch, as messages between them are sent only once."""
    with ExitStack() as opened:
        try:
            stores = [
                opened.enter_context(closing(PartitionStore.open(folder / str(number)))) for number in range(partitions)
            ]
        except CorruptStore as error:
            _log.error("%s The rebuild starts from scratch.", error)
        else:
            opened.pop_all()
            return stores
    shutil.rmtree(folder)
    return [PartitionStore.open(folder / str(number)) for number in range(partitions)]


def rebuild_folder(data_dir: Path, name: str) -> Path:
    """Return the folder of a rebuild's stores."""
    return data_dir / FOLDER / key_hash(name)[:16]


def remove_others(data_dir: Path, names: Iterable[str]) -> None:
    """Remove the stores of all rebuilds except the named ones."""
    kept = {rebuild_folder(data_dir, name) for name in names}
    for folder in (data_dir / FOLDER).glob("*"):
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)
