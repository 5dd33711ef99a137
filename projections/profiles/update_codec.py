"""The payloads of `updates.*` as JSON, and what is none."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from projections.profiles.updates import VALUES, Group, MappedMessages, NodeMessages


class MalformedUpdateError(ValueError):
    """The payload of an update is nothing that lanes or nodes say. What its values are isn't looked at."""


def encode_mapped(mapped: MappedMessages) -> bytes:
    """Return the payload of a `MappedBatch`."""
    groups = [[each.stream, each.columns, each.offset, each.batches, each.rows, each.counted] for each in mapped.groups]
    return orjson.dumps([groups, mapped.links])


def decode_mapped(payload: bytes) -> MappedMessages:
    """Return what the payload of a `MappedBatch` says.

    Raises:
        MalformedUpdateError: it says nothing.

    """
    try:
        groups, links = orjson.loads(payload)
        mapped = MappedMessages([Group(each[0], tuple(each[1]), *each[2:]) for each in groups], links)
        groups_are = all(
            _have(len(each.columns) + VALUES, each.rows) and _are(each.counted, str, int, int) for each in mapped.groups
        )
        whole = groups_are and _are(links, str, str, int, str, int)
    except (ValueError, TypeError, LookupError) as error:
        raise MalformedUpdateError(str(error)) from error
    if not whole:
        raise MalformedUpdateError("rows or links are not as long as they have to be")
    return mapped


def encode_told(told: NodeMessages) -> bytes:
    """Return the payload of a `NodeBatch`."""
    return orjson.dumps([told.joins, told.links, told.forget, told.shortcuts])


def decode_told(payload: bytes) -> NodeMessages:
    """Return what the payload of a `NodeBatch` says.

    Raises:
        MalformedUpdateError: it says nothing.

    """
    try:
        told = NodeMessages(*orjson.loads(payload))
        whole = (
            _are(told.joins, str, list, dict, dict)
            and _are(told.links, str, str, list)
            and _are([sender for _, sender, *_ in told.joins] + [sender for *_, sender in told.links], str, int)
            and _are(told.forget, str, int, list)
            and _are(told.shortcuts, str, str, int)
        )
    except (ValueError, TypeError) as error:
        raise MalformedUpdateError(str(error)) from error
    if not whole:
        raise MalformedUpdateError("what is told is not as long as it has to be")
    return told


def _have(width: int, rows: Iterable[Sequence[Any]]) -> bool:
    """Tell whether all rows are that long, and begin with a key: there are many of them."""
    return all(type(row) is list and len(row) == width and type(row[0]) is str for row in rows)


def _are(rows: Iterable[Sequence[Any]], *types: type) -> bool:
    """Tell whether the values of all rows are of these types."""
    wanted = list(types)
    return all(type(row) is list and [type(each) for each in row] == wanted for row in rows)
