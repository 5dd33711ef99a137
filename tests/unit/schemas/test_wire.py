"""Encoded records: framing, malformed input, and old schema versions."""

from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer

from schemas.commands import KillJob, RenameJob
from schemas.wire import codec
from schemas.wire.catalog import SchemaVersion, UnreadableRecordError
from schemas.wire.codec import FRAME, decode, encode, schema_id_of
from tests.golden.samples import MOMENT, full

KILL = KillJob(command_id="c", job_id="j", issued_at=MOMENT, issued_by="user:ada")
RENAME = "entrepot.jobs.commands.RenameJob"


def test_a_record_has_the_confluent_frame() -> None:
    data = encode(KILL)
    assert data[:5] == b"\x00\x00\x00\x00\x07"
    assert schema_id_of(data) == 7
    assert decode(data) == KILL


@pytest.mark.parametrize(
    ("data", "code", "params"),
    [
        (b"", "record_too_short", {"bytes": 0}),
        (b"\x00\x00\x00\x00", "record_too_short", {"bytes": 4}),
        (b'{"a":1}', "record_not_framed", {"found": "0x7b"}),
        (encode(KILL)[:-3], "unreadable_body", {"schema": "entrepot.jobs.commands.KillJob", "version": 1}),
        (encode(KILL) + b"xy", "trailing_bytes", {"schema": "entrepot.jobs.commands.KillJob", "bytes": 2}),
        (FRAME.pack(0, 7) + b"\x02\xff", "unreadable_body", {"schema": "entrepot.jobs.commands.KillJob", "version": 1}),
        (FRAME.pack(0, 999) + b"x", "unknown_schema", {"schema_id": 999}),
    ],
)
def test_malformed_bytes_are_refused(data: bytes, code: str, params: dict[str, Any]) -> None:
    with pytest.raises(UnreadableRecordError) as error:
        decode(data)
    assert (error.value.code, error.value.params) == (code, params)


def test_an_upcaster_reads_an_old_version_that_avro_cannot_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    """The old `RenameJob` has a `title` instead of a name, and a person's name instead of an actor."""
    plain = ("command_id", "job_id", "person", "title")
    schema: Any = {
        "type": "record",
        "name": RENAME,
        "fields": [
            *({"name": name, "type": "string"} for name in plain),
            {"name": "issued_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        ],
    }
    old = SchemaVersion(500, RENAME, 0, schema, parse_schema(schema))
    body = BytesIO()
    schemaless_writer(body, old.parsed, {name: name for name in plain} | {"issued_at": MOMENT})

    def upcast(record: dict[str, Any]) -> dict[str, Any]:
        kept = {name: record[name] for name in ("command_id", "job_id", "issued_at")}
        added = {"seed": 0, "rules": 1, "expected_revision": None, "description": ""}
        return kept | added | {"issued_by": f"user:{record['person']}", "name": record["title"]}

    monkeypatch.setattr(codec, "version_of", {500: old}.__getitem__)
    data = FRAME.pack(0, 500) + body.getvalue()
    with pytest.raises(UnreadableRecordError) as error:
        decode(data)
    assert "issued_by" in error.value.detail
    monkeypatch.setattr(codec, "UPCASTERS", {500: upcast})
    assert decode(data) == RenameJob(
        command_id="command_id",
        job_id="job_id",
        issued_at=MOMENT,
        issued_by="user:person",
        name="title",
        description="",
    )
    with pytest.raises(UnreadableRecordError):
        decode(data[:-1])


def test_a_full_record_survives_the_round_trip() -> None:
    for record in (full(RenameJob), KILL):
        assert decode(encode(record)) == record
