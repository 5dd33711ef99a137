"""The arrival time of raw records: the record timestamp, or the ingestion time of a packed batch."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from projections.mapping.raw_messages import arrival
from schemas.instants import moment
from schemas.messages import MessageBatch, MessageRejected
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
    headers: tuple[tuple[str, bytes], ...] = ()


def batch() -> MessageBatch:
    return MessageBatch(
        batch_id="job/1", stream="shop", source="", job_id="", run=1, ingested_at=NOW, first=0, count=1, payload=b"{}\n"
    )


def test_a_packed_batch_arrives_at_ingestion() -> None:
    assert moment(arrival(Record(encode(batch())))) == NOW


@pytest.mark.parametrize(
    "value",
    [None, b'{"a": 1}', b"\x00garbage", encode(full(MessageRejected))],
    ids=["none", "json", "garbage", "other"],
)
def test_other_records_arrive_at_their_timestamp(value: bytes | None) -> None:
    assert arrival(Record(value)) == RECORD_MILLIS * 1000
