"""What is said and told, in records that the broker takes: what nodes tell is cut, what raw messages say is bounded.

A state may be told in parts, as joins of the parts are a join of the whole. What one raw record says to a partition
can't be cut, as it counts once by that record's offset: what doesn't fit is left out.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import orjson

from projections.updates import Mapped, Told, encode_told

EDGES_AT_A_TIME: Final = 1_000


def left_out(mapped: Mapped, most_bytes: int) -> int:
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


def _size(mapped: Mapped) -> int:
    return sum(len(group.rows) for group in mapped.groups) + len(mapped.links)


def encoded_parts(told: Told, most_bytes: int) -> Iterator[bytes]:
    """Yield the payloads of the `NodeBatch`es that tell something, of so many bytes where it can be cut."""
    whole = encode_told(told)
    if len(whole) <= most_bytes:
        yield whole
        return
    part, size = Told(forget=told.forget, links=told.links, shortcuts=told.shortcuts), 0
    for each in _pieces(told):
        piece = _bytes(each)
        if size and size + piece > most_bytes:
            yield encode_told(part)
            part, size = Told(), 0
        part.joins.append(each)
        size += piece
    yield encode_told(part)


def _pieces(told: Told) -> Iterator[Any]:
    """Yield joins of a cell or some edges that add up to those that are told."""
    for target, sender, cells, edges in told.joins:
        for name, cell in cells.items():
            yield target, sender, {name: cell}, {}
        rest = iter(edges.items())
        while some := dict(islice(rest, EDGES_AT_A_TIME)):
            yield target, sender, {}, some


def _bytes(value: Any) -> int:
    return len(orjson.dumps(value)) + 1
