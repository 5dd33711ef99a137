"""What the JSON formats share: JSON texts to records, with everything checked that could trouble a reader.

`take_all` is the fast path, for texts that are all in order; `take` says what is wrong with one.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from connectors.text.formats.records import Collector, Parsed
from connectors.text.timestamps import TimestampReader, UnusableTimestamp, shown
from schemas.json_depth import MAX_JSON_DEPTH, is_too_deep, may_be_too_deep


def take_all(records: Sequence[bytes], consumed: int, timestamps: TimestampReader | None) -> Parsed | None:
    """Every record, each without line ends; None when one of them needs a closer look."""
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
    import pyarrow as pa  # noqa: PLC0415 -- 25 MB that only reading needs

    from connectors.text.formats.timestamp_columns import micros_column  # noqa: PLC0415 -- it imports pyarrow

    try:
        return micros_column(timestamps, pa.array(stamps))
    except (pa.ArrowException, OverflowError, UnicodeError):
        return None  # of several types, or too large for any


def take(collector: Collector, record: bytes, timestamps: TimestampReader | None) -> None:
    """Take one record. Its line is the text as it was found, without line ends, which JSON allows only between tokens.

    A key that occurs twice stays; whoever decodes the line sees the last of them.
    """
    try:
        message = orjson.loads(record)
        if type(message) is not dict:
            collector.reject("not_an_object", f"is {shown(message)}, where a JSON object is needed", record)
            return
        if may_be_too_deep(record) and is_too_deep(message):
            collector.reject("too_deep", f"is nested over {MAX_JSON_DEPTH} levels deep", record)
            return
        micros = timestamps.micros(message.get(timestamps.field)) if timestamps else None
    except orjson.JSONDecodeError as error:
        collector.reject(*_complaint(record, error), record)
    except UnusableTimestamp as error:
        collector.reject(error.code, str(error), record)
    else:
        line = record.translate(None, b"\r\n") if b"\n" in record or b"\r" in record else record
        collector.accept(line, micros)


def _complaint(record: bytes, error: orjson.JSONDecodeError) -> tuple[str, str]:
    try:
        record.decode()
    except UnicodeDecodeError as broken:
        return "broken_encoding", f"isn't valid text in this `encoding` from its byte {broken.start + 1} on"
    if "depth" in error.msg:
        return "too_deep", f"is nested over {MAX_JSON_DEPTH} levels deep"
    return "invalid_json", f"isn't valid JSON: {error.msg} at its character {error.pos + 1}"
