"""Partitions on real stores, with the update topics as lists, through crashes and repeats."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.profile_store.partition_store import PartitionStore
from app.profiles.partition import ALL_ROWS, PERSON, ProfilePartition
from app.profiles.update_consumer import decode_update
from projections.profiles.partitioning import partition_of_key
from projections.profiles.update_codec import encode_mapped
from projections.profiles.updates import Group, MappedMessages, NodeMessages
from schemas.messages import MessageRejected
from schemas.topics import UPDATES
from schemas.updates import MappedBatch, NodeBatch, UpdateFence
from schemas.wire.codec import decode, encode
from tests.canonical_nodes import canonical
from tests.laws.profile_world import COLUMNS, Message, expected, shown, some_messages

PARTITIONS = 3
MOST = 1_000
NOTHING_MAPPED = (
    b"", b"{", b"7", b"[]", b"[[],7]", b"[[7],[]]", b"[[],[[]]]", b"[[],[[1,2,3,4,5]]]",
    b'[[["s",["a"],0,["b"],[["k",1,0,0,0]],[]]],[]]', b'[[["s",[],0,["b"],[[7,1,0,0,0]],[]]],[]]',
    b'[[["s",[],0,["b"],[],7]],[]]', b'[[["s",[],0,["b"],[],[["b",0]]]],[]]',
)  # fmt: skip
NOTHING_TOLD = (
    b"\xff", b"7", b"{}[", b'{"joins":[]}', b"[7]", b'["joins"]', b"[[[1]]]", b'[[],[["k",1]]]', b"[[],[],[],[],[]]",
    b'[[["k",5,{},{}]],[],[],[]]', b'[[["k",["a",1],[],{}]],[],[],[]]', b'[[{"abcd":1}],[],[],[]]',
    b'[[],["abc"],[],[]]', b'[[],[["k","a",["b","c"]]],[],[]]', b'[[],[],[[["k"],"soon",[]]],[]]',
    b'[[],[],[],[["k",7,0]]]',
)  # fmt: skip
NOWHERE: Sequence[dict[str, Any]] = (
    {"topic": "jobs.events"}, {"partition": -1}, {"partition": 2**16}, {"rules_offset": -1},
    {"first_offset": 5}, {"first_offset": -1, "next_offset": 2**40},
)  # fmt: skip


@dataclass
class Record:
    topic: str
    partition: int
    offset: int
    value: bytes | None


class Plane:
    """Three partitions, the logs that they read, and a lane that maps one raw partition."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.chance = chance
        self.logs: dict[tuple[str, int], list[bytes | None]] = defaultdict(list)  # lane and partition
        self.open: dict[int, ProfilePartition] = {number: self._opened(number) for number in range(PARTITIONS)}

    def _opened(self, number: int) -> ProfilePartition:
        store = PartitionStore.open(self.folder / str(number))
        return ProfilePartition(number, PARTITIONS, store, generation=0, max_nodes=6, clock=lambda: 1_000_000.0)

    def lane(self, messages: list[Message], start: int, end: int, lane: str = "realtime") -> None:
        """Say what the raw records from `start` up to `end` say; each message is one record."""
        packets: dict[int, MappedMessages] = defaultdict(MappedMessages)
        for offset, message in enumerate(messages[start:end]):
            best, *others = message.keys
            group = Group(
                "orders", COLUMNS, start + offset, [message.batch], counted=[(message.batch, message.index, 1)]
            )
            group.rows.append([best, message.at, 0, message.index, 0, *message.values])
            packets[partition_of_key(best, PARTITIONS)].groups.append(group)
            for other in others:
                link = (other, best, message.at, message.batch, message.index)
                packets[partition_of_key(other, PARTITIONS)].links.append(link)
        for partition, mapped in packets.items():
            word = MappedBatch(
                topic=f"messages.{lane}", partition=0, first_offset=start, next_offset=end, rules_offset=1,
                payload=encode_mapped(mapped),
            )  # fmt: skip
            self.logs[lane, partition].append(encode(word))

    def work(self, number: int) -> bool:
        """Have a partition read some of what is new; False when there is nothing."""
        partition = self.open[number]
        for lane in UPDATES:
            offset = partition.next_offset(lane)
            for value in self.logs[lane, number][offset : offset + self.chance.randrange(1, 4)]:
                record = Record(UPDATES[lane].name, number, partition.next_offset(lane), value)
                for _ in partition.apply_in_slices(
                    lane, record.offset, decode_update(record), MOST, self.chance.choice((1, 3, ALL_ROWS))
                ):
                    pass
                partition.encode_changed(self.chance.choice((0, 2)))
        if partition.is_clean:
            return False
        if self.chance.random() < 0.6:
            records = partition.outgoing_records()
            for record in records:
                assert record.partition is not None
                assert record.value is not None
                self.logs[record.topic.removeprefix("updates."), record.partition].append(record.value)
            if self.chance.random() < 0.8:  # otherwise it is killed between send and flush
                partition.flush()
                return True
        if self.chance.random() < 0.5:
            self.kill(number)
        return True

    def kill(self, number: int) -> None:
        self.open[number].store.close()
        self.open[number] = self._opened(number)

    def settle(self) -> None:
        quiet: set[int] = set()
        while len(quiet) < PARTITIONS:
            number = self.chance.randrange(PARTITIONS)
            quiet = set() if self.work(number) else quiet | {number}

    def close(self) -> None:
        for item in self.open.values():
            item.store.close()

    def roots(self) -> dict[str, bytes]:
        found = {}
        for partition in self.open.values():
            for key, _ in partition.store.iterate_nodes(b"", 10_000):
                node = partition.nodes.peek(key.decode())
                assert node
                if not node.parent and (node.registers or node.edges):
                    found[node.key] = canonical(node)
        return found


@contextmanager
def plane(folder: Path, chance: random.Random) -> Iterator[Plane]:
    made = Plane(folder, chance)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("seed", range(12))
def test_partitions_killed_at_any_time_hold_the_profiles_of_the_oracle(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    messages = some_messages(chance, 60, 15)
    realtime, backfill = messages[:30], messages[30:] + messages[:10]  # some come in both lanes
    with plane(tmp_path, chance) as made:
        for lane, those in (("realtime", realtime), ("backfill", backfill)):
            sent = 0
            while sent < len(those):
                start = max(0, sent - chance.choice((0, 0, 3)))  # a restarted lane sends some of it again
                sent = min(len(those), sent + chance.randrange(1, 8))
                made.lane(those, start, sent, lane)
                made.work(chance.randrange(PARTITIONS))
        made.settle()
        wanted = expected(messages)
        assert made.roots().keys() == wanted.keys(), f"seed {seed}"
        for partition in made.open.values():
            for key in wanted:
                node = partition.nodes.peek(key) if partition_of_key(key, PARTITIONS) == partition.number else None
                assert node is None or shown(node) == wanted[key], f"seed {seed}"


def test_invalid_records_among_updates_are_skipped_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    letter = encode(
        MessageRejected(
            rejected_at=datetime(2026, 1, 1, tzinfo=UTC),
            code="no_object",
            params={"found": "7"},
            source="7.json",
            position="line 1",
        )
    )
    strange = [None, b"", b'{"email":"a@x"}', b"\0\xff\xff\xff\xff", b"\0\0\0\0\1" + b"\xff" * 40, letter]
    strange += [encode(replace(mapped_header(), next_offset=100, payload=item)) for item in NOTHING_MAPPED]
    strange += [encode(NodeBatch(payload=item)) for item in NOTHING_TOLD]
    strange += [encode(replace(mapped_header(), payload=b"[[],[]]", **item)) for item in NOWHERE]
    with plane(tmp_path, random.Random(0)) as made:
        messages = some_messages(made.chance, 30, 15)
        for place in (0, 15):
            for lane in UPDATES:
                for number in range(PARTITIONS):
                    made.logs[lane, number] += strange
            made.lane(messages, place, place + 15)
        made.settle()
        assert made.roots().keys() == expected(messages).keys()
    assert (
        "skipping invalid record updates.backfill-2@1: a record of 0 bytes is too short for a schema id" in caplog.text
    )
    assert "MessageRejected is not an update" in caplog.text
    assert "skipping invalid record updates.backfill-2@7: unexpected end of data" in caplog.text


def test_after_a_fence_batches_that_exclude_fewer_persons_are_skipped(tmp_path: Path) -> None:
    with plane(tmp_path, random.Random(0)) as made:
        made.open[0].apply("realtime", 0, UpdateFence(forgettings_offset=5), MOST)
        made.open[0].flush()
        made.kill(0)
        batch = replace(mapped_header(), next_offset=10, payload=b"[[],[]]")
        place = f"{batch.topic}/{batch.partition}"
        made.open[0].apply("realtime", 1, UpdateFence(forgettings_offset=3), MOST)
        made.open[0].apply("realtime", 2, replace(batch, forgettings_offset=4), MOST)
        assert (made.open[0].next_raw_offset(place), made.open[0].next_offset("realtime")) == (0, 3)
        made.open[0].apply("realtime", 3, replace(batch, forgettings_offset=5), MOST)
        assert made.open[0].next_raw_offset(place) == 10
        made.open[0].apply("backfill", 0, replace(batch, next_offset=20), MOST)
        assert made.open[0].next_raw_offset(place) == 20, "another topic has another fence"


@pytest.mark.parametrize("count", [100, 200])
def test_the_keys_of_a_forgotten_person_are_stored_once(tmp_path: Path, count: int) -> None:
    keys = [f"05:cookie:{number:06}" for number in range(count)]
    joins = [(keys[0], (sender, 0), {"latest:city": [5, "b", 0, "Graz"]}, {}) for sender in (keys[1], "05:cookie:eve")]
    path = tmp_path / "store"
    with closing(PartitionStore.open(path)) as store:
        partition = ProfilePartition(0, 1, store, generation=0, max_nodes=6, clock=lambda: 1_000_000.0)
        for targets in (keys[:50], keys[50:]):
            partition.apply_messages(NodeMessages(forget=[(targets, 7, keys)]), MOST)
        partition.drain_outbox()
        partition.flush()
        assert len(joined(store, b"", "nodes")) <= 60 * count
        assert len(joined(store, PERSON.encode(), "meta")) <= 30 * count
    with closing(PartitionStore.open(path)) as store:  # as after a crash: what was under way arrives late
        partition = ProfilePartition(0, 1, store, generation=0, max_nodes=6, clock=lambda: 1_000_000.0)
        partition.apply_messages(NodeMessages(joins=joins[:1]), MOST)
        assert partition.nodes.load(keys[:1])[keys[0]].registers == {}, "the sender is the same person"
        partition.apply_messages(NodeMessages(joins=joins[1:]), MOST)
        assert partition.nodes.load(keys[:1])[keys[0]].registers == joins[1][2]


def joined(store: PartitionStore, prefix: bytes, family: str) -> bytes:
    """Return the values of a column family whose keys contain a prefix."""
    return b"".join(value for key, value in store._iterate(family, b"", 10_000) if prefix in key)


def test_references_of_a_key_are_kept_in_order_without_repeats(tmp_path: Path) -> None:
    chance = random.Random(0)
    messages = [Message("b", n, n, ("00:email:a",), (None,) * 5 + (1, None)) for n in range(5)]
    with plane(tmp_path, chance) as made:
        number = partition_of_key("00:email:a", PARTITIONS)
        partition = made.open[number]
        made.lane(messages, 0, 3)
        partition.apply("realtime", 0, decode(made.logs["realtime", number][0]), MOST)  # type: ignore[arg-type]  # decode returns any record; the test knows which
        partition.outgoing_records()
        partition.flush()
        made.lane(messages, 1, 5)
        partition.apply("realtime", 1, decode(made.logs["realtime", number][1]), MOST)  # type: ignore[arg-type]  # decode returns any record; the test knows which
        found = [(offset, index) for _, _, offset, index, _ in partition.references("00:email:a")]
        assert found == [(n, n) for n in range(5)], "neither twice nor out of order"
        assert partition.references("00:email:b") == []


def test_a_profile_over_the_identity_limit_is_reported_once_without_identities(tmp_path: Path) -> None:
    store = PartitionStore.open(tmp_path / "store")
    partition = ProfilePartition(0, 1, store, generation=0, max_nodes=6, clock=lambda: 1_000_000.0)
    found: list[MessageRejected] = []
    for start in (0, 10):
        joins = [("00:email:ada", (f"01:cookie:{n}", 0), {}, {f"01:cookie:{n}\0" + "00:email:ada": [1, "b", n]})
                 for n in range(start, start + 10)]  # fmt: skip
        partition.apply_messages(NodeMessages(joins=joins), 5)  # type: ignore[arg-type]  # lists, as JSON has them
        partition.apply_mapped(mapped_header(), MappedMessages(), 5)
        found += [decode(record.value or b"") for record in partition.outgoing_records()]  # type: ignore[misc]  # decode returns any record; the test knows which
        partition.flush()
    (letter,) = found
    assert (letter.code, letter.source, letter.excerpt) == ("too_many_identities", "profiles/0", b"email:ada")
    assert (letter.code, letter.params) == ("too_many_identities", {"max": 5})
    assert "ada" not in letter.position
    assert len(partition.nodes.load(["00:email:ada"])["00:email:ada"].edges) == 5
    store.close()


def mapped_header() -> MappedBatch:
    return MappedBatch(
        topic="messages.realtime", partition=0, first_offset=0, next_offset=1, rules_offset=1, payload=b"[]"
    )  # fmt: skip
