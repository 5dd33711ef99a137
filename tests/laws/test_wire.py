"""Encoding loses nothing, and decoding any bytes either succeeds or raises `UnreadableRecordError`."""

import tracemalloc
from contextlib import suppress
from time import process_time
from typing import Any, get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.wire.catalog import UnreadableRecordError, newest, version_of, versions
from schemas.wire.codec import FRAME, decode, encode, schema_id_of
from schemas.wire.headers import Routed, headers_of
from tests.laws.record_strategies import anything

ANY_RECORD = st.one_of([anything(kind) for kind in newest()])
HUGE = 2**60


def zigzag(number: int) -> bytes:
    """An Avro long, written from the specification."""
    rest, written = (number << 1) ^ (number >> 63), b""
    while rest > 0x7F:
        written, rest = written + bytes([rest & 0x7F | 0x80]), rest >> 7
    return written + bytes([rest])


@given(ANY_RECORD)
def test_an_encoded_record_is_decoded_unchanged(record: Any) -> None:
    data = encode(record)
    assert encode(decode(data)) == data
    if "nan" not in repr(record):
        assert decode(data) == record


@given(st.one_of([anything(kind) for kind in newest() if issubclass(kind, get_args(Routed))]))
def test_records_for_consumers_have_no_empty_headers(record: Any) -> None:
    assert all(value or name == "ce_id" for name, value in headers_of(record))


@given(ANY_RECORD, st.data())
def test_damaged_records_are_decoded_or_refused(record: Any, data: st.DataObject) -> None:
    good = bytearray(encode(record))
    for _ in range(data.draw(st.integers(1, 3))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    _check_harmless(bytes(good[: data.draw(st.integers(0, len(good)))]))
    _check_harmless(bytes(good))


@given(st.sampled_from(sorted(versions())), st.binary(max_size=300))
def test_any_bytes_behind_any_schema_are_harmless(schema_id: int, body: bytes) -> None:
    _check_harmless(FRAME.pack(0, schema_id) + body)


@given(st.binary(max_size=40))
def test_any_bytes_are_harmless(data: bytes) -> None:
    _check_harmless(data)


def _check_harmless(data: bytes) -> None:
    started = process_time()
    with suppress(UnreadableRecordError):
        decode(data)
    assert process_time() - started < 1


@pytest.mark.parametrize("schema_id", sorted(versions()))
@pytest.mark.parametrize("length", [HUGE, -HUGE, 2**63 - 1, -(2**63), -1])
def test_a_huge_length_allocates_no_memory(schema_id: int, length: int) -> None:
    """Bodies carry the length as their first field, in all fields, or after valid ones."""
    tracemalloc.start()
    try:
        for body in (zigzag(length), zigzag(length) * 40, b"\x02a" + zigzag(length) * 40, zigzag(length) + b"x" * 999):
            _check_harmless(FRAME.pack(0, schema_id) + body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


@pytest.mark.parametrize("before", [b"", b"\x00"])  # the map of parameters, and the array after an empty map
def test_an_array_or_a_map_with_a_huge_count_is_refused(before: bytes) -> None:
    name = "entrepot.jobs.events.CommandRefused"
    schema_id = next(version.id for version in versions().values() if version.name == name)
    envelope = b"\x02e\x02j\x02\x02\x02c\x02\x02a\x02" + b"\x02C\x02x" + before
    for count in (HUGE, -HUGE, 2**63 - 1, -(2**63)):
        size = zigzag(5) if count < 0 else b""
        with pytest.raises(UnreadableRecordError, match="CommandRefused"):
            decode(FRAME.pack(0, schema_id) + envelope + zigzag(count) + size + b"\x02a\x02b")


@given(st.integers(0, 2**32 - 1))
def test_the_error_for_an_unknown_schema_names_its_id(schema_id: int) -> None:
    assume(schema_id not in versions())
    data = FRAME.pack(0, schema_id) + b"anything"
    assert schema_id_of(data) == schema_id
    with pytest.raises(UnreadableRecordError, match=str(schema_id)):
        version_of(schema_id_of(data))
