"""The payloads of `updates.*` as JSON, with a check of their shape."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from projections.profiles.updates import VALUES, Group, MappedMessages, NodeMessages


class MalformedUpdateError(ValueError):
    """The payload does not have the shape that lanes and nodes write. Its values are not checked."""


def encode_mapped(mapped: MappedMessages) -> bytes:
    """Return the payload of a `MappedBatch`."""
    groups = [
        [group.stream, group.columns, group.offset, group.batches, group.rows, group.counted] for group in mapped.groups
    ]
    return orjson.dumps([groups, mapped.links])


def decode_mapped(payload: bytes) -> MappedMessages:
    """Return the messages in the payload of a `MappedBatch`.

    Raises:
        MalformedUpdateError: it has another shape.

    """
    try:
        groups, links = orjson.loads(payload)
        mapped = MappedMessages([Group(group[0], tuple(group[1]), *group[2:]) for group in groups], links)
        is_valid = _have_types(links, str, str, int, str, int) and all(
            _have_width(len(group.columns) + VALUES, group.rows) and _have_types(group.counted, str, int, int)
            for group in mapped.groups
        )
    except (ValueError, TypeError, LookupError) as error:
        raise MalformedUpdateError(str(error)) from error
    if not is_valid:
        raise MalformedUpdateError("rows or links have the wrong length or type")
    return mapped


def encode_messages(messages: NodeMessages) -> bytes:
    """Return the payload of a `NodeBatch`."""
    return orjson.dumps([messages.joins, messages.links, messages.forget, messages.shortcuts])


def decode_messages(payload: bytes) -> NodeMessages:
    """Return the messages in the payload of a `NodeBatch`.

    Raises:
        MalformedUpdateError: it has another shape.

    """
    try:
        messages = NodeMessages(*orjson.loads(payload))
        senders = [sender for _, sender, *_ in messages.joins] + [sender for *_, sender in messages.links]
        is_valid = (
            _have_types(messages.joins, str, list, dict, dict)
            and _have_types(messages.links, str, str, list)
            and _have_types(senders, str, int)
            and _have_types(messages.forget, list, int, list)
            and all(type(key) is str for targets, _, keys in messages.forget for key in (*targets, *keys))
            and _have_types(messages.shortcuts, str, str, int)
        )
    except (ValueError, TypeError) as error:
        raise MalformedUpdateError(str(error)) from error
    if not is_valid:
        raise MalformedUpdateError("messages of nodes have the wrong length or type")
    return messages


def _have_width(width: int, rows: Iterable[Sequence[Any]]) -> bool:
    """Return whether all rows have this length and start with a key. Types are not checked: rows are many."""
    return all(type(row) is list and len(row) == width and type(row[0]) is str for row in rows)


def _have_types(rows: Iterable[Sequence[Any]], *types: type) -> bool:
    """Return whether the values of all rows have these types."""
    wanted = list(types)
    return all(type(row) is list and [type(value) for value in row] == wanted for row in rows)
