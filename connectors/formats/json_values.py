"""What the JSON formats share: one JSON text to one record, with everything checked that could trouble a reader."""

from typing import Any, Final

import orjson

from connectors.formats.records import Collector
from connectors.timestamps import Timestamps, Unusable, shown

MOST_LEVELS: Final = 128


def take(collector: Collector, record: bytes, timestamps: Timestamps | None) -> None:
    """Take one record. Its line is the text as it was found, without line ends, which JSON allows only between tokens.

    A key that occurs twice stays; whoever decodes the line sees the last of them.
    """
    try:
        message = orjson.loads(record)
        if type(message) is not dict:
            collector.reject("not_an_object", f"is {shown(message)}, where a JSON object is needed", record)
            return
        if record.count(b"[") + record.count(b"{") > MOST_LEVELS and _levels(message) > MOST_LEVELS:
            collector.reject("too_deep", f"is nested over {MOST_LEVELS} levels deep", record)
            return
        micros = timestamps.micros(message.get(timestamps.field)) if timestamps else None
    except orjson.JSONDecodeError as error:
        collector.reject(*_complaint(record, error), record)
    except Unusable as error:
        collector.reject(error.code, str(error), record)
    else:
        line = record.translate(None, b"\r\n") if b"\n" in record or b"\r" in record else record
        collector.accept(line, micros)


def _levels(message: Any) -> int:
    """How deep a value is nested, without recursion; stops counting a little above the limit."""
    levels, front = 0, [message]
    while front and levels <= MOST_LEVELS:
        levels += 1
        front = [
            inner
            for each in front
            for inner in (each.values() if isinstance(each, dict) else each)
            if isinstance(inner, dict | list)
        ]
    return levels


def _complaint(record: bytes, error: orjson.JSONDecodeError) -> tuple[str, str]:
    try:
        record.decode()
    except UnicodeDecodeError as broken:
        return "broken_encoding", f"isn't valid text in this `encoding` from its byte {broken.start + 1} on"
    if "recursion" in error.msg:
        return "too_deep", f"is nested over {MOST_LEVELS} levels deep"
    return "invalid_json", f"isn't valid JSON: {error.msg} at its character {error.pos + 1}"
