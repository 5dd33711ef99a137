"""What a lane makes of raw records: the same however they are cut, and never a stop for what is odd about them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.lane.chunk import Chunk
from app.lane.raw import UnreadableMessageError, open_raw
from app.lane.rule_book import RuleBook
from projections.metrics import EPOCH
from projections.recipe import Applied
from projections.rules import Forgotten, Rules, key_hash
from projections.updates import decode_mapped
from schemas.messages import LATEST, MessageBatch, MessageRejected
from schemas.updates import MappedBatch
from schemas.wire import decode, encode

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
MICROSECONDS = (NOW - EPOCH) // timedelta(microseconds=1)
IDENTITY = {"kinds": [{"kind": "email", "rank": 0, "title": "x"}, {"kind": "cookie", "rank": 5, "title": "x"}]}
PEOPLE = {
    "identities": [{"field": "email", "kind": "email"}, {"field": "cookie", "kind": "cookie"}],
    "attributes": [
        {"name": "age", "field": "age", "type": "integer", "merge": "latest"},
        {"name": "seen", "type": "integer", "merge": "count"},
    ],
    "timestamp": None,
}
BOOK = RuleBook(Rules(Applied(1, json.dumps(IDENTITY)), {"people": Applied(1, json.dumps(PEOPLE))}), 7)


@dataclass
class Record:
    """A record as Kafka gives it."""

    value: bytes | None
    offset: int = 0
    headers: Sequence[tuple[str, bytes]] = (("stream", b"people"),)
    timestamp: int = MICROSECONDS // 1000
    key: bytes | None = None
    topic: str = "messages.realtime"
    partition: int = 2


def packed(offset: int, batch: str, *messages: Any, stamps: Sequence[int] = ()) -> Record:
    payload = b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in messages)
    word = MessageBatch(
        batch_id=batch, stream="people", source="", job_id="j", run=1, ingested_at=NOW, first=0, count=len(messages),
        payload=payload, timestamps=b"".join(each.to_bytes(8, "little", signed=True) for each in stamps),
    )  # fmt: skip
    return Record(encode(word), offset)


def chunk_of(*records: Record, forgotten: Forgotten | None = None) -> Chunk:
    chunk = Chunk("realtime", BOOK, forgotten or Forgotten(), 3, NOW)
    for each in records:
        chunk.add(each)
    return chunk


def told(chunk: Chunk) -> list[MappedBatch]:
    return [decode(each.value or b"") for each in chunk.updates()]  # type: ignore[misc]


def said(*chunks: Chunk) -> tuple[list[Any], list[Any], list[Any]]:
    """Every row with its message id and raw offset, every link, and what has to count once."""
    rows, links, counted = [], [], []
    for word in (each for chunk in chunks for each in told(chunk)):
        mapped = decode_mapped(word.payload)
        links += [tuple(each) for each in mapped.links]
        for group in mapped.groups:
            rows += [
                (each[0], each[1], group.batches[each[2]], each[3], group.offset + each[4], *each[5:])
                for each in group.rows
            ]
            counted += [tuple(each) for each in group.counted]
    return sorted(rows), sorted(links), sorted(set(counted))


def letters(chunk: Chunk) -> list[MessageRejected]:
    return [decode(each.value or b"") for each in chunk.letters]  # type: ignore[misc]


MIXED = [
    packed(
        0, "up/1", {"email": "a", "age": 1}, {"email": "b", "cookie": "c"}, {"cookie": "c", "age": 3}, stamps=(5, 6, 7)
    ),
    Record(b'{"email":"a","age":9}', 1),
    Record(b'{"cookie":"d"}', 2, (("stream", b"people"), ("message_id", b"m1"))),
    Record(b'{"cookie":"d"}', 3, (("stream", b"people"), ("message_id", b"m1"))),
    packed(4, "up/2", *({"email": f"e{n}"} for n in range(20))),
    Record(b'{"email":"a"}', 5, (("stream", b"nobody"),)),
]


def test_where_a_chunk_ends_makes_no_difference() -> None:
    whole = said(chunk_of(*MIXED))
    assert whole == said(*(chunk_of(each) for each in MIXED))
    assert whole == said(chunk_of(*MIXED[:2]), chunk_of(*MIXED[2:]))
    rows, links, counted = whole
    assert ("00:email:a", 5, "up/1", 0, 0, 1, 1) in rows
    assert ("00:email:a", MICROSECONDS, "messages.realtime:2", 1, 1, 9, 1) in rows
    assert links == [("05:cookie:c", "00:email:b", 6, "up/1", 1)]
    assert counted == [("m1", 0, 1), ("up/1", 0, 3), ("up/2", 0, 20)]


def test_no_group_says_a_message_twice() -> None:
    for word in told(chunk_of(*MIXED)):
        assert word.rules_at == 7
        assert (word.first_offset, word.next_offset) == (0, 6)
        for group in decode_mapped(word.payload).groups:
            ids = [(each[2], each[3]) for each in group.rows]
            assert len(ids) == len(set(ids))


def test_what_is_odd_is_told_once_for_each_record_and_the_rest_goes_on() -> None:
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
    rows, _, _ = said(chunk)
    assert [each[0] for each in rows] == ["00:email:a", "00:email:b", "00:email:c"]
    found = {each.code: each for each in letters(chunk)}
    assert found["malformed_message"].reason.startswith("2 of 6 messages, first index 1: the message is not JSON")
    assert found["malformed_message"].excerpt == b"{"
    (untyped,) = (each for code, each in found.items() if code != "malformed_message")
    assert "2 of 6 messages, first index 0: " in untyped.reason
    assert "age" in untyped.reason
    assert {each.job_id for each in found.values()} == {"j"}


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (b"", (), "neither"),
        (b"{]", (), "not JSON"),
        (b"[]", (), "JSON object"),
        (b"\xff", (), "not JSON"),
        (b"{}", (("stream", b"s" * 201),), "stream's name"),
        (b"{}", (("message_id", b"m" * 201),), "message id"),
        (b"\x00garbage", (), "too short|unknown|not"),
    ],
)
def test_what_can_not_be_read_is_a_dead_letter_with_its_offset(
    value: bytes, headers: Sequence[tuple[str, bytes]], reason: str
) -> None:
    chunk = chunk_of(Record(value, 41, headers))
    (letter,) = letters(chunk)
    assert letter.code == "malformed_message"
    assert (letter.topic, letter.partition, letter.offset) == ("messages.realtime", 2, 41)
    assert chunk.next_offset == 42
    assert chunk.updates() == []
    assert reason == "neither" or any(part in letter.reason for part in reason.split("|"))


def test_a_message_of_the_future_is_refused_and_one_of_a_forgotten_past_is_not_mapped() -> None:
    day = 86_400 * 10**6
    stamps = (MICROSECONDS + 2 * day, MICROSECONDS - day, MICROSECONDS)
    record = packed(0, "up/1", {"email": "a"}, {"email": "b", "cookie": "c"}, {"email": "b"}, stamps=stamps)
    forgotten = Forgotten().with_([key_hash("cookie:c")], NOW - timedelta(hours=1))
    chunk = chunk_of(record, forgotten=forgotten)
    rows, links, _ = said(chunk)
    assert [each[:2] for each in rows] == [("00:email:b", MICROSECONDS)]
    assert links == []
    assert [each.code for each in letters(chunk)] == ["future_timestamp"]


def test_a_record_of_an_impossible_time_is_unreadable() -> None:
    with pytest.raises(UnreadableMessageError, match="is not a time"):
        open_raw(Record(b"{}", timestamp=10**17))


def test_a_header_without_a_value_is_as_none() -> None:
    assert open_raw(Record(b"{}", headers=[("stream", None)])).stream == "default"  # type: ignore[list-item]


def test_the_last_moment_that_a_batch_may_have_is_a_moment() -> None:
    assert open_raw(packed(0, "b", {}, stamps=(LATEST,))).newest() == datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)
