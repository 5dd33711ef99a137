"""Mapping raw records: the same result however they are cut into chunks, and no failure for invalid records."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.lanes.chunk import FULL_ROWS, MAX_FAULTS, MAX_UPDATE_BYTES, MappingChunk
from projections.definitions.compiled_rules import CompiledRules
from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.rules import Forgotten, Rules, key_hash
from projections.profiles.update_codec import decode_mapped
from schemas.instants import EPOCH
from schemas.messages import MessageBatch, MessageRejected
from schemas.updates import MappedBatch
from schemas.wire.codec import decode, encode

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
MICROSECONDS = (NOW - EPOCH) // timedelta(microseconds=1)
IDENTITY = {"kinds": [{"kind": "email", "rank": 0, "title": "x"}, {"kind": "cookie", "rank": 5, "title": "x"}]}
PEOPLE: dict[str, Any] = {
    "identities": [{"field": "email", "kind": "email"}, {"field": "cookie", "kind": "cookie"}],
    "attributes": [
        {"name": "age", "field": "age", "type": "integer", "merge": "latest"},
        {"name": "seen", "type": "integer", "merge": "count"},
    ],
    "timestamp": None,
}
RULES = CompiledRules(
    Rules(VersionedBody(1, json.dumps(IDENTITY)), {"people": VersionedBody(1, json.dumps(PEOPLE))}), 7
)
TEXTS = PEOPLE | {
    "attributes": [{"name": f"a{n}", "field": "text", "type": "string", "merge": "latest"} for n in range(5)]
}
WIDE = CompiledRules(  # rules that make much of a message
    Rules(VersionedBody(1, json.dumps(IDENTITY)), {"people": VersionedBody(1, json.dumps(TEXTS))}), 7
)


@dataclass
class Record:
    """A record as a consumer returns it."""

    value: bytes | None
    offset: int = 0
    headers: Sequence[tuple[str, bytes]] = (("stream", b"people"),)
    timestamp: int = MICROSECONDS // 1000
    key: bytes | None = None
    topic: str = "messages.realtime"
    partition: int = 2


def packed(offset: int, batch: str, *messages: Any, stamps: Sequence[int] = ()) -> Record:
    payload = b"".join(
        (message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n" for message in messages
    )
    word = MessageBatch(
        batch_id=batch, stream="people", source="", job_id="j", run=1, ingested_at=NOW, first=0, count=len(messages),
        payload=payload, timestamps=b"".join(stamp.to_bytes(8, "little", signed=True) for stamp in stamps),
    )  # fmt: skip
    return Record(encode(word), offset)


def chunk_of(*records: Record, forgotten: Forgotten | None = None) -> MappingChunk:
    chunk = MappingChunk("realtime", RULES, forgotten or Forgotten(), 3, NOW)
    for record in records:
        chunk.add(record)
    return chunk


def updates_of(chunk: MappingChunk) -> list[MappedBatch]:
    (fitting,) = chunk.fitting()
    return [decode(update.value or b"") for update in fitting.updates()]  # type: ignore[misc]  # all are


def content_of(*chunks: MappingChunk) -> tuple[list[Any], list[Any], list[Any]]:
    """Return all rows with message id and raw offset, all links, and the messages to count once."""
    rows, links, counted = [], [], []
    for word in (item for chunk in chunks for item in updates_of(chunk)):
        mapped = decode_mapped(word.payload)
        links += [tuple(link) for link in mapped.links]
        for group in mapped.groups:
            rows += [
                (row[0], row[1], group.batches[row[2]], row[3], group.offset + row[4], *row[5:]) for row in group.rows
            ]
            counted += [tuple(item) for item in group.counted]
    return sorted(rows), sorted(links), sorted(set(counted))


def dead_letters_of(chunk: MappingChunk) -> list[MessageRejected]:
    letters: list[Any] = [decode(letter.value or b"") for letter in chunk.dead_letters]
    assert chunk.rejected == Counter(letter.code for letter in letters)
    return letters


MIXED = [
    packed(
        0, "up/1", {"email": "a", "age": 1}, {"email": "b", "cookie": "c"}, {"cookie": "c", "age": 3}, stamps=(5, 6, 7)
    ),
    Record(b'{"email":"a","age":9}', 1),
    Record(b'{"cookie":"d"}', 2, (("stream", b"people"), ("message_id", b"m1"))),
    Record(b'{"cookie":"d"}', 3, (("stream", b"people"), ("message_id", b"m1"))),
    packed(4, "up/2", *({"email": f"e{n}"} for n in range(20))),
    Record(b'{"email":"a"}', 5, (("stream", b"unknown"),)),
]


def test_the_position_advances_with_records_and_messages() -> None:
    chunk, mapper = chunk_of(), RULES.mapper("people")
    assert mapper
    assert chunk.position == (0, 0)
    chunk.add(Record(b"{}", offset=4))
    (records, messages) = chunk.position
    mapper.map({}, 0)
    assert chunk.position == (records, messages + 1) == (1, messages + 1)
    mapper.drain_faults()
    chunk.add(Record(b"{}", offset=5, headers=(("stream", b"unmapped"),)))
    assert chunk.position == (2, 0)
    assert chunk.mapping_now == "stream unmapped (no mapping) in messages.realtime/2@5"


def test_updates_do_not_depend_on_the_cuts_between_chunks() -> None:
    whole = content_of(chunk_of(*MIXED))
    assert whole == content_of(*(chunk_of(item) for item in MIXED))
    assert whole == content_of(chunk_of(*MIXED[:2]), chunk_of(*MIXED[2:]))
    rows, links, counted = whole
    assert ("00:email:a", 5, "up/1", 0, 0, 1, 1) in rows
    assert ("00:email:a", MICROSECONDS, "messages.realtime:2", 1, 1, 9, 1) in rows
    assert links == [("05:cookie:c", "00:email:b", 6, "up/1", 1)]
    assert counted == [("m1", 0, 1), ("up/1", 0, 3), ("up/2", 0, 20)]


@pytest.mark.parametrize("hostile", ["up/1", "up//1", "up/1/", "messages.realtime:2", "messages.backfill:0"])
def test_ids_of_foreign_producers_do_not_collide(hostile: str) -> None:
    forged = Record(b'{"cookie":"d"}', 3, (("stream", b"people"), ("message_id", hostile.encode())))
    other = Record(b'{"cookie":"d"}', 4, (("stream", b"people"), ("message_id", f"{hostile}/".encode())))
    without_id = Record(b'{"cookie":"d"}', 0)
    rows, _, _ = content_of(
        chunk_of(without_id, packed(1, "up/1", {"cookie": "d"}), packed(2, "up//1", {"cookie": "d"}))
    )
    taken = {(batch, index) for _, _, batch, index, *_ in rows}
    rows, _, counted = content_of(chunk_of(forged, other))
    assert len(taken | {(batch, index) for _, _, batch, index, *_ in rows}) == 5
    assert not taken & {(batch, index) for batch, index, _ in counted}


def test_a_group_has_no_message_twice() -> None:
    for word in updates_of(chunk_of(*MIXED)):
        assert word.rules_offset == 7
        assert (word.first_offset, word.next_offset) == (0, 6)
        for group in decode_mapped(word.payload).groups:
            ids = [(row[2], row[3]) for row in group.rows]
            assert len(ids) == len(set(ids))


def test_faults_have_one_dead_letter_for_each_record() -> None:
    record = packed(
        3,
        "up/1",
        {"email": "a", "age": "old"},
        b"{",
        {"email": "b", "age": "young"},
        b"[1]",
        {"age": 3},
        {"email": "c"},
    )
    chunk = chunk_of(record)
    rows, _, _ = content_of(chunk)
    assert [row[0] for row in rows] == ["00:email:a", "00:email:b", "00:email:c"]
    found = {item.code: item for item in dead_letters_of(chunk)}
    assert sorted(found) == ["invalid_json", "not_an_object", "wrong_type"]
    assert found["invalid_json"].params == {"at": 2, "count": 1, "messages": 6, "first_index": 1}
    assert (found["invalid_json"].excerpt, bool(found["invalid_json"].detail)) == (b"{", True)
    assert found["wrong_type"].params.items() >= {"value": "'old'", "count": 2, "messages": 6, "first_index": 0}.items()
    assert "age" in str(found["wrong_type"].params["target"])
    assert {item.job_id for item in found.values()} == {"j"}


def test_an_expression_that_is_too_costly_loses_only_its_value() -> None:
    splits = "coalesce(" + ", ".join(["split(text, 'x', -99999)"] * 75) + ")"
    part = {"name": "part", "expr": splits, "type": "string", "merge": "latest"}
    body = VersionedBody(1, json.dumps(PEOPLE | {"attributes": [*PEOPLE["attributes"], part]}))
    rules = CompiledRules(Rules(VersionedBody(1, json.dumps(IDENTITY)), {"people": body}), 7)
    chunk = MappingChunk("realtime", rules, Forgotten(), 3, NOW)
    chunk.add(packed(0, "up/1", {"email": "a", "age": 7, "text": "x" * 60_000}, {"email": "b", "age": 8, "text": "-"}))
    rows, _, _ = content_of(chunk)
    assert [(row[0], *row[5:]) for row in rows] == [("00:email:a", 7, 1, None), ("00:email:b", 8, 1, None)]
    assert [item.code for item in dead_letters_of(chunk)] == ["too_costly"]


@pytest.mark.parametrize(
    ("value", "headers", "code", "cause"),
    [
        (b"", (), "invalid_json", None),
        (b"{]", (), "invalid_json", None),
        (b"[]", (), "not_an_object", None),
        (b"\xff", (), "invalid_json", None),
        (b"{}", (("stream", b"s" * 201),), "malformed_message", "bad_stream"),
        (b"{}", (("message_id", b"m" * 201),), "malformed_message", "message_id_too_long"),
        (b"\x00garbage", (), "malformed_message", "unknown_schema"),
    ],
)
def test_invalid_records_become_dead_letters_with_their_offset(
    value: bytes, headers: Sequence[tuple[str, bytes]], code: str, cause: str | None
) -> None:
    chunk = chunk_of(Record(value, 41, headers))
    (letter,) = dead_letters_of(chunk)
    assert (letter.code, letter.params.get("cause")) == (code, cause)
    assert (letter.topic, letter.partition, letter.offset) == ("messages.realtime", 2, 41)
    assert chunk.next_offset == 42
    assert updates_of(chunk) == []


def test_future_messages_are_refused_and_forgotten_ones_are_not_mapped() -> None:
    day = 86_400 * 10**6
    stamps = (MICROSECONDS + 2 * day, MICROSECONDS - day, MICROSECONDS)
    record = packed(0, "up/1", {"email": "a"}, {"email": "b", "cookie": "c"}, {"email": "b"}, stamps=stamps)
    forgotten = Forgotten().including([key_hash("cookie:c")], NOW - timedelta(hours=1))
    chunk = chunk_of(record, forgotten=forgotten)
    rows, links, _ = content_of(chunk)
    assert [row[:2] for row in rows] == [("00:email:b", MICROSECONDS)]
    assert links == []
    assert [item.code for item in dead_letters_of(chunk)] == ["future_timestamp"]


def test_an_inconsistent_batch_is_a_dead_letter_without_its_job() -> None:
    word = MessageBatch(
        batch_id="b", stream="people", source="", job_id="j" * 10**6, run=1, ingested_at=NOW, first=0, count=1,
        payload=b"{}\n",
    )  # fmt: skip
    chunk = chunk_of(Record(encode(word), 41))
    (letter,) = dead_letters_of(chunk)
    assert (letter.code, letter.offset, letter.job_id) == ("malformed_message", 41, "")
    assert letter.params["cause"] == "bad_job_id"
    assert updates_of(chunk) == []


def test_messages_can_be_nested_to_the_json_limit() -> None:
    def nested(levels: int) -> bytes:
        return b'{"email":"a' + b"%d" % levels + b'","x":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    wide = b'{"email":"wide","x":[' + b"[],{}," * 1_000 + b"0]}"
    chunk = chunk_of(*(Record(item, n) for n, item in enumerate((nested(200), nested(201), nested(100_000), wide))))
    assert [item[0] for item in content_of(chunk)[0]] == ["00:email:a200", "00:email:wide"]
    assert [(item.code, item.offset) for item in dead_letters_of(chunk)] == [("too_deep", 1), ("invalid_json", 2)]


@pytest.mark.parametrize(("faults", "letters"), [(MAX_FAULTS, MAX_FAULTS), (100, MAX_FAULTS + 1)])
def test_many_faults_share_a_dead_letter(faults: int, letters: int) -> None:
    names = [f"a{n}" for n in range(faults)]
    wide = PEOPLE | {"attributes": [{"name": n, "field": n, "type": "integer", "merge": "latest"} for n in names]}
    rules = CompiledRules(
        Rules(VersionedBody(1, json.dumps(IDENTITY)), {"people": VersionedBody(1, json.dumps(wide))}), 7
    )
    chunk = chunk_by(rules, packed(0, "b", {"email": "a", **dict.fromkeys(names, "x")}, {"email": "b"}))
    assert [item[0] for item in content_of(chunk)[0]] == ["00:email:a", "00:email:b"]
    dead_letters = dead_letters_of(chunk)
    assert len(dead_letters) == letters
    assert [letter.params["more"] for letter in dead_letters if letter.code == "more_faults"] == [
        faults - MAX_FAULTS
    ] * (letters - MAX_FAULTS)


def test_a_forgotten_person_is_in_no_part_of_a_split_update() -> None:
    records = [
        packed(n, f"b/{n}", {"email": "gone"}, *({"email": "a", "text": "x" * 60_000} for _ in range(30)))
        for n in range(2)
    ]
    forgotten = Forgotten().including([key_hash("email:gone")], NOW)
    chunk = MappingChunk("realtime", WIDE, forgotten, 3, NOW)
    for record in records:
        chunk.add(record)
    parts = list(chunk.fitting())
    updates = [decode(update.value or b"") for part in parts for update in part.updates()]
    assert len(parts) == 2
    assert not [update for update in updates if isinstance(update, MappedBatch) and b"gone" in update.payload]


def test_an_update_that_is_too_large_is_split_and_then_cut() -> None:
    records = [packed(n, f"b/{n}", *({"email": "a", "text": "x" * 60_000} for _ in range(30))) for n in range(2)]
    together = MappingChunk("realtime", WIDE, Forgotten(), 3, NOW)
    for record in records:
        assert not together.is_full
        together.add(record)
    parts = list(together.fitting())
    assert [part.records for part in parts] == [[record] for record in records]
    for part in parts:
        (update,) = part.updates()
        assert len(update.value or b"") < MAX_UPDATE_BYTES
        assert part.dead_letters == []
    huge = packed(9, "b/9", *({"email": "a", "text": "x" * 60_000} for _ in range(60)))
    chunk = chunk_by(WIDE, huge)
    (cut,) = updates_of(chunk)
    assert len(cut.payload) < MAX_UPDATE_BYTES + 100_000
    (letter,) = dead_letters_of(chunk)
    assert (letter.code, letter.offset, letter.params["max"]) == ("too_large", 9, MAX_UPDATE_BYTES)
    assert 0 < len(decode_mapped(cut.payload).groups[0].rows) < 60
    assert chunk_by(WIDE, packed(0, "b", *({"text": "x" * 60_000} for _ in range(70)))).is_full


def chunk_by(rules: CompiledRules, record: Record) -> MappingChunk:
    chunk = MappingChunk("realtime", rules, Forgotten(), 3, NOW)
    chunk.add(record)
    return chunk


def test_streams_have_their_counts_and_newest_times() -> None:
    day = 86_400 * 10**3
    old = Record(b"{}", 1, timestamp=MICROSECONDS // 1000 - day)
    records = [Record(b"{", 0), old, packed(2, "j/1", {}, {}, stamps=(9, 5)), Record(b"{}", 3, (("stream", b"other"),))]
    streams = chunk_of(*records).streams
    assert {name: (counts.lane, counts.count) for name, counts in streams.items()} == {
        "people": ("realtime", 4),
        "other": ("realtime", 1),
    }
    people = streams["people"]
    assert (people.last_offset, streams["other"].last_offset) == (2, 3)
    assert people.bytes == sum(len(record.value or b"") for record in records[:3])
    assert people.last_message_at == people.last_arrival_at == NOW
    late = chunk_of(old, packed(1, "j/1", {}, stamps=(9,))).streams["people"]
    assert (late.last_message_at, late.last_arrival_at) == (NOW - timedelta(days=1), NOW)
    assert chunk_of(Record(b"\0garbage")).streams == {}


def test_a_record_without_a_time_is_a_dead_letter_and_no_message_of_1969() -> None:
    chunk = chunk_of(Record(b'{"email":"a"}', 0, timestamp=-1), Record(b"{", 1, timestamp=-1))
    assert [(item.code, item.params["cause"]) for item in dead_letters_of(chunk)] == [
        ("malformed_message", "no_record_time")
    ] * 2
    assert (chunk.streams, chunk.mapped) == ({}, {})


def test_messages_are_counted_by_job() -> None:
    small = MessageBatch(
        batch_id="u/1", stream="people", source="", job_id="u", run=0, ingested_at=NOW, first=0, count=1,
        payload=b"{}\n",
    )  # fmt: skip
    chunk = chunk_of(packed(0, "j/1", {}, b"no JSON"), packed(1, "j/2", {}), Record(encode(small), 2), Record(b"{}", 3))
    assert chunk.jobs == {"j": 3}, "small uploads come by the thousand each second, and are no jobs"


def test_single_messages_fill_a_chunk_like_packed_ones() -> None:
    single, together = chunk_of(), chunk_of()
    for number in range(3 * FULL_ROWS):
        assert not single.is_full, number
        single.add(Record(json.dumps({"email": f"{number}@x.org"}).encode(), number))
    together.add(packed(0, "j/1", *({"email": f"{number}@x.org"} for number in range(3 * FULL_ROWS))))
    assert single.is_full
    assert together.is_full


def test_blocked_identities_are_counted_and_are_no_dead_letters() -> None:
    identity = {**IDENTITY, "blocked_values": ["null", "n/a"]}
    rules = CompiledRules(
        Rules(VersionedBody(1, json.dumps(identity)), {"people": VersionedBody(1, json.dumps(PEOPLE))}), 7
    )
    chunk = MappingChunk("realtime", rules, Forgotten(), 3, NOW)
    chunk.add(packed(0, "up/1", {"email": "null", "cookie": "c1"}, {"email": "NULL", "cookie": "N/A"}))
    chunk.add(Record(b'{"email":"n/a","cookie":"c2"}', 1))
    rows, links, _ = content_of(chunk)
    assert sorted(row[0] for row in rows) == ["05:cookie:c1", "05:cookie:c2"]
    assert (links, chunk.dead_letters) == ([], [])
    assert chunk.streams["people"].blocked == {("email", "null"): 2, ("email", "n/a"): 1, ("cookie", "n/a"): 1}
