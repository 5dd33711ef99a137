"""Puts constant fields into NDJSON records, without rewriting what they hold. A record's own field wins."""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

EMPTY: Final = re.compile(rb"^\{[ \t]*\}$", re.MULTILINE)
ESCAPED: Final = re.compile(rb"\\[u/]")  # a name may be written with these


def with_fields(payload: bytes, fields: Mapping[str, Any]) -> bytes:
    """Return the lines of `payload`, each with the fields that it lacks at its front."""
    if not payload or not fields:
        return payload
    if EMPTY.search(payload) or ESCAPED.search(payload) or _names_one(payload, fields):
        return b"".join(_with_fields(line, fields) for line in payload.splitlines(keepends=True))
    front = b"{" + orjson.dumps(fields)[1:-1] + b","
    return front + payload[1:].replace(b"\n{", b"\n" + front)


def _with_fields(line: bytes, fields: Mapping[str, Any]) -> bytes:
    record = orjson.loads(line)
    lacking = orjson.dumps({name: value for name, value in fields.items() if name not in record})[1:-1]
    if not lacking:
        return line
    return b"{" + lacking + (b"," if record else b"") + line[1:]


def _names_one(payload: bytes, fields: Mapping[str, Any]) -> bool:
    return any(orjson.dumps(name) in payload for name in fields)
