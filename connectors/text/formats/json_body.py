"""One JSON text, an object or an array of objects, to NDJSON: what comes with a request and is held in memory whole.

Stricter than files: no key twice in an object. A body in order is decoded once and cut by its
bytes; one that isn't is taken element by element, so that the good ones can be kept.
"""

import json
import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

import orjson

from connectors.contract import Reject
from connectors.text.formats.json_scanner import STRING_END, closing_end, cut_at_boundaries, match_end, skip_blanks
from connectors.text.formats.records import EXCERPT_BYTES, OnError, Parsed
from connectors.text.timestamps import TimestampReader, UnusableTimestamp, shown
from schemas.json_depth import MAX_JSON_DEPTH, is_too_deep, may_be_too_deep

MAX_MESSAGES: Final = 100_000  # of one text; who counts one more knows that there are too many
BLANKS: Final = b" \t\r\n"
PLAIN_END: Final = re.compile(rb"[^,\]]*+")  # of a number or a word
ESCAPED_COLON: Final = b"\\u003"


class MalformedBody(ValueError):
    """The text is no JSON at all, and can't be cut into elements. The message says where and why."""


def parse_body(body: bytes, on_error: OnError, timestamps: TimestampReader | None, now: int) -> Parsed:
    """Return the records of a body. `now`, in microseconds, dates those that lack the timestamp field.

    With `on_error` `abort` nothing is taken when one is bad: then `stop` says which. Of more than `MAX_MESSAGES` all
    may be read, or no more than one of those too many.

    Raises:
        MalformedBody: it is no JSON.

    """
    if not body.strip(BLANKS):
        raise MalformedBody("the body is empty: a JSON object, or an array of objects, is needed")
    return _all(body, timestamps, now) or _each(body, on_error, timestamps, now)


def _all(body: bytes, timestamps: TimestampReader | None, now: int) -> Parsed | None:
    """Every record; None when one of them needs a closer look."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    messages: list[Any] = value if type(value) is list else [value]
    records = _cut(body) if type(value) is list else [body.strip(BLANKS)]
    if set(map(type, messages)) - {dict} or len(records) != len(messages) or not _sound(body, value, records, messages):
        return None
    stamps = b""
    if timestamps is not None:
        try:
            stamps = array("q", [_micros(each, timestamps, now) for each in messages]).tobytes()
        except UnusableTimestamp:
            return None
    lines = b"\n".join(map(_one_line, records) if b"\n" in body or b"\r" in body else records)
    return Parsed(len(body), lines + b"\n" if records else b"", len(records), stamps)


def _cut(body: bytes) -> Sequence[bytes]:
    """Return pieces of an array: its elements, if there are as many of them as objects."""
    inside = body.strip(BLANKS)[1:-1].strip(BLANKS)
    if not inside:
        return ()
    pieces, rest = cut_at_boundaries(inside, 0)
    return [*pieces, inside[rest:]]


def _sound(body: bytes, value: Any, records: Sequence[bytes], messages: Sequence[Any]) -> bool:
    """Whether no key was dropped as a repeated one, and nothing is nested too deep."""
    if ESCAPED_COLON in body or orjson.dumps(value).count(b":") != body.count(b":"):
        return False
    pairs = zip(records, messages, strict=True)
    return not any(may_be_too_deep(record) and is_too_deep(message) for record, message in pairs)


def _each(body: bytes, on_error: OnError, timestamps: TimestampReader | None, now: int) -> Parsed:
    lines: list[bytes] = []
    stamps = array("q")
    rejects: list[Reject] = []
    for number, record in enumerate(islice(_elements(body), MAX_MESSAGES + 1), 1):
        try:
            micros = _checked(record, timestamps, now)
        except UnusableTimestamp as error:
            reject = Reject(f"element {number}", error.code, str(error), record[:EXCERPT_BYTES])
            if on_error == "abort":
                return Parsed(0, stop=reject)
            rejects.append(reject)
        else:
            lines.append(_one_line(record))
            stamps.append(micros)
    return Parsed(
        consumed=len(body),
        payload=b"\n".join((*lines, b"")),
        count=len(lines),
        timestamps=stamps.tobytes() if timestamps else b"",
        rejects=tuple(rejects) if on_error == "quarantine" else (),
        dropped=len(rejects) if on_error == "drop" else 0,
    )


def _checked(record: bytes, timestamps: TimestampReader | None, now: int) -> int:
    """Return when a record happened; raise `UnusableTimestamp` when it is none."""
    try:
        message = orjson.loads(record)
    except orjson.JSONDecodeError as error:
        raise _complaint(record, error) from error
    if type(message) is not dict:
        raise UnusableTimestamp("not_an_object", f"is {shown(message)}, where a JSON object is needed")
    if is_too_deep(message):
        raise _too_deep()
    json.loads(record, object_pairs_hook=_once, parse_int=str, parse_float=str)  # only keys matter
    return _micros(message, timestamps, now) if timestamps else now


def _once(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(each for each in names if names.count(each) > 1)
        raise UnusableTimestamp("duplicate_key", f"has the key {shown(twice)} twice in one object")


def _complaint(record: bytes, error: orjson.JSONDecodeError) -> UnusableTimestamp:
    try:
        record.decode()
    except UnicodeDecodeError as broken:
        return UnusableTimestamp("broken_encoding", f"isn't valid UTF-8 from its byte {broken.start + 1} on")
    if "depth" in error.msg or "recursion" in error.msg:
        return _too_deep()
    return UnusableTimestamp("invalid_json", f"isn't valid JSON: {error.msg} at its character {error.pos + 1}")


def _too_deep() -> UnusableTimestamp:
    return UnusableTimestamp("too_deep", f"is nested over {MAX_JSON_DEPTH} levels deep")


def _micros(message: dict[str, Any], timestamps: TimestampReader, now: int) -> int:
    found = message.get(timestamps.field)
    return now if found is None or found == "" else timestamps.micros(found)


def _one_line(record: bytes) -> bytes:
    return record.translate(None, b"\r\n")


def _elements(body: bytes) -> Iterator[bytes]:
    """Yield the elements of an array, or the one value there is, by brackets and strings alone."""
    start = skip_blanks(body, 0)
    if body[start : start + 1] != b"[":
        yield body[start:].rstrip(BLANKS)
        return
    at = skip_blanks(body, start + 1)
    if body[at : at + 1] == b"]":
        _check_end(body, at + 1)
        return
    while True:
        end = _element_end(body, at)
        yield body[at:end].rstrip(BLANKS)
        end = skip_blanks(body, end)
        sign = body[end : end + 1]
        if sign == b"]":
            _check_end(body, end + 1)
            return
        if sign != b",":
            raise MalformedBody(f"the body is not JSON: `,` or `]` is needed at byte {end + 1}")
        at = skip_blanks(body, end + 1)


def _element_end(body: bytes, at: int) -> int:
    match body[at : at + 1]:
        case b"{" | b"[":
            end = closing_end(body, at)
            if end is None:
                raise MalformedBody(f"the body is not JSON: what begins at byte {at + 1} is never closed")
            return end
        case b'"':
            return match_end(STRING_END, body, at + 1) + 1
        case _:
            plain = PLAIN_END.match(body, at)
            assert plain is not None
            if plain.end() == at:
                raise MalformedBody(f"the body is not JSON: a value is needed at byte {at + 1}")
            return plain.end()


def _check_end(body: bytes, at: int) -> None:
    if body[at:].strip(BLANKS):
        raise MalformedBody(f"the body is not JSON: there is more text behind its end, at byte {at + 1}")
