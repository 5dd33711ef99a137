"""Nodes in memory are few when they are large, and what was changed is never let go of before it is stored."""

from collections.abc import Sequence

import pytest

from app.profiles.node_cache import USUAL_BYTES, NodeCache
from projections.profiles.identity_node import Node
from projections.profiles.updates import encode_node

MOST = 100


class Shelf:
    """Has a node of one size for every key, and notes which are fetched."""

    def __init__(self, size: int) -> None:
        self.stored = encode_node(Node("", registers={"latest:text": [0, "b", 0, "x" * size]}))
        self.fetched: list[str] = []

    def fetch(self, keys: list[bytes]) -> Sequence[bytes | None]:
        self.fetched += [each.decode() for each in keys]
        return [self.stored for _ in keys]


def most_held(size: int) -> int:
    """How many nodes are still known when many were loaded since, one at a time."""
    shelf = Shelf(size)
    nodes = NodeCache(shelf.fetch, MOST)
    for number in range(5 * MOST):
        nodes.load([f"{number}"])
        nodes.mark_stored(0)
    shelf.fetched.clear()
    for number in reversed(range(5 * MOST)):
        nodes.load([f"{number}"])
        if shelf.fetched:
            return 5 * MOST - 1 - number
    raise AssertionError("all of them are known")


@pytest.mark.parametrize("size", [10, 100 * USUAL_BYTES])
def test_what_is_held_is_bounded_in_number_and_in_size(size: int) -> None:
    assert 0 < most_held(size) * max(size, USUAL_BYTES) <= 2 * MOST * USUAL_BYTES


def test_what_grows_in_memory_counts_too() -> None:
    shelf = Shelf(0)
    nodes = NodeCache(shelf.fetch, MOST)
    nodes.load(["small"])
    for number in range(4):
        nodes.load([f"grows {number}"])
        nodes.mark_stored(MOST * USUAL_BYTES)
    shelf.fetched.clear()
    nodes.load(["small"])
    assert shelf.fetched == ["small"]


def test_what_was_changed_is_held_until_it_is_stored() -> None:
    shelf = Shelf(100 * USUAL_BYTES)
    nodes = NodeCache(shelf.fetch, MOST)
    nodes.changed |= (mine := nodes.load(["mine"]))
    for number in range(5 * MOST):
        nodes.load([f"{number}"])
    assert nodes.load(["mine"])["mine"] is mine["mine"]
