"""JSON values from outside: how deep they may be nested, and pointers into them (RFC 6901). Never recurses."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

MAX_JSON_DEPTH: Final = 200  # orjson writes 254 levels, pydantic validates 255; both need room for what wraps a value


def is_too_deep(value: Any) -> bool:
    """Return whether a value is nested more than `MAX_JSON_DEPTH` levels deep."""
    deepest = next(islice(json_levels(value), MAX_JSON_DEPTH, None), ())
    return any(type(node) in {dict, list} for node in deepest)


def may_be_too_deep(text: bytes) -> bool:
    """Return whether a valid JSON text has as many brackets as a value has that is too deep. Spares parsed values."""
    return len(text) > 2 * MAX_JSON_DEPTH and text.count(b"{") + text.count(b"[") > MAX_JSON_DEPTH


def json_levels(value: Any) -> Iterator[list[Any]]:
    """Yield the value itself, then the values directly inside it, then those inside these, and so on."""
    level = [value]
    while level:
        yield level
        containers = [node for node in level if type(node) in {dict, list}]
        level = [child for node in containers for child in (node.values() if type(node) is dict else node)]


def json_pointer(*steps: str | int) -> str:
    """Return the pointer to the value at the end of the steps; without steps, to the whole value."""
    return "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in steps)
