"""Validate JSON records for the JSON formats.

`parse_all` is the fast path for valid records; `collect_record` explains why a record is invalid.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from connectors.text.formats.records import Collector, Parsed
from connectors.text.timestamps import InvalidRecord, TimestampReader, format_value
from schemas.coded import Params
from schemas.json_values import MAX_JSON_DEPTH, is_too_deep, may_be_too_deep


def parse_all(records: Sequence[bytes], consumed: int, timestamps: TimestampReader | None) -> Parsed | None:
    """Parse records without line ends; None if one of them needs the exact path."""
    stamps: list[Any] = []
    field = timestamps.field if timestamps else ""
    for record in records:
        try:
            message = orjson.loads(record)
        except orjson.JSONDecodeError:
            return None
        if type(message) is not dict or may_be_too_deep(record):
            return None
        stamps.append(message.get(field))
    micros: bytes | None = b""
    if timestamps and stamps:
        micros = _micros(stamps, timestamps)
    if micros is None:
        return None
    return Parsed(consumed, b"\n".join((*records, b"")), len(records), micros)


def _micros(stamps: list[Any], timestamps: TimestampReader) -> bytes | None:
    import pyarrow as pa  # noqa: PLC0415 -- 25 MB, only needed for reading

    from connectors.text.formats.timestamp_columns import micros_column  # noqa: PLC0415 -- it imports pyarrow

    try:
        return micros_column(timestamps, pa.array(stamps))
    except (pa.ArrowException, OverflowError, UnicodeError):
        return None  # mixed types, or out of range


def collect_record(collector: Collector, record: bytes, timestamps: TimestampReader | None) -> None:
    """Accept or reject one record. The line is its text without line ends, which JSON allows only between tokens.

    A duplicate key stays; a decoder of the line sees the last value.
    """
    try:
        message = orjson.loads(record)
        if type(message) is not dict:
            collector.reject("not_an_object", {"found": format_value(message)}, record)
            return
        if may_be_too_deep(record) and is_too_deep(message):
            collector.reject("too_deep", {"max": MAX_JSON_DEPTH}, record)
            return
        micros = timestamps.micros(message.get(timestamps.field)) if timestamps else None
    except orjson.JSONDecodeError as error:
        code, params = syntax_error(record, error)
        collector.reject(code, params, record, error.msg)
    except InvalidRecord as error:
        collector.reject(error.code, error.params, record)
    else:
        line = record.translate(None, b"\r\n") if b"\n" in record or b"\r" in record else record
        collector.accept(line, micros)


def syntax_error(record: bytes, error: orjson.JSONDecodeError) -> tuple[str, Params]:
    """Return the code and the parameters of a record that is not JSON."""
    try:
        record.decode()
    except UnicodeDecodeError as broken:
        return "broken_encoding", {"byte": broken.start + 1}
    if "depth" in error.msg or "recursion" in error.msg:
        return "too_deep", {"max": MAX_JSON_DEPTH}
    return "invalid_json", {"at": error.pos + 1}
