"""Convert a JSON request body, an object or an array of objects held in memory, to NDJSON.

Stricter than files: duplicate keys are rejected. A valid body is decoded once and split by its bytes;
an invalid one is parsed element by element, so that its valid elements are accepted.
"""

import json
import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

import orjson

from connectors.contract import Reject
from connectors.text.encoding import BOM
from connectors.text.formats.json_scanner import STRING_END, closing_end, cut_at_boundaries, match_end, skip_blanks
from connectors.text.formats.json_values import syntax_error
from connectors.text.formats.records import EXCERPT_BYTES, OnError, Parsed
from connectors.text.timestamps import InvalidRecord, TimestampReader, format_value
from schemas.coded import CodedError
from schemas.json_values import MAX_JSON_DEPTH, is_too_deep, may_be_too_deep

MAX_MESSAGES: Final = 100_000  # per body; parsing stops at one more, which the caller rejects
BLANKS: Final = b" \t\r\n"
PLAIN_END: Final = re.compile(rb"[^,\]]*+")  # the end of a number or a literal
ESCAPED_COLON: Final = b"\\u003"


class MalformedBody(CodedError):
    """The body is not JSON and can't be split into elements."""


def parse_body(body: bytes, on_error: OnError, timestamps: TimestampReader | None, now: int) -> Parsed:
    """Return the records of a body. Records without the timestamp field get `now`, in microseconds.

    With `on_error` `abort` an invalid record rejects the whole body and is returned as `stop`. Of more than
    `MAX_MESSAGES` records at least one more than the limit is parsed.

    Raises:
        MalformedBody: the body is not JSON.

    """
    body = body.removeprefix(BOM)
    if not body.strip(BLANKS):
        raise MalformedBody("empty_body")
    return _parse_whole(body, timestamps, now) or _parse_each(body, on_error, timestamps, now)


def _parse_whole(body: bytes, timestamps: TimestampReader | None, now: int) -> Parsed | None:
    """Parse all records at once; None if one of them needs the exact path."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    messages: list[Any] = value if type(value) is list else [value]
    records = _split(body) if type(value) is list else [body.strip(BLANKS)]
    if (
        set(map(type, messages)) - {dict}
        or len(records) != len(messages)
        or not _is_unambiguous(body, value, records, messages)
    ):
        return None
    stamps = b""
    if timestamps is not None:
        try:
            stamps = array("q", [_micros(message, timestamps, now) for message in messages]).tobytes()
        except InvalidRecord:
            return None
    lines = b"\n".join(map(_one_line, records) if b"\n" in body or b"\r" in body else records)
    return Parsed(len(body), lines + b"\n" if records else b"", len(records), stamps)


def _split(body: bytes) -> Sequence[bytes]:
    """Split an array. The pieces are its elements if their number matches the number of objects."""
    content = body.strip(BLANKS)[1:-1].strip(BLANKS)
    if not content:
        return ()
    pieces, last = cut_at_boundaries(content, 0)
    return [*pieces, content[last:]]


def _is_unambiguous(body: bytes, value: Any, records: Sequence[bytes], messages: Sequence[Any]) -> bool:
    """Whether decoding dropped no duplicate key, and no value exceeds the nesting depth."""
    if ESCAPED_COLON in body or orjson.dumps(value).count(b":") != body.count(b":"):
        return False
    pairs = zip(records, messages, strict=True)
    return not any(may_be_too_deep(record) and is_too_deep(message) for record, message in pairs)


def _parse_each(body: bytes, on_error: OnError, timestamps: TimestampReader | None, now: int) -> Parsed:
    lines: list[bytes] = []
    stamps = array("q")
    rejects: list[Reject] = []
    for number, record in enumerate(islice(_elements(body), MAX_MESSAGES + 1), 1):
        try:
            micros = _validate(record, timestamps, now)
        except InvalidRecord as error:
            position, excerpt = f"element {number}", record[:EXCERPT_BYTES]
            reject = Reject(position, error.code, error.params, excerpt, error.detail)
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


def _validate(record: bytes, timestamps: TimestampReader | None, now: int) -> int:
    """Return the time of a record; raise `InvalidRecord` when it is invalid."""
    try:
        message = orjson.loads(record)
    except orjson.JSONDecodeError as error:
        code, params = syntax_error(record, error)
        raise InvalidRecord(code, params, detail=error.msg) from error
    if type(message) is not dict:
        raise InvalidRecord("not_an_object", {"found": format_value(message)})
    if is_too_deep(message):
        raise InvalidRecord("too_deep", {"max": MAX_JSON_DEPTH})
    json.loads(record, object_pairs_hook=_reject_duplicates, parse_int=str, parse_float=str)  # only keys matter
    return _micros(message, timestamps, now) if timestamps else now


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        duplicate = next(name for name in names if names.count(name) > 1)
        raise InvalidRecord("duplicate_key", {"key": format_value(duplicate)})


def _micros(message: dict[str, Any], timestamps: TimestampReader, now: int) -> int:
    value = message.get(timestamps.field)
    return now if value is None or value == "" else timestamps.micros(value)


def _one_line(record: bytes) -> bytes:
    return record.translate(None, b"\r\n")


def _elements(body: bytes) -> Iterator[bytes]:
    """Yield the elements of an array, or a single value, found by brackets and strings alone."""
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
        character = body[end : end + 1]
        if character == b"]":
            _check_end(body, end + 1)
            return
        if character != b",":
            raise MalformedBody("malformed_body", {"expected": ", or ]", "byte": end + 1})
        at = skip_blanks(body, end + 1)


def _element_end(body: bytes, at: int) -> int:
    match body[at : at + 1]:
        case b"{" | b"[":
            end = closing_end(body, at)
            if end is None:
                raise MalformedBody("unclosed_body", {"byte": at + 1})
            return end
        case b'"':
            return match_end(STRING_END, body, at + 1) + 1
        case _:
            scalar = PLAIN_END.match(body, at)
            assert scalar is not None
            if scalar.end() == at:
                raise MalformedBody("malformed_body", {"expected": "a value", "byte": at + 1})
            return scalar.end()


def _check_end(body: bytes, at: int) -> None:
    if body[at:].strip(BLANKS):
        raise MalformedBody("malformed_body", {"expected": "the end", "byte": at + 1})
