"""Opaque page cursors: the key behind which a page begins, bound to the list that it came from. No queries here."""

import base64
import binascii
import hashlib
import json

from app.store.models import InvalidCursorError

Key = tuple[int | str, ...]

ADVICE = (
    "take `next_cursor` of the page before as it was given, with the same filter and sort, or start without a cursor"
)


def fingerprint(*question: object) -> str:
    """Return a mark of a filter and a sort: frozen values whose `repr` says all."""
    return hashlib.sha256(repr(question).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def encode(mark: str, key: Key) -> str:
    """Return the cursor of the page behind `key`."""
    text = json.dumps([mark, *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, mark: str, types: tuple[type, ...]) -> Key:
    """Return the key in a cursor of this list; its parts have the types of the columns.

    Raises:
        InvalidCursorError: it is none, or it belongs to another list.

    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise InvalidCursorError(f"the cursor can't be read: {ADVICE}") from error
    if not isinstance(found, list) or len(found) != len(types) + 1 or not _fits(found[1:], types):
        raise InvalidCursorError(f"the cursor is not one of Entrepot's: {ADVICE}")
    if found[0] != mark:
        raise InvalidCursorError(f"the cursor belongs to another filter or sort: {ADVICE}")
    return tuple(found[1:])


def _fits(values: list[object], types: tuple[type, ...]) -> bool:
    return all(
        type(value) is kind and (not isinstance(value, int) or -(2**63) <= value < 2**63)
        for value, kind in zip(values, types, strict=True)
    )
