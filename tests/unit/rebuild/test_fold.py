"""Records folded in columns leave profiles that are, byte for byte, those of the same records taken row by row."""

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.lanes.chunk import MappingChunk
from app.profiles.partition import ProfilePartition
from app.rebuild.columnar.fold import fold_records
from app.rebuild.stores import RebuildStores
from app.rebuild.tasks import ForgottenPerson
from projections.definitions.compiled_rules import CompiledRules
from projections.definitions.rebuild_spec import EVERYTHING, Scope, VersionedBody
from projections.definitions.rules import Forgotten, Rules, key_hash
from projections.profiles.updates import decode_node
from schemas.instants import EPOCH
from schemas.messages import MessageBatch
from schemas.updates import MappedBatch
from schemas.wire.codec import encode
from tests.canonical_nodes import canonical

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
ARRIVED = (NOW - EPOCH) // timedelta(microseconds=1)
DAY = 24 * 60 * 60 * 1_000_000
PARTITIONS = 3
MERGES = ("latest", "first", "min", "max", "union")
TYPES = ("string", "integer", "number", "boolean", "timestamp")
IDENTITY = VersionedBody(1, json.dumps({"kinds": [{"kind": "email", "rank": 0}, {"kind": "cookie", "rank": 1}]}))


@dataclass
class Record:
    """A record as Kafka gives it."""

    offset: int
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()
    timestamp: int = ARRIVED // 1000
    key: bytes | None = None
    topic: str = "messages.backfill"
    partition: int = 1


def mapping(*, dated: bool = True, extra: Sequence[dict[str, Any]] = (), **members: Any) -> VersionedBody:
    attributes = [
        *(
            {"name": f"{kind}_{merge}", "field": kind, "type": kind, "merge": merge}
            for kind in TYPES
            for merge in MERGES
            if kind != "boolean" or merge not in {"min", "max"}
        ),
        {"name": "spent", "field": "number", "type": "number", "merge": "sum"},
        {"name": "prices", "field": "number", "type": "integer", "merge": "count"},
        {"name": "messages", "type": "integer", "merge": "count"},
        {"name": "brand", "constant": "Ours", "type": "string", "merge": "latest"},
        *extra,
    ]
    body = {
        "identities": [{"field": "cookie", "kind": "cookie"}, {"field": "email", "kind": "email"}],
        "attributes": attributes,
        "timestamp": {"field": "at", "format": ["epoch_s"], "time_zone": "UTC"} if dated else None,
    }
    return VersionedBody(1, json.dumps(body | members))


def book(mapped: VersionedBody | None = None, scope: Scope = EVERYTHING) -> CompiledRules:
    return CompiledRules(Rules(IDENTITY, {"shop": mapped or mapping()}, scope=scope), 0)


def message(chance: random.Random, site: str = "") -> dict[str, Any]:
    """Return a message of a shop, with some values that its mapping can't use. Sites share no people."""
    person = chance.randrange(5)
    fields: dict[str, Any] = {
        "cookie": chance.choice([f"{site}c{person}", f" {site}c{person}", ""]),
        "email": chance.choice([None, None, f"{site}p{person}@x", f"{site}p1@x", f"{site}p{chance.randrange(5)}@x"]),
        "string": chance.choice(["a", "B", "ä", "", "long" * 300, "nul\0"]),
        "integer": chance.choice([0, 7, -3, 2**62, 2**53 + 1]),
        "number": chance.choice([0.5, 20.0, -0.0, 1e-7, 123456.789, 9e12, 4.0]),
        "boolean": chance.choice([True, False, None]),
        "timestamp": chance.choice(["2013-01-01T10:00:00Z", "2014-06-01T00:00:00+02:00", "soon", None]),
        "at": chance.choice([None, 1_700_000_000 + chance.randrange(5), 99_999_999_999, ARRIVED // 1_000_000]),
    }
    return {name: value for name, value in fields.items() if chance.random() < 0.8}


def packed(
    offset: int, batch: str, first: int, messages: Sequence[Any], stamps: Sequence[int] = (), arrived: datetime = NOW
) -> Record:
    payload = b"".join((item if isinstance(item, bytes) else json.dumps(item).encode()) + b"\n" for item in messages)
    word = MessageBatch(
        batch_id=batch, stream="shop", source="", job_id=batch.partition("/")[0], run=1, ingested_at=arrived,
        first=first, count=len(messages), payload=payload,
        timestamps=b"".join(stamp.to_bytes(8, "little", signed=True) for stamp in stamps),
    )  # fmt: skip
    return Record(offset, encode(word))


def single(chance: random.Random, offset: int, content: Any) -> Record:
    identified = [("message_id", f"m{chance.randrange(10**9)}".encode())] if chance.random() < 0.3 else []
    return Record(offset, json.dumps(content).encode(), [("stream", b"shop"), *identified])


def some_records(chance: random.Random, begin: int = 0, site: str = "") -> list[Record]:
    """Return consecutive records from offset `begin` on."""
    records: list[Record] = []
    for number in range(chance.randrange(1, 6)):
        content = [message(chance, site) for _ in range(chance.choice((1, 30, 150)))]
        stamps = [ARRIVED - chance.randrange(3) * DAY for _ in content] if chance.random() < 0.5 else []
        batch = f"j{chance.randrange(2)}/{site}{number}"
        records.append(packed(begin + len(records), batch, chance.choice((0, 7)), content, stamps))
    records += [
        single(chance, begin + len(records) + number, message(chance, site)) for number in range(chance.randrange(4))
    ]
    for value in (b"not JSON", b"\0garbage", None, b'{"stream": "of another"}'):
        if chance.random() < 0.2:
            records.append(Record(begin + len(records), value))
    return records


@contextmanager
def rebuilds(folder: Path, count: int = 2, max_identities: int = 1_000) -> Iterator[list[RebuildStores]]:
    found = [RebuildStores(folder / str(number), PARTITIONS, max_identities, 0) for number in range(count)]
    yield found
    for item in found:
        item.close()


def apply_rows(
    rebuild: RebuildStores,
    records: Sequence[Record],
    rules: CompiledRules,
    forgotten: Forgotten,
    partitions: int = PARTITIONS,
) -> None:
    chunk = MappingChunk("backfill", rules, forgotten, partitions, NOW)
    for record in records:
        chunk.add(record)
    header = MappedBatch(
        topic=records[0].topic, partition=records[0].partition, first_offset=records[0].offset,
        next_offset=chunk.next_offset, rules_offset=0, payload=b"",
    )  # fmt: skip
    rebuild.apply(chunk, header, records[-1].timestamp / 1000)


def apply_folded(rebuild: RebuildStores, records: Sequence[Record], rules: CompiledRules, forgotten: Forgotten) -> bool:
    folded = fold_records(records, rules, forgotten, PARTITIONS)
    if folded is None:
        return False
    first, last = records[0], records[-1]
    source = f"{first.topic}/{first.partition}"
    return rebuild.apply_folded(folded.by_partition, source, first.offset, last.offset + 1, last.timestamp / 1000)


def state(rebuild: RebuildStores) -> list[Any]:
    """All that is known: of every node and of its root, of what was counted, and how far it has read."""
    rebuild.flush()
    nodes = {
        key.decode(): decode_node(key.decode(), value)
        for store in rebuild.partition_stores
        for key, value in store.iterate_nodes(b"", 10_000)
    }

    def root_of(key: str) -> str:
        return root_of(nodes[key].parent) if nodes[key].parent else key

    for node in nodes.values():
        node.parent = node.parent and root_of(node.parent)  # some know a shorter way to it than others
    counted = [(store.offsets(), sorted(store.iterate_seen(b"", 10_000))) for store in rebuild.partition_stores]
    return [*counted, {key: canonical(node) for key, node in nodes.items()}]


def references(rebuild: RebuildStores) -> list[tuple[str, list[Any]]]:
    """Where the raw messages behind each node are, in any order."""
    found = []
    for number, store in enumerate(rebuild.partition_stores):
        opened = ProfilePartition(number, PARTITIONS, store, generation=0, max_nodes=10, clock=lambda: 0.0)
        keys = [key.decode() for key, _ in store.iterate_nodes(b"", 10_000)]
        found += [(key, sorted(opened.references(key))) for key in keys]
    return found


SCOPES = (
    EVERYTHING,
    EVERYTHING,
    Scope(since=ARRIVED - DAY),
    Scope(until=ARRIVED - DAY, until_set_at=ARRIVED + 1),
    Scope(excluded={"j1": ARRIVED + 1}),
    Scope(excluded={"j1": ARRIVED}),
)


@pytest.mark.slow
async def test_folded_messages_give_the_same_state_as_rows(tmp_path: Path) -> None:
    begin = folds = 0
    with rebuilds(tmp_path) as (rows, columns):  # opening stores for each seed would take longer than all the rest
        rows.touched, columns.touched = set(), set()
        for seed in range(60):
            chance, site = random.Random(seed), f"{seed}."
            rules = book(mapping(dated=chance.random() < 0.7), chance.choice(SCOPES))
            forgotten = Forgotten()
            if chance.random() < 0.3:
                forgotten = forgotten.including(
                    [key_hash(f"cookie:{site}c1"), key_hash(f"email:{site}p2@x")],
                    NOW - timedelta(days=chance.randrange(2)),
                )
            for _ in range(chance.randrange(1, 4)):
                records = some_records(chance, begin, site)
                begin = records[-1].offset + 1
                folds += apply_both_ways(rows, columns, records, rules, forgotten)
                if chance.random() < 0.3:
                    person = ForgottenPerson(begin, frozenset({key_hash(f"cookie:{site}c3")}), NOW - timedelta(days=1))
                    forgotten = forgotten.including(person.key_hashes, person.at)
                    await rows.forget([person])
                    await columns.forget([person])
            rows.flush()
            columns.flush()
        assert state(rows) == state(columns), "the keys of a seed begin with it"
        assert references(rows) == references(columns)
        assert rows.touched == columns.touched != set()
    assert folds > 50


def apply_both_ways(
    rows: RebuildStores, columns: RebuildStores, records: Sequence[Record], rules: CompiledRules, forgotten: Forgotten
) -> bool:
    """Return whether the records could be folded."""
    apply_rows(rows, records, rules, forgotten)
    is_folded = apply_folded(columns, records, rules, forgotten)
    if not is_folded:
        apply_rows(columns, records, rules, forgotten)
    return is_folded


def test_the_identity_limit_gives_the_same_state_both_ways(tmp_path: Path) -> None:
    begin = folds = 0
    with rebuilds(tmp_path, max_identities=3) as (rows, columns):
        for seed in range(15):
            chance = random.Random(seed)
            for _ in range(2):
                records = some_records(chance, begin, f"{seed}.")
                begin = records[-1].offset + 1
                folds += apply_both_ways(rows, columns, records, book(), Forgotten())
        assert state(rows) == state(columns), "the keys of a seed begin with it"
    assert folds > 10


def test_a_whole_number_is_one_identity_both_ways(tmp_path: Path) -> None:
    cookies = [7.5, *(7, 7.0, 8, 8.0) * 10]
    records = [packed(0, "j/1", 0, [{"cookie": cookie, "integer": cookie} for cookie in cookies])]
    with rebuilds(tmp_path) as (rows, columns):
        assert apply_both_ways(rows, columns, records, book(), Forgotten())
        assert state(rows) == state(columns)


def visits(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"cookie": f"c{number % 3}", "integer": number} | more for number in range(count)]


def folds(*messages: Any, rules: CompiledRules | None = None) -> bool:
    return fold_records([packed(0, "j/1", 0, messages)], rules or book(), Forgotten(), PARTITIONS) is not None


def test_messages_that_are_faster_row_by_row_are_not_folded() -> None:
    assert folds(*visits(30))
    assert not folds(*({"cookie": f"c{number}"} for number in range(30))), "as many people as messages"
    assert not folds(*visits(30), b'{"cookie":NaN}')
    assert not folds(*visits(30, cookie=7), {"cookie": 7.5}), "a column of integers can't hold it"
    assert not folds({"cookie": 7.5}, *visits(30, cookie=2**53 + 1)), "a float can't hold it"
    assert not folds(*visits(30, number=2**53 + 1), {"cookie": "c1", "number": 0.5}), "a float can't hold it"
    expression = {"name": "loud", "expr": "upper(string)", "type": "string", "merge": "latest"}
    assert not folds(*visits(30), rules=book(mapping(extra=[expression])))
    whole = {"name": "whole", "field": "whole", "type": "json", "merge": "latest"}
    assert not folds(*visits(30), rules=book(mapping(extra=[whole])))
    assert not folds(*visits(30), rules=book(mapping(identities=[{"field": "phone", "kind": "phone"}])))


def test_repeated_messages_are_not_folded_where_they_would_count_twice(tmp_path: Path) -> None:
    records = [packed(0, "j/1", 0, visits(30)), packed(1, "j/1", 20, visits(30))]
    assert fold_records(records, book(), Forgotten(), PARTITIONS) is None
    uncounted = book(mapping(attributes=[{"name": "x", "field": "integer", "type": "integer", "merge": "max"}]))
    assert fold_records(records, uncounted, Forgotten(), PARTITIONS) is not None
    with rebuilds(tmp_path, 1) as (rebuild,):
        assert apply_folded(rebuild, records[:1], book(), Forgotten())
        assert not apply_folded(rebuild, records[1:], book(), Forgotten())
        assert not apply_folded(rebuild, [packed(0, "k/1", 0, visits(30))], book(), Forgotten()), "an offset again"
        apply_rows(rebuild, records[1:], book(), Forgotten())
        rebuild.flush()
        nodes = [
            decode_node("", value) for store in rebuild.partition_stores for _, value in store.iterate_nodes(b"", 10)
        ]
        counts = [node.registers["count:messages"].values() for node in nodes]
        assert sum(count for item in counts for _, count, *_ in item) == 50


def test_messages_without_values_are_counted() -> None:
    records = [
        packed(0, "j1/1", 0, visits(30)),
        Record(1, b"garbage"),
        Record(2, b"{}"),
        packed(3, "k/1", 0, visits(30)),
    ]
    for rules in (book(), book(scope=Scope(excluded={"j1": ARRIVED + 1}))):
        folded = fold_records(records, rules, Forgotten(), PARTITIONS)
        assert folded is not None
        assert folded.messages == 62
