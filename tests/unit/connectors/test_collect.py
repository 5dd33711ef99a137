"""The upload connector: pushed job types, their configuration, and reading a body."""

import asyncio
import gzip
from contextlib import aclosing
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from pydantic import ValidationError

from app.sentences.sentence import sentence_of
from connectors.catalog import is_pushed
from connectors.contract import Batch, ConnectorError, Cursor, FixConfiguration, Limits
from connectors.providers.collect import MAX_EXPANDED_BYTES, PROVIDER, Config, read_upload
from connectors.text.timestamps import InvalidRecord, TimestampReader
from tests.unit.connectors.texts import NOW, MemorySource

WIDE = Limits(clock=lambda: NOW)
SMALL = Limits(batch_bytes=64, record_bytes=256, clock=lambda: NOW)
EPOCH = TimestampReader("when", ("epoch", "auto"), ZoneInfo("UTC"), lambda: NOW)


def read(data: bytes, cursor: Cursor | None = None, limits: Limits = WIDE, **settings: Any) -> list[Batch]:
    async def gather() -> list[Batch]:
        config = Config.model_validate({"stream": "people", "format": "csv"} | settings)
        async with aclosing(read_upload(config, cursor or {}, limits, MemorySource(data, 0))) as batches:
            return [batch async for batch in batches]

    return asyncio.run(gather())


def test_uploads_are_pushed_and_files_are_not() -> None:
    assert is_pushed("collect", "bulk_csv")
    assert is_pushed("collect", "bulk_json")
    assert not is_pushed("file", "import")
    assert not is_pushed("missing", "import")


def test_appended_fields_do_not_override_fields_of_a_record() -> None:
    (batch,) = read(b"id,source\n1,shop\n", append={"source": "crm", "day": 3})
    assert orjson.loads(batch.payload) == {"day": 3, "id": "1", "source": "shop"}
    (batch,) = read(b'{}\n{"day":null}\n', format="ndjson", append={"day": 3})
    assert batch.payload == b'{"day":3}\n{"day":null}\n'


def test_appended_fields_are_bounded() -> None:
    with pytest.raises(ValidationError, match="appended_too_large"):
        Config.model_validate({"stream": "s", "append": {"a": "x" * 1024}})
    batches = read(b"{}\n" * 70_000, format="ndjson", append={"a": "x" * 1000})
    assert sum(batch.count for batch in batches) == 70_000
    assert max(len(batch.payload) for batch in batches) <= MAX_EXPANDED_BYTES + 2**20


@pytest.mark.parametrize("name", ["a/b.csv", "a\\b.csv", "a\0.csv", "a\n.csv", "a" * 256])
def test_a_file_name_has_no_path_and_no_control_characters(name: str) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({"stream": "s", "filename": name})


def test_an_upload_resumes_only_with_the_same_file() -> None:
    rows = b"id\n" + b"".join(b"%d\n" % number for number in range(200))
    first, *rest = read(rows, limits=SMALL)
    assert [batch.payload for batch in read(rows, first.cursor, SMALL)] == [batch.payload for batch in rest]
    for other in (b"id\n" + b"x" * 500, b"", rows[:30]):
        with pytest.raises(FixConfiguration) as error:
            read(other, first.cursor, SMALL)
        assert error.value.code == "idempotency_key_reused"


BROKEN = {
    "truncated": (gzip.compress(b"id\n1\n" * 50)[:-9], {"compression": "gzip"}),
    "corrupt_compression": (gzip.compress(b"id\n1\n")[:-8] + bytes(8), {"compression": "gzip"}),
    "wrong_compression": (b"id\n1\n", {"compression": "gzip"}),
    "compression_bomb": (gzip.compress(b"id\n" + b"1" * 68_000_000, 9), {"compression": "gzip"}),
}


@pytest.mark.parametrize(
    "text", ["größe\n1\n".encode("latin-1"), "a\n1\n".encode("utf-16"), b"a,a\n1,2\n", b"a\0b\n1\n"]
)
def test_messages_use_the_names_of_request_settings(text: bytes) -> None:
    with pytest.raises(FixConfiguration) as error:
        read(text)
    text = sentence_of(error.value, PROVIDER)
    assert "`fields`" not in text
    assert "`encoding`" in text or "`header=present`" in text


@pytest.mark.parametrize("code", BROKEN)
def test_a_broken_upload_is_a_permanent_error(code: str) -> None:
    data, settings = BROKEN[code]
    with pytest.raises(ConnectorError) as error:
        read(data, **settings)
    assert isinstance(error.value, FixConfiguration)
    assert error.value.code == code


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (1_600_000_000, 1_600_000_000),
        ("1600000000", 1_600_000_000),
        (1_600_000_000_500, 1_600_000_000.5),
        ("1600000000500", 1_600_000_000.5),
        (1_600_000_000_500_000, 1_600_000_000.5),
        (1_600_000_000.25, 1_600_000_000.25),
        ("2020-09-13T12:26:40Z", 1_600_000_000),
        ("20200913", 1_599_955_200),
    ],
)
def test_a_timestamp_is_iso_8601_or_an_epoch_in_s_ms_or_us(value: Any, seconds: float) -> None:
    assert EPOCH.micros(value) == seconds * 1_000_000


@pytest.mark.parametrize("value", [True, [], {}, "soon", 1e300, "1e9", -5])
def test_an_invalid_timestamp_is_rejected(value: Any) -> None:
    with pytest.raises(InvalidRecord, match="bad_timestamp"):
        EPOCH.micros(value)
