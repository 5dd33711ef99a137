"""Nesting depth of untrusted JSON values without recursion, canonical JSON, and JSON pointers (RFC 6901)."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

MAX_JSON_DEPTH: Final = 200  # below the limits of orjson (254) and pydantic (255), with margin for wrapping objects
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def is_too_deep(value: Any) -> bool:
    """Whether a value is nested more than `MAX_JSON_DEPTH` levels deep."""
    deepest = next(islice(json_levels(value), MAX_JSON_DEPTH, None), ())
    return any(type(node) in {dict, list} for node in deepest)


def may_be_too_deep(text: bytes) -> bool:
    """Whether a valid JSON text has enough brackets for a value that is too deep: a cheap test before `is_too_deep`."""
    return len(text) > 2 * MAX_JSON_DEPTH and text.count(b"{") + text.count(b"[") > MAX_JSON_DEPTH


def json_levels(value: Any) -> Iterator[list[Any]]:
    """Yield the values of each nesting level, starting with the value itself."""
    level = [value]
    while level:
        yield level
        containers = [node for node in level if type(node) in {dict, list}]
        level = [child for node in containers for child in (node.values() if type(node) is dict else node)]


def canonical_json(value: Any) -> str:
    """Return the JSON of a value; equal values have equal text."""
    return _ENCODER.encode(value)


def json_pointer(*steps: str | int) -> str:
    """Return the JSON pointer for a path; without steps it refers to the whole value."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
