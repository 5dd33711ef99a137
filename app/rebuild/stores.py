"""The stores that a rebuild fills: every partition of the profiles in one process, with what they tell each other.

Each partition keeps what it told others since it kept before; so a kill between two of them loses nothing: it is told
again, and to hear a thing twice changes nothing.
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
from app.profile_store.restore import in_thread
from app.profiles.partition import RULES_AT, ProfilePartition
from app.rebuild.diff import identity_hash
from app.rebuild.tasks import Forgetting
from projections.definitions.rules import key_hash
from projections.profiles.identity_node import Node
from projections.profiles.partitioning import partition_of_key
from projections.profiles.profile_view import shown_key
from projections.profiles.update_codec import encode_told
from projections.profiles.updates import FoldedMessages, NodeMessages
from schemas.instants import micros
from schemas.updates import MappedBatch

FOLDER: Final = "rebuild"
TOLD: Final = "told"
FORGOTTEN_TO: Final = "forgotten_to"  # the offset in definitions.events up to which people were forgotten here
MAX_CACHED_NODES: Final = 100_000  # in memory, decoded, of all partitions together
MAX_CHANGED_KEYS: Final = 1_000_000  # identities: 100 MB
MAX_LINKS: Final = 1_000  # that are followed at a time
MAX_OUTBOX_BYTES: Final = 8 * 1024 * 1024  # bytes that partitions told each other since all was kept
PAGE: Final = 10_000  # nodes that are read at a time

News = Sequence[tuple[str, int, NodeMessages]]  # what a partition tells: by lane, and to which

_log = logging.getLogger(__name__)


class RebuildStores:
    """All partitions of one rebuild, in a folder. `take` what raw messages say, and `keep` it now and then."""

    def __init__(self, folder: Path, partitions: int, most_identities: int, began: int) -> None:
        self._most_identities = most_identities
        self._arrived = 0.0  # of the message at hand, in seconds since 1970: repeats are recognised within days of it
        stores = _opened(folder, partitions)
        self._partitions = [
            ProfilePartition(
                number,
                partitions,
                store,
                generation=0,
                most_nodes=MAX_CACHED_NODES // partitions,
                clock=lambda: self._arrived,
                in_any_order=True,  # each raw partition has another time
            )
            for number, store in enumerate(stores)
        ]
        self.touched: set[int] | None = None  # hashes of the identities that messages name, where that is noted
        self._said: list[list[tuple[int, bytes]]] = [[] for _ in stores]  # since it was kept, by who said it: to whom
        self._said_bytes = 0
        self._forgotten_to = min(int(each.fact(FORGOTTEN_TO) or began) for each in stores)
        try:
            self._tell_again()
        except BaseException:
            self.close()
            raise

    @property
    def stores(self) -> Sequence[PartitionStore]:
        """The stores, by partition."""
        return [each.store for each in self._partitions]

    def nodes(self, keys: Iterable[str]) -> Mapping[str, Node]:
        """Return the nodes of ranked keys; one that isn't there says nothing."""
        return {each: self._node(each) for each in keys}

    @property
    def changes(self) -> int:
        """How many nodes were changed since all was kept."""
        return sum(each.changes for each in self._partitions)

    def next_offset(self, topic: str, partition: int) -> int:
        """Return the raw offset that all partitions have read up to."""
        return min(each.next_raw_offset(f"{topic}/{partition}") for each in self._partitions)

    def take(self, chunk: MappingChunk, header: MappedBatch, arrived: float) -> None:
        """Apply what raw messages say, as far as lanes can tell it, and all that follows from it."""
        self._arrived = arrived
        for part in chunk.fitting():
            self._take(part, replace(header, first_offset=part.records[0].offset, next_offset=part.next_offset))
        self._pass_on()

    def _take(self, chunk: MappingChunk, header: MappedBatch) -> None:
        source = f"{header.topic}/{header.partition}"
        for each in self._partitions:
            mapped = chunk.mapped.get(each.number)
            if mapped is not None:
                each.take(header, mapped, self._most_identities)
                self._note_touched(mapped.spoken_to())
            elif header.next_offset > each.next_raw_offset(source):
                each.seek({source: header.next_offset})

    def take_folded(
        self, folded: Mapping[int, FoldedMessages], source: str, first: int, behind: int, arrived: float
    ) -> bool:
        """Apply what the raw records `first` to `behind` say, folded by partition, and all that follows from it.

        False: some of it was taken or counted before, or is about somebody who was forgotten here, and the records have
        to be taken one by one. Nothing is applied.
        """
        self._arrived = arrived
        if any(each.next_raw_offset(source) > first for each in self._partitions):
            return False
        told = [(self._partitions[number], each) for number, each in folded.items()]
        if any(there.has_counted(each.counted) or there.has_forgotten(each.spoken_to()) for there, each in told):
            return False
        for there, each in told:  # first: all may be kept in between, as to hear of a link twice changes nothing
            for begin in range(0, len(each.links), MAX_LINKS):
                there.take_folded(FoldedMessages(links=each.links[begin : begin + MAX_LINKS]), self._most_identities)
                self._pass_on()
        for there, each in told:
            self._note_touched(each.spoken_to())
            there.take_folded(replace(each, links=[]), self._most_identities)
        for partition in self._partitions:
            partition.seek({source: behind})
        self._pass_on()
        return True

    def _note_touched(self, keys: Iterable[str]) -> None:
        if self.touched is not None and len(self.touched) < MAX_CHANGED_KEYS:
            self.touched.update(identity_hash(shown_key(each)) for each in keys)

    def keep(self) -> None:
        """Write all that was taken, and what is still to be heard; that is heard now."""
        unheard = [each.told() for each in self._partitions]
        for each, news in zip(self._partitions, unheard, strict=True):
            kept = len(self._said[each.number])
            self._note_said(each, news)
            told = [[partition, orjson.Fragment(words)] for partition, words in self._said[each.number]]
            each.keep({TOLD: orjson.dumps(told), FORGOTTEN_TO: str(self._forgotten_to).encode()})
            del self._said[each.number][:kept]
        self._said_bytes = sum(len(words) for said in self._said for _, words in said)
        for news in unheard:
            self._hear(news)

    async def forget(self, people: Iterable[Forgetting]) -> None:
        """Forget people, of whom only the hashes of their keys are known, so that every key has to be looked at.

        By the rules of this rebuild a person may have more identities than those. What the messages of all of them said
        can't be told apart any more, so all of the profile goes, as it does where it is live.
        """
        new = [each for each in people if each.offset >= self._forgotten_to]
        if not new:
            return
        self.keep()
        moments = {each: one.at for one in new for each in one.key_hashes}
        keys = await in_thread(self._keys_with, moments.keys())
        for one in new:
            together = self._together(keys[each] for each in one.key_hashes if each in keys)
            moment = micros(one.at)
            news = list[tuple[str, int, NodeMessages]]()
            for number in range(len(self._partitions)):
                mine = [key for key in together if partition_of_key(key, len(self._partitions)) == number]
                news.append(("", number, NodeMessages(forget=[(key, moment, together) for key in mine])))
            self._note_said(self._partitions[0], news)  # which is kept first: who they are isn't known after that
            self._hear(news)
        self._forgotten_to = 1 + max(each.offset for each in new)
        self._pass_on()
        self.keep()

    def _together(self, keys: Iterable[str]) -> Sequence[str]:
        """Return keys with all identities of the profiles that they belong to."""
        found = set[str]()
        for key in keys:
            root = key
            while parent := self._node(root).parent:
                root = parent
            found |= {key, *self._node(root).identities()}
        return sorted(found)

    def _node(self, key: str) -> Node:
        return self._partitions[partition_of_key(key, len(self._partitions))].nodes.peek(key) or Node(key)

    def finish(self, rules_at: int, updates: Mapping[TopicPartition, int]) -> None:
        """Make the stores those of a generation: its rules, and where it begins to read what lanes and nodes say."""
        self.keep()  # before any of them says that nothing is left to be told
        for each in self._partitions:
            mine = {where.topic: offset for where, offset in updates.items() if where.partition == each.number}
            each.seek(mine)
            each.keep({TOLD: b"[]", RULES_AT: str(rules_at).encode()})

    def is_finished(self, rules_at: int) -> bool:
        """Tell whether the stores are those of a generation, and nothing was read since."""
        return all(int(each.fact(RULES_AT) or 0) == rules_at for each in self.stores)

    def close(self) -> None:
        """Close the stores; what wasn't kept is read again."""
        for each in self._partitions:
            each.store.close()

    def _keys_with(self, hashes: Container[str]) -> Mapping[str, str]:
        """Return the keys with these hashes, by hash. It takes seconds for a million."""
        found = dict[str, str]()
        for each in self.stores:
            start = b""
            while page := each.iterate_nodes(start, PAGE):
                keys = [key.decode() for key, _ in page]
                found |= {name: key for key in keys if (name := key_hash(shown_key(key))) in hashes}
                start = page[-1][0] + b"\0"
        return found

    def _tell_again(self) -> None:
        """Have partitions hear what they were told when not all were kept; it is said again until all are."""
        for each in self._partitions:
            told = orjson.loads(each.store.fact(TOLD) or b"[]")
            news = [("", partition, NodeMessages(*words)) for partition, words in told]
            self._note_said(each, news)
            self._hear(news)
        self._pass_on()

    def _pass_on(self) -> None:
        """Have partitions hear what others tell them, until nobody has anything more to tell."""
        while any(each.has_news for each in self._partitions):
            for each in self._partitions:
                news = each.told()
                self._note_said(each, news)
                self._hear(news)
                if self._said_bytes >= MAX_OUTBOX_BYTES:
                    self.keep()

    def _note_said(self, who: ProfilePartition, news: News) -> None:
        for _, partition, told in news:
            words = encode_told(told)
            self._said[who.number].append((partition, words))
            self._said_bytes += len(words)

    def _hear(self, news: News) -> None:
        for _, partition, told in news:
            self._partitions[partition].hear(told, self._most_identities)


def _opened(folder: Path, partitions: int) -> list[PartitionStore]:
    """Open the stores. When one is damaged, all begin anew: what it was told by the others is told only once."""
    with ExitStack() as opened:
        try:
            stores = [
                opened.enter_context(closing(PartitionStore.open(folder / str(number)))) for number in range(partitions)
            ]
        except CorruptStore as error:
            _log.error("%s What was built is built anew.", error)
        else:
            opened.pop_all()
            return stores
    shutil.rmtree(folder)
    return [PartitionStore.open(folder / str(number)) for number in range(partitions)]


def folder_of(data_dir: Path, name: str) -> Path:
    """Return where the stores of a rebuild lie."""
    return data_dir / FOLDER / key_hash(name)[:16]


def remove_others(data_dir: Path, names: Iterable[str]) -> None:
    """Remove the stores of all rebuilds but those."""
    kept = {folder_of(data_dir, each) for each in names}
    for each in (data_dir / FOLDER).glob("*"):
        if each not in kept:
            shutil.rmtree(each, ignore_errors=True)
