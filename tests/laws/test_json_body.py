"""JSON bodies: the fast path equals the exact path, and invalid elements don't affect valid ones."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.text.formats.append_fields import append_fields
from connectors.text.formats.json_body import MalformedBody, _parse_each, _parse_whole, parse_body
from connectors.text.timestamps import TimestampReader
from tests.unit.connectors.texts import NOW

TEXT = st.text(alphabet='ab:{}[],"\\/ é😀\n\u2028\x01', max_size=6)
VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(TEXT, VALUE, max_size=4)
OBJECTS = st.lists(OBJECT, max_size=6)
STYLES = st.fixed_dictionaries(
    {
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]),
        "ensure_ascii": st.booleans(),
    }
)
INVALID = (
    *(b"3", b'"},{"', b"null", b"[]", b"[{}]", b'{"a" 1}', b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\\ud800"}'),
    *(b'{"a":1,"a":2}', b'{"a":1,"a":"\\u003a"}', b'{"b":{"a":1,"\\u0061":1}}', b'{"a":' * 201 + b"1" + b"}" * 201),
)
INVALID_ELEMENTS = st.sampled_from(INVALID)
STAMPS = TimestampReader("when", ("epoch", "auto"), ZoneInfo("UTC"), lambda: NOW)
MICROS = int(NOW * 1_000_000)


def encode(value: Any, style: dict[str, Any]) -> bytes:
    return json.dumps(value, **style).encode()


@given(OBJECTS, STYLES)
def test_valid_bodies_are_accepted_unchanged(objects: list[Any], style: dict[str, Any]) -> None:
    body = encode(objects, style)
    parsed = parse_body(body, "abort", STAMPS, MICROS)
    assert parsed.stop is None
    assert [json.loads(line) for line in parsed.payload.split(b"\n")[:-1]] == objects
    assert parsed.count == len(objects)
    exact = _parse_each(body, "abort", STAMPS, MICROS)
    assert (exact.payload, exact.count, exact.timestamps) == (parsed.payload, parsed.count, parsed.timestamps)


@given(OBJECT, STYLES)
def test_one_object_equals_an_array_of_one(message: Any, style: dict[str, Any]) -> None:
    one = parse_body(encode(message, style), "abort", None, 0)
    assert one.payload == parse_body(encode([message], style), "abort", None, 0).payload
    assert json.loads(one.payload) == message


@given(st.lists(OBJECT.map(lambda message: json.dumps(message).encode()) | INVALID_ELEMENTS, min_size=1, max_size=6))
@example([b'{"a":1,"a":"\\u003a"}'])
def test_invalid_elements_do_not_affect_valid_ones(elements: list[bytes]) -> None:
    body = b"[" + b" , ".join(elements) + b"]"
    valid = [element for element in elements if element not in INVALID]
    quarantined = parse_body(body, "quarantine", None, 0)
    assert quarantined.payload.splitlines() == valid
    assert [reject.position for reject in quarantined.rejects] == [
        f"element {number}" for number, element in enumerate(elements, 1) if element in INVALID
    ]
    dropped = parse_body(body, "drop", None, 0)
    assert (dropped.payload, dropped.dropped) == (quarantined.payload, len(quarantined.rejects))
    stopped = parse_body(body, "abort", None, 0).stop
    assert stopped == (quarantined.rejects[0] if quarantined.rejects else None)


@given(st.binary(max_size=30) | st.text(alphabet='{}[],:"\\ a1', max_size=30).map(str.encode))
@example(b"[" * 100_000)
@example(b"[" * 2_000 + b"]" * 2_000)
@example(b'[{"a":"x]')
@example(b'"')
def test_any_bytes_are_parsed_or_reported(body: bytes) -> None:
    try:
        parsed = parse_body(body, "quarantine", STAMPS, MICROS)
    except MalformedBody:
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(body)
    else:
        assert parsed.payload.count(b"\n") == parsed.count
        assert all(type(orjson.loads(line)) is dict for line in parsed.payload.splitlines())


@given(OBJECTS, st.dictionaries(TEXT, TEXT | st.integers(-9, 9), max_size=3), STYLES)
def test_appended_fields_never_override_record_fields(objects: list[Any], fields: Any, style: dict[str, Any]) -> None:
    parsed = _parse_whole(encode(objects, style), None, 0) or _parse_each(encode(objects, style), "abort", None, 0)
    lines = append_fields(parsed.payload, fields).split(b"\n")[:-1]
    assert [json.loads(line) for line in lines] == [{**fields, **message} for message in objects]
    for line in lines:
        json.loads(line, object_pairs_hook=check_unique_keys)


def check_unique_keys(pairs: list[tuple[str, Any]]) -> None:
    assert len({name for name, _ in pairs}) == len(pairs)
