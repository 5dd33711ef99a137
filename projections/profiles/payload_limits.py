"""Update records that fit into what the broker accepts: messages of nodes are split, mapped raw messages are bounded.

A state may be sent in parts, as a join of the parts is a join of the whole. The update of one raw record to a partition
can't be split, as it counts once by that record's offset: what does not fit is dropped.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import orjson

from projections.profiles.update_codec import encode_messages
from projections.profiles.updates import MappedMessages, NodeMessages

PIECE_ITEMS: Final = 1_000  # edges, or values of a register


def drop_excess(mapped: MappedMessages, max_bytes: int) -> int:
    """Drop the rows and links that do not fit into `max_bytes` of JSON, and return their number."""
    before = _size(mapped)
    remaining = max_bytes
    for group in mapped.groups:
        group.rows, remaining = _fitting(group.rows, remaining)
    mapped.links, _ = _fitting(mapped.links, remaining)
    return before - _size(mapped)


def _fitting(items: list[Any], max_bytes: int) -> tuple[list[Any], int]:
    """Return the items that fit, and the bytes that remain."""
    fitting = []
    for item in items:
        size = len(orjson.dumps(item)) + 1
        if size <= max_bytes:
            fitting.append(item)
            max_bytes -= size
    return fitting, max_bytes


def _size(mapped: MappedMessages) -> int:
    return sum(len(group.rows) for group in mapped.groups) + len(mapped.links)


def encoded_batches(messages: NodeMessages, max_bytes: int) -> Iterator[bytes]:
    """Yield the payloads of the `NodeBatch` records that hold the messages, of about `max_bytes` each."""
    whole = encode_messages(messages)
    if len(whole) <= max_bytes:
        yield whole
        return
    part, size = NodeMessages(), 0
    for piece in _pieces(messages):
        piece_size = len(encode_messages(piece))
        if size and size + piece_size > max_bytes:
            yield encode_messages(part)
            part, size = NodeMessages(), 0
        part.joins += piece.joins
        part.links += piece.links
        part.shortcuts += piece.shortcuts
        size += piece_size
    yield encode_messages(part)


def _pieces(messages: NodeMessages) -> Iterator[NodeMessages]:
    """Yield pieces that add up to the messages, in the order they are applied: parts of states, shortcuts, links."""
    for target, sender, registers, edges in messages.joins:
        for name, register in registers.items():
            for part in _parts(register) if isinstance(register, dict) else (register,):
                yield NodeMessages(joins=[(target, sender, {name: part}, {})])
        for part in _parts(edges):
            yield NodeMessages(joins=[(target, sender, {}, part)])
    for shortcut in messages.shortcuts:
        yield NodeMessages(shortcuts=[shortcut])
    for link in messages.links:
        yield NodeMessages(links=[link])


def _parts(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    items = iter(values.items())
    while part := dict(islice(items, PIECE_ITEMS)):
        yield part
