"""What is said and told, in records that the broker takes: what nodes tell is cut, what raw messages say is bounded.

A state may be told in parts, as joins of the parts are a join of the whole. What one raw record says to a partition
can't be cut, as it counts once by that record's offset: what doesn't fit is left out.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import orjson

from projections.profiles.update_codec import encode_told
from projections.profiles.updates import MappedMessages, NodeMessages

AT_A_TIME: Final = 1_000  # edges, or values of a cell


def left_out(mapped: MappedMessages, most_bytes: int) -> int:
    """Leave out the rows and links that are beyond so many bytes of JSON, and return how many they are."""
    left, before = most_bytes, _size(mapped)
    for group in mapped.groups:
        group.rows, left = _kept(group.rows, left)
    mapped.links, _ = _kept(mapped.links, left)
    return before - _size(mapped)


def _kept(items: list[Any], left: int) -> tuple[list[Any], int]:
    kept = []
    for each in items:
        size = _bytes(each)
        if size <= left:
            kept.append(each)
            left -= size
    return kept, left


def _size(mapped: MappedMessages) -> int:
    return sum(len(group.rows) for group in mapped.groups) + len(mapped.links)


def encoded_parts(told: NodeMessages, most_bytes: int) -> Iterator[bytes]:
    """Yield the payloads of the `NodeBatch`es that tell what nodes have to tell, of about so many bytes."""
    whole = encode_told(told)
    if len(whole) <= most_bytes:
        yield whole
        return
    part, size = NodeMessages(), 0
    for piece in _pieces(told):
        more = len(encode_told(piece))
        if size and size + more > most_bytes:
            yield encode_told(part)
            part, size = NodeMessages(), 0
        part.joins += piece.joins
        part.links += piece.links
        part.shortcuts += piece.shortcuts
        size += more
    yield encode_told(part)


def _pieces(told: NodeMessages) -> Iterator[NodeMessages]:
    """Yield what adds up to what is told, in the order that it is taken in: some of a cell, some edges, one link."""
    for target, sender, cells, edges in told.joins:
        for name, cell in cells.items():
            for some in _some(cell) if isinstance(cell, dict) else (cell,):
                yield NodeMessages(joins=[(target, sender, {name: some}, {})])
        for some in _some(edges):
            yield NodeMessages(joins=[(target, sender, {}, some)])
    for shortcut in told.shortcuts:
        yield NodeMessages(shortcuts=[shortcut])
    for link in told.links:
        yield NodeMessages(links=[link])


def _some(values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    rest = iter(values.items())
    while some := dict(islice(rest, AT_A_TIME)):
        yield some


def _bytes(value: Any) -> int:
    return len(orjson.dumps(value)) + 1
