"""Raw records: their messages, message IDs and times; records and lines that are unreadable."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from projections.mapping.raw_messages import (
    MAX_BATCH_ID_BYTES,
    MAX_ID_CHARACTERS,
    MAX_INDEX,
    UNREADABLE,
    UnreadableMessageError,
    arrival,
    open_raw,
    parse_message,
)
from schemas.coded import CodedError
from schemas.instants import LATEST, micros, moment
from schemas.json_values import MAX_JSON_DEPTH
from schemas.messages import MessageBatch, MessageRejected
from schemas.names import MAX_JOB_ID, MAX_NAME_CHARACTERS
from schemas.wire.codec import encode
from tests.golden.samples import full

NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
RECORD_MILLIS = 1_367_000_000_000


@dataclass
class Record:
    value: bytes | None
    timestamp: int = RECORD_MILLIS
    topic: str = "messages.realtime"
    partition: int = 0
    offset: int = 0
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


def batch(**members: Any) -> Record:
    whole = MessageBatch(
        batch_id="job/1", stream="shop", source="", job_id="job", run=1, ingested_at=NOW, first=0, count=1,
        payload=b"{}\n",
    )  # fmt: skip
    return Record(encode(replace(whole, **members)))


def packed(*stamps: int) -> bytes:
    return b"".join(stamp.to_bytes(8, "little", signed=True) for stamp in stamps)


def test_a_packed_batch_is_opened_without_parsing_its_lines() -> None:
    raw = open_raw(batch(first=7, count=2, payload=b'{"n": 1}\nno JSON\n', timestamps=packed(9, 5)))
    assert (raw.stream, raw.batch, raw.first, raw.job_id, raw.run) == ("shop", "job/1", 7, "job", 1)
    assert raw.lines == [b'{"n": 1}', b"no JSON"]
    assert ([*raw.timestamps], raw.newest()) == ([9, 5], 9)
    assert raw.may_repeat


def test_messages_without_timestamps_have_the_time_of_their_batch() -> None:
    raw = open_raw(batch())
    assert raw.lines == (b"{}",)
    assert [*raw.timestamps] == []
    assert raw.newest() == micros(NOW)


def test_the_latest_timestamp_of_a_batch_is_valid() -> None:
    newest = open_raw(batch(timestamps=packed(LATEST))).newest()
    assert moment(newest) == datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)


def test_a_batch_of_an_upload_has_no_run() -> None:
    assert (open_raw(batch(job_id="", run=0)).job_id, open_raw(batch(job_id="", run=0)).run) == ("", 0)


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (batch(batch_id="ä" * (MAX_BATCH_ID_BYTES // 2) + "b"), "batch_id_too_long"),
        (batch(job_id="j" * (MAX_JOB_ID + 1)), "bad_job_id"),
        (batch(job_id="j\0"), "bad_job_id"),
        (batch(first=-1), "bad_message_index"),
        (batch(first=MAX_INDEX + 1), "bad_message_index"),
        (batch(count=2), "wrong_line_count"),
        (batch(timestamps=b"1234"), "wrong_timestamp_count"),
        (Record(encode(full(MessageRejected))), "not_a_message_batch"),
        (Record(b"\0garbage"), "unknown_schema"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_inconsistent_batch_is_unreadable(record: Record, code: str) -> None:
    with pytest.raises(CodedError) as refused:
        open_raw(record)
    assert isinstance(refused.value, UNREADABLE)
    assert refused.value.code == code


def test_a_json_record_is_one_message_without_an_id_of_its_own() -> None:
    raw = open_raw(Record(b'{\n"n": 1\n}\n', partition=2, offset=41))
    assert (raw.stream, raw.batch, raw.first, raw.count) == ("default", "messages.realtime:2", 41, 1)
    assert raw.lines == (b'{\n"n": 1\n}',), "one message, over several lines"
    assert raw.newest() == RECORD_MILLIS * 1000
    assert not raw.may_repeat, "each record has its own offset"
    assert open_raw(Record(None)).payload == b""
    assert open_raw(Record(b'\xef\xbb\xbf{"n": 1}')).lines == (b'{"n": 1}',), "without a byte-order mark"


def test_headers_name_the_stream_and_the_message() -> None:
    raw = open_raw(Record(b"{}", offset=41, headers=[("stream", b"shop"), ("ce_id", b"e1"), ("message_id", b"m1")]))
    assert (raw.stream, raw.batch, raw.first) == ("shop", "m1", 0)
    assert raw.may_repeat, "the producer may send it again"
    assert open_raw(Record(b"{}", headers=[("ce_id", b"e1"), ("message_id", b"")])).batch == "e1"


def test_a_header_without_a_value_is_ignored() -> None:
    assert open_raw(Record(b"{}", headers=[("stream", None)])).stream == "default"


@pytest.mark.parametrize(
    ("message_id", "batch_id"),
    [
        ("m1", "m1"),
        ("job/1", "job/1/"),
        ("job/1/", "job/1//"),
        ("messages.realtime:2", "messages.realtime:2/"),
        ("messages.backfill:0", "messages.backfill:0/"),
        ("other.topic:0", "other.topic:0"),
    ],
)
def test_ids_of_foreign_producers_differ_from_internal_batch_ids(message_id: str, batch_id: str) -> None:
    assert open_raw(Record(b"{}", headers=[("message_id", message_id.encode())])).batch == batch_id


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (Record(b"{}", timestamp=LATEST // 1000 + 1), "bad_record_time"),
        (Record(b"{}", timestamp=-(10**14)), "bad_record_time"),
        (Record(b"{}", timestamp=-1), "no_record_time"),
        (Record(b"{}", headers=[("stream", b"s" * (MAX_NAME_CHARACTERS + 1))]), "bad_stream"),
        (Record(b"{}", headers=[("stream", b"a\n")]), "bad_stream"),
        (Record(b"{}", headers=[("message_id", b"m" * (MAX_ID_CHARACTERS + 1))]), "message_id_too_long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_json_record_with_impossible_metadata_is_unreadable(record: Record, code: str) -> None:
    with pytest.raises(UnreadableMessageError) as refused:
        open_raw(record)
    assert refused.value.code == code


def test_a_message_is_a_json_object() -> None:
    assert parse_message(b'{"n": [1, {"x": null}]}') == {"n": [1, {"x": None}]}


def nested(levels: int) -> bytes:
    """Return an object that is nested this deep."""
    return b'{"x":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize(
    ("line", "code", "params"),
    [
        (b"", "invalid_json", {"at": 1}),
        (b"{]", "invalid_json", {"at": 2}),
        (b'{"x": "\xff"}', "invalid_json", None),
        (nested(100_000), "invalid_json", None),
        (b"[1]", "not_an_object", None),
        (b"null", "not_an_object", None),
        (nested(MAX_JSON_DEPTH + 1), "too_deep", {"max": MAX_JSON_DEPTH}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_lines_are_unreadable(line: bytes, code: str, params: dict[str, Any] | None) -> None:
    with pytest.raises(UnreadableMessageError) as refused:
        parse_message(line)
    assert refused.value.code == code
    assert params is None or refused.value.params == params
    assert bool(refused.value.detail) == (code == "invalid_json"), "the parser says why"


def test_many_brackets_are_not_deep() -> None:
    wide = b'{"x":[' + b"[],{}," * MAX_JSON_DEPTH + b"0]}"
    assert len(parse_message(wide)["x"]) == 2 * MAX_JSON_DEPTH + 1
    assert parse_message(nested(MAX_JSON_DEPTH))


def test_a_packed_batch_arrives_at_ingestion() -> None:
    assert arrival(batch(timestamps=packed(micros(NOW - timedelta(days=900))))) == micros(NOW)


@pytest.mark.parametrize(
    "value",
    [None, b'{"a": 1}', b"\x00garbage", encode(full(MessageRejected))],
    ids=["none", "json", "garbage", "other"],
)
def test_other_records_arrive_at_their_timestamp(value: bytes | None) -> None:
    assert arrival(Record(value)) == RECORD_MILLIS * 1000


@pytest.mark.parametrize("value", [b'{"a": 1}', b"\x00garbage"], ids=["json", "garbage"])
@pytest.mark.parametrize("timestamp", [-1, LATEST // 1000 + 1])
def test_a_record_without_a_time_has_no_arrival(value: bytes, timestamp: int) -> None:
    assert arrival(Record(value, timestamp=timestamp)) is None


def test_a_record_before_1970_keeps_its_time() -> None:
    assert open_raw(Record(b"{}", timestamp=-2)).arrived == arrival(Record(b"{}", timestamp=-2)) == -2_000


def test_a_message_of_a_record_has_its_own_id_and_time() -> None:
    single = open_raw(Record(b'{"a": 1}', offset=4)).message(0)
    assert (single.message_id, single.at, single.arrived) == (
        "messages.realtime:0/4",
        RECORD_MILLIS * 1000,
        RECORD_MILLIS * 1000,
    )
    batch = replace(full(MessageBatch), payload=b"{}\n[]\n", count=2, first=7, batch_id="job/1")
    times = array("q", [5, 6]).tobytes()
    second = open_raw(Record(encode(replace(batch, timestamps=times)))).message(1)
    assert (second.message_id, second.at, second.line) == ("job/1/8", 6, b"[]")
