"""The stores of a rebuild equal live ones, and resume after a crash at any time."""

import json
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from app.lanes.chunk import MappingChunk
from app.profile_store.partition_store import PartitionStore
from app.profiles.partition import ProfilePartition
from app.rebuild.columnar.fold import fold_records
from app.rebuild.stores import RebuildStores, rebuild_folder, remove_others
from app.rebuild.tasks import ForgottenPerson
from projections.definitions.compiled_rules import CompiledRules
from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.rules import Forgotten, Rules, key_hash
from projections.profiles.updates import decode_node
from schemas.updates import MappedBatch
from schemas.wire.codec import decode
from tests.canonical_nodes import canonical
from tests.unit.rebuild.test_fold import (
    ARRIVED,
    DAY,
    IDENTITY,
    NOW,
    PARTITIONS,
    Record,
    apply_folded,
    apply_rows,
    book,
    mapping,
    packed,
    some_records,
    state,
)

MOST = 1_000
PERSON = [*(("cookie", f"c{n}") for n in range(5)), *(("email", f"p{n}@x") for n in range(5))]


def wide(size: int) -> CompiledRules:
    """Rules that make much of a message."""
    attributes = [{"name": f"a{n}", "field": "text", "type": "string", "merge": "latest"} for n in range(size)] + [
        {"name": "messages", "type": "integer", "merge": "count"}
    ]
    body = {
        "identities": [{"field": "cookie", "kind": "cookie"}, {"field": "email", "kind": "email"}],
        "attributes": attributes,
        "timestamp": None,
    }
    return CompiledRules(Rules(IDENTITY, {"shop": VersionedBody(1, json.dumps(body))}), 0)


def live(folder: Path, records: Sequence[Record], rules: CompiledRules) -> dict[str, bytes]:
    """What profiles hold after a lane has mapped records, all in one partition."""
    store = PartitionStore.open(folder)
    partition = ProfilePartition(0, 1, store, generation=0, max_nodes=10, clock=NOW.timestamp)
    whole = MappingChunk("backfill", rules, Forgotten(), 1, NOW)
    for item in records:
        whole.add(item)
    for chunk in whole.fitting():
        for record in chunk.updates():
            update = decode(record.value or b"")
            assert isinstance(update, MappedBatch)
            partition.apply("backfill", partition.next_offset("backfill"), update, MOST)
    while partition.has_outgoing:
        for _, _, messages in partition.drain_outbox():
            partition.apply_messages(messages, MOST)
    partition.drain_outbox()
    partition.flush()
    found = nodes([store])
    store.close()
    return found


def nodes(stores: Sequence[PartitionStore]) -> dict[str, bytes]:
    rows = [row for store in stores for row in store.iterate_nodes(b"", 10_000)]
    return {key.decode(): canonical(decode_node(key.decode(), value)) for key, value in rows}


def test_a_rebuild_drops_the_same_excess_of_a_record_as_a_lane(tmp_path: Path) -> None:
    rules = wide(20)
    large = [{"cookie": f"c{n % 7}", "email": f"e{n % 7}", "text": "x" * 30_000} for n in range(60)]
    records = [packed(0, "j/1", 0, large[:3]), packed(1, "j/2", 0, large), packed(2, "j/3", 0, large[:3])]
    rebuild = RebuildStores(tmp_path / "rebuilt", 1, MOST, 0)
    apply_rows(rebuild, records, rules, Forgotten(), 1)
    rebuild.flush()
    rebuilt = nodes(rebuild.partition_stores)
    counts = [json.loads(item)[2].get("count:messages", {}).values() for item in rebuilt.values()]
    assert 6 < sum(messages for count in counts for _, messages, *_ in count) < 66
    assert rebuilt == live(tmp_path / "live", records, rules)
    rebuild.close()
    assert fold_records(records, rules, Forgotten(), 1) is None, "of folded messages none can be left out"
    small = [item | {"text": "x"} for item in large]
    assert fold_records([packed(0, "j/1", 0, small)], rules, Forgotten(), 1)


def consecutive(chance: random.Random, least: int) -> list[Record]:
    records: list[Record] = []
    while len(records) < least:
        records += some_records(chance, begin=len(records))
    return records


def killed_while_keeping(before: Path, after: Path, folder: Path) -> Iterator[Path]:
    """Yield the stores as a kill leaves them behind, when one more of them was kept each time."""
    for kept in range(PARTITIONS + 1):
        found = folder / f"killed.{kept}"
        for number in range(PARTITIONS):
            shutil.copytree((after if number < kept else before) / str(number), found / str(number))
        yield found


@pytest.mark.parametrize("seed", range(6))
def test_a_kill_between_the_flushes_of_two_partitions_loses_nothing(tmp_path: Path, seed: int) -> None:
    chance, rules = random.Random(seed), book()
    records = consecutive(chance, 24)
    whole, before, after = (tmp_path / item for item in ("whole", "before", "after"))
    for begin, end, kept in ((0, 8, before), (8, 16, after), (16, len(records), None)):
        rebuild = RebuildStores(whole, PARTITIONS, MOST, 0)
        apply_rows(rebuild, records[begin:end], rules, Forgotten())
        wanted = state(rebuild)
        rebuild.close()
        if kept:
            shutil.copytree(whole, kept)
    for folder in killed_while_keeping(before, after, tmp_path):
        rebuild = RebuildStores(folder, PARTITIONS, MOST, 0)
        apply_rows(rebuild, records[rebuild.next_offset(records[0].topic, 1) :], rules, Forgotten())
        assert state(rebuild) == wanted, folder
        rebuild.close()


class KilledError(Exception):
    """Instead of a kill: nothing is kept from here on."""


class Life:
    """Has partitions keep so many times, and then dies."""

    def __init__(self, most: int) -> None:
        self.kept = 0
        self._most = most
        self._keep = ProfilePartition.flush

    def keep(self, partition: ProfilePartition, facts: Mapping[str, bytes]) -> None:
        if self.kept == self._most:
            raise KilledError
        self.kept += 1
        self._keep(partition, facts)


def take_some(folder: Path, records: Sequence[Record], *, folded: bool) -> list[object]:
    """Take what wasn't taken yet, two records at a time, and return what there is then."""
    rebuild, rules = RebuildStores(folder, PARTITIONS, MOST, 0), book()
    try:
        for begin in range(0, len(records), 2):
            some = records[max(rebuild.next_offset(records[0].topic, 1), begin) : begin + 2]
            if some and not (folded and apply_folded(rebuild, some, rules, Forgotten())):
                apply_rows(rebuild, some, rules, Forgotten())
        return state(rebuild)
    finally:
        rebuild.close()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["folded", "row by row"])
def test_a_kill_while_messages_are_delivered_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    chance, folded = random.Random(11), way == "folded"
    visits = [{"cookie": f"c{n // 2}", "email": f"p{(n + 1) // 2}@x", "number": n} for n in range(24) for _ in range(9)]
    chance.shuffle(visits)
    records = [packed(n, f"j/{n}", 0, visits[begin : begin + 54]) for n, begin in enumerate(range(0, len(visits), 54))]
    wanted = take_some(tmp_path / "whole", records, folded=folded)
    monkeypatch.setattr("app.rebuild.stores.MAX_OUTBOX_BYTES", 1)  # flush after every delivery
    monkeypatch.setattr("app.rebuild.stores.MAX_LINKS", 3)

    def live(folder: str, life: Life) -> list[object]:
        def keep(partition: ProfilePartition, facts: Mapping[str, bytes]) -> None:
            life.keep(partition, facts)

        with monkeypatch.context() as lived:
            lived.setattr(ProfilePartition, "flush", keep)
            return take_some(tmp_path / folder, records, folded=folded)

    long = Life(10**6)
    assert live("long", long) == wanted
    assert long.kept > 24, "it is kept in the middle"
    for most in sorted(chance.sample(range(long.kept), 20)):
        again = chance.randrange(PARTITIONS)
        for item in (most, again):
            with pytest.raises(KilledError):
                live(str(most), Life(item))
        assert take_some(tmp_path / str(most), records, folded=folded) == wanted, f"killed after {most} keeps, {again}"


async def test_a_kill_while_a_person_is_forgotten_restores_nothing(tmp_path: Path) -> None:
    chance, rules = random.Random(7), book()
    records = consecutive(chance, 20)
    person = ForgottenPerson(
        7, frozenset({key_hash(f"{kind}:{name}") for kind, name in PERSON}), NOW + timedelta(seconds=1)
    )
    whole, before, after = (tmp_path / item for item in ("whole", "before", "after"))
    rebuild = RebuildStores(whole, PARTITIONS, MOST, 0)
    apply_rows(rebuild, records, rules, Forgotten())
    for kept in (before, after):
        rebuild.flush()
        rebuild.close()
        shutil.copytree(whole, kept)
        rebuild = RebuildStores(whole, PARTITIONS, MOST, 0)
        await rebuild.forget([person])
    wanted = state(rebuild)
    rebuild.close()
    for folder in killed_while_keeping(before, after, tmp_path):
        rebuild = RebuildStores(folder, PARTITIONS, MOST, 0)
        await rebuild.forget([person])
        assert state(rebuild) == wanted, folder
        rebuild.close()


@pytest.mark.parametrize("cookie", ["c1", "c2", "c3", "c4", "c5", "c6"])
async def test_a_kill_while_a_person_is_forgotten_leaves_no_identity_joined_by_other_rules(
    tmp_path: Path, cookie: str
) -> None:
    emails = {"": "p1@x", "b": "p1@x", "d": "p1@x", "e": "p2@x"}
    visits = [{"cookie": f"{cookie}{name}", "email": email, "number": 1.0} for name, email in emails.items()]
    visits.append({"cookie": cookie, "email": "p2@x", "number": 2.0})
    person = ForgottenPerson(7, frozenset({key_hash(f"cookie:{cookie}")}), NOW + timedelta(seconds=1))
    whole, before, after = (tmp_path / item for item in ("whole", "before", "after"))
    rebuild = RebuildStores(whole, PARTITIONS, MOST, 0)
    apply_rows(rebuild, [packed(0, "j/1", 0, visits)], book(mapping(dated=False)), Forgotten())
    rebuild.flush()
    rebuild.close()
    shutil.copytree(whole, before)
    rebuild = RebuildStores(whole, PARTITIONS, MOST, 0)
    await rebuild.forget([person])
    rebuild.close()
    shutil.copytree(whole, after)  # another flush would drop undelivered messages
    rebuild = RebuildStores(whole, PARTITIONS, MOST, 0)
    wanted = state(rebuild)
    rebuild.close()
    for folder in killed_while_keeping(before, after, tmp_path):
        rebuild = RebuildStores(folder, PARTITIONS, MOST, 0)
        await rebuild.forget([person])
        assert state(rebuild) == wanted, folder
        rebuild.close()


def test_stores_are_rebuilt_when_one_is_damaged(tmp_path: Path) -> None:
    chance, rules = random.Random(7), book()
    records = consecutive(chance, 20)
    rebuild = RebuildStores(tmp_path, PARTITIONS, MOST, 0)
    apply_rows(rebuild, records, rules, Forgotten())
    wanted = state(rebuild)
    rebuild.close()
    (tmp_path / "1" / "CURRENT").unlink()
    rebuild = RebuildStores(tmp_path, PARTITIONS, MOST, 0)
    assert rebuild.next_offset(records[0].topic, 1) == 0
    apply_rows(rebuild, records, rules, Forgotten())
    assert state(rebuild) == wanted
    rebuild.close()


async def test_a_forgotten_person_with_more_identities_by_other_rules_is_removed_completely(tmp_path: Path) -> None:
    visits = [
        {"cookie": "c1", "email": "p1@x", "string": "Graz"},
        {"cookie": "c2", "email": "p1@x", "string": "Linz"},
        {"cookie": "c3", "email": "p3@x", "string": "Wels"},
    ]
    rebuild = RebuildStores(tmp_path, PARTITIONS, MOST, 0)
    apply_rows(rebuild, [packed(0, "j/1", 0, visits)], book(), Forgotten())
    only = frozenset({key_hash("cookie:c1")})  # live, that was all of the person
    await rebuild.forget([ForgottenPerson(7, only, NOW)])
    left = b" ".join(nodes(rebuild.partition_stores).values())
    assert b"Graz" not in left
    assert b"Wels" in left
    rebuild.close()


def visit(offset: int, message_id: str, arrived: int, partition: int) -> Record:
    headers = [("stream", b"shop"), ("message_id", message_id.encode())]
    return Record(offset, b'{"cookie":"c1"}', headers, arrived // 1000, partition=partition)


@pytest.mark.parametrize("order", ["early first", "late first"])
def test_repeated_messages_count_once_when_partitions_are_read_out_of_time(tmp_path: Path, order: str) -> None:
    """One raw partition is read as of a year ago while another is read as of now, and all is kept in between."""
    ago = ARRIVED - 365 * DAY
    early = [visit(0, "m1", ago, 1), visit(1, "m1", ago + DAY, 1)]
    late = [visit(0, "m2", ARRIVED, 2), visit(1, "m2", ARRIVED, 2), visit(2, "m1", ARRIVED, 2)]  # m1 is another by now
    times = zip(early, late, strict=False) if order == "early first" else zip(late, early, strict=False)
    rebuild = RebuildStores(tmp_path, PARTITIONS, MOST, 0)
    for item in [*(record for both in times for record in both), late[2]]:
        apply_rows(rebuild, [item], book(mapping(dated=False)), Forgotten())
        rebuild.flush()
    ((_, counted),) = [
        json.loads(node)[2]["count:messages"].popitem() for node in nodes(rebuild.partition_stores).values()
    ]
    assert counted[1] == 3
    rebuild.close()


def test_stores_of_unknown_rebuilds_are_removed(tmp_path: Path) -> None:
    for name in ("over", "under way"):
        RebuildStores(rebuild_folder(tmp_path, name), PARTITIONS, MOST, 0).close()
    remove_others(tmp_path, ["under way"])
    assert not rebuild_folder(tmp_path, "over").exists()
    RebuildStores(rebuild_folder(tmp_path, "under way"), PARTITIONS, MOST, 0).close()
    remove_others(tmp_path / "of another process", [])
