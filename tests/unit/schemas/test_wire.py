"""Frames, refusals, old versions."""

from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer

from schemas.commands import KillJob, RenameJob
from schemas.wire import codec as wire
from schemas.wire.catalog import UnreadableRecordError, Version
from schemas.wire.codec import FRAME, decode, encode, schema_id_of
from tests.golden.samples import MOMENT, full

KILL = KillJob(command_id="c", job_id="j", issued_at=MOMENT, issued_by="user:ada")
RENAME = "entrepot.jobs.commands.RenameJob"


def test_a_record_is_framed_as_confluent_does() -> None:
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
def test_bytes_that_are_no_record_are_refused(data: bytes, code: str, params: dict[str, Any]) -> None:
    with pytest.raises(UnreadableRecordError) as refused:
        decode(data)
    assert (refused.value.code, refused.value.params) == (code, params)


def test_an_old_version_that_avro_cannot_resolve_is_brought_up_by_its_upcaster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once upon a time `RenameJob` had a `title` instead of a name, and the name of a person instead of an actor."""
    plain = ("command_id", "job_id", "person", "title")
    schema: Any = {
        "type": "record",
        "name": RENAME,
        "fields": [
            *({"name": each, "type": "string"} for each in plain),
            {"name": "issued_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        ],
    }
    old = Version(500, RENAME, 0, schema, parse_schema(schema))
    body = BytesIO()
    schemaless_writer(body, old.parsed, {each: each for each in plain} | {"issued_at": MOMENT})

    def upcast(record: dict[str, Any]) -> dict[str, Any]:
        kept = {each: record[each] for each in ("command_id", "job_id", "issued_at")}
        added = {"seed": 0, "rules": 1, "expected_revision": None, "description": ""}
        return kept | added | {"issued_by": f"user:{record['person']}", "name": record["title"]}

    monkeypatch.setattr(wire, "version_of", {500: old}.__getitem__)
    data = FRAME.pack(0, 500) + body.getvalue()
    with pytest.raises(UnreadableRecordError) as refused:
        decode(data)
    assert "issued_by" in refused.value.detail
    monkeypatch.setattr(wire, "UPCASTERS", {500: upcast})
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


def test_a_full_word_of_each_kind_survives() -> None:
    for word in (full(RenameJob), KILL):
        assert decode(encode(word)) == word
