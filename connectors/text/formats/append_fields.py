"""Add constant fields to NDJSON records without re-encoding them. A field of the record takes precedence."""

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

EMPTY_OBJECT: Final = re.compile(rb"^\{[ \t]*\}$", re.MULTILINE)
ESCAPE: Final = re.compile(rb"\\[u/]")  # a field name may be spelled with these


def append_fields(payload: bytes, fields: Mapping[str, Any]) -> bytes:
    """Insert into each line of `payload` the fields that it lacks, at its front."""
    if not payload or not fields:
        return payload
    if EMPTY_OBJECT.search(payload) or ESCAPE.search(payload) or _contains_field_name(payload, fields):
        return b"".join(_append_to_line(line, fields) for line in payload.splitlines(keepends=True))
    prefix = b"{" + orjson.dumps(fields)[1:-1] + b","
    return prefix + payload[1:].replace(b"\n{", b"\n" + prefix)


def _append_to_line(line: bytes, fields: Mapping[str, Any]) -> bytes:
    record = orjson.loads(line)
    missing = orjson.dumps({name: value for name, value in fields.items() if name not in record})[1:-1]
    if not missing:
        return line
    return b"{" + missing + (b"," if record else b"") + line[1:]


def _contains_field_name(payload: bytes, fields: Mapping[str, Any]) -> bool:
    return any(orjson.dumps(name) in payload for name in fields)
