"""Bodies of JSON: the fast way gives what the exact one gives, and no bad element costs a good one."""

import json
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from connectors.text.formats.added import with_fields
from connectors.text.formats.json_body import MalformedBody, _all, _each, parse_body
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
WAYS = st.fixed_dictionaries(
    {
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t: ")]),
        "ensure_ascii": st.booleans(),
    }
)
WRONG = (
    *(b"3", b'"},{"', b"null", b"[]", b"[{}]", b'{"a" 1}', b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\\ud800"}'),
    *(b'{"a":1,"a":2}', b'{"a":1,"a":"\\u003a"}', b'{"b":{"a":1,"\\u0061":1}}', b'{"a":' * 201 + b"1" + b"}" * 201),
)
BAD = st.sampled_from(WRONG)
STAMPS = TimestampReader("when", ("epoch", "auto"), ZoneInfo("UTC"), lambda: NOW)
MICROS = int(NOW * 1_000_000)


def written(value: Any, way: dict[str, Any]) -> bytes:
    return json.dumps(value, **way).encode()


@given(OBJECTS, WAYS)
def test_what_is_in_order_is_taken_whole_and_unchanged(objects: list[Any], way: dict[str, Any]) -> None:
    body = written(objects, way)
    parsed = parse_body(body, "abort", STAMPS, MICROS)
    assert parsed.stop is None
    assert [json.loads(each) for each in parsed.payload.split(b"\n")[:-1]] == objects
    assert parsed.count == len(objects)
    exact = _each(body, "abort", STAMPS, MICROS)
    assert (exact.payload, exact.count, exact.timestamps) == (parsed.payload, parsed.count, parsed.timestamps)


@given(OBJECT, WAYS)
def test_one_object_is_a_list_of_one(message: Any, way: dict[str, Any]) -> None:
    one = parse_body(written(message, way), "abort", None, 0)
    assert one.payload == parse_body(written([message], way), "abort", None, 0).payload
    assert json.loads(one.payload) == message


@given(st.lists(OBJECT.map(lambda each: json.dumps(each).encode()) | BAD, min_size=1, max_size=6))
@example([b'{"a":1,"a":"\\u003a"}'])
def test_no_bad_element_costs_a_good_one(elements: list[bytes]) -> None:
    body = b"[" + b" , ".join(elements) + b"]"
    good = [each for each in elements if each not in WRONG]
    kept = parse_body(body, "quarantine", None, 0)
    assert kept.payload.splitlines() == good
    assert [each.position for each in kept.rejects] == [
        f"element {number}" for number, each in enumerate(elements, 1) if each in WRONG
    ]
    dropped = parse_body(body, "drop", None, 0)
    assert (dropped.payload, dropped.dropped) == (kept.payload, len(kept.rejects))
    stopped = parse_body(body, "abort", None, 0).stop
    assert stopped == (kept.rejects[0] if kept.rejects else None)


@given(st.binary(max_size=30) | st.text(alphabet='{}[],:"\\ a1', max_size=30).map(str.encode))
@example(b"[" * 100_000)
@example(b"[" * 2_000 + b"]" * 2_000)
@example(b'[{"a":"x]')
@example(b'"')
def test_any_bytes_are_taken_or_told_what_is_wrong(body: bytes) -> None:
    try:
        parsed = parse_body(body, "quarantine", STAMPS, MICROS)
    except MalformedBody:
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(body)
    else:
        assert parsed.payload.count(b"\n") == parsed.count
        assert all(type(orjson.loads(each)) is dict for each in parsed.payload.splitlines())


@given(OBJECTS, st.dictionaries(TEXT, TEXT | st.integers(-9, 9), max_size=3), WAYS)
def test_appended_fields_never_replace_what_is_there(objects: list[Any], fields: Any, way: dict[str, Any]) -> None:
    parsed = _all(written(objects, way), None, 0) or _each(written(objects, way), "abort", None, 0)
    found = with_fields(parsed.payload, fields).split(b"\n")[:-1]
    assert [json.loads(each) for each in found] == [{**fields, **each} for each in objects]
    for each in found:
        json.loads(each, object_pairs_hook=once)


def once(pairs: list[tuple[str, Any]]) -> None:
    assert len({name for name, _ in pairs}) == len(pairs)
