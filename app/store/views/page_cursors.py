"""Opaque page cursors: the key after which a page starts, bound to the filter and sort of its list."""

import base64
import binascii
import hashlib
import json

from app.store.models import InvalidCursorError

PageKey = tuple[int | str, ...]

ADVICE = "pass `next_cursor` of the previous page unchanged, with the same filter and sort, or omit the cursor"


def fingerprint(*question: object) -> str:
    """Return the fingerprint of a filter and a sort: frozen values with a complete `repr`."""
    return hashlib.sha256(repr(question).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def encode_cursor(mark: str, key: PageKey) -> str:
    """Return the cursor of the page after `key`."""
    text = json.dumps([mark, *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, mark: str, types: tuple[type, ...]) -> PageKey:
    """Return the key in a cursor of this list; its parts have the given types.

    Raises:
        InvalidCursorError: it is malformed, or belongs to another list.

    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        content = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise InvalidCursorError(f"malformed cursor: {ADVICE}") from error
    if not isinstance(content, list) or len(content) != len(types) + 1 or not _fits(content[1:], types):
        raise InvalidCursorError(f"malformed cursor: {ADVICE}")
    if content[0] != mark:
        raise InvalidCursorError(f"the cursor belongs to another filter or sort: {ADVICE}")
    return tuple(content[1:])


def _fits(values: list[object], types: tuple[type, ...]) -> bool:
    return all(
        type(value) is kind and (not isinstance(value, int) or -(2**63) <= value < 2**63)
        for value, kind in zip(values, types, strict=True)
    )
