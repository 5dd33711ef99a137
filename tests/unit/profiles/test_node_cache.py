"""The node cache is bounded by size, and holds changed nodes until they are stored."""

from collections.abc import Sequence

import pytest

from app.profiles.node_cache import USUAL_BYTES, NodeCache
from projections.profiles.identity_node import Node
from projections.profiles.updates import encode_node

MOST = 100


class FakeStore:
    """Has a node of one size for every key, and notes which are fetched."""

    def __init__(self, size: int) -> None:
        self.stored = encode_node(Node("", registers={"latest:text": [0, "b", 0, "x" * size]}))
        self.fetched: list[str] = []

    def fetch(self, keys: list[bytes]) -> Sequence[bytes | None]:
        self.fetched += [key.decode() for key in keys]
        return [self.stored for _ in keys]


def most_held(size: int) -> int:
    """How many nodes are still known when many were loaded since, one at a time."""
    store = FakeStore(size)
    nodes = NodeCache(store.fetch, MOST)
    for number in range(5 * MOST):
        nodes.load([f"{number}"])
        nodes.mark_stored(0)
    store.fetched.clear()
    for number in reversed(range(5 * MOST)):
        nodes.load([f"{number}"])
        if store.fetched:
            return 5 * MOST - 1 - number
    raise AssertionError("all of them are known")


@pytest.mark.parametrize("size", [10, 100 * USUAL_BYTES])
def test_the_cache_is_bounded_in_number_and_size(size: int) -> None:
    assert 0 < most_held(size) * max(size, USUAL_BYTES) <= 2 * MOST * USUAL_BYTES


def test_growth_of_cached_nodes_counts() -> None:
    store = FakeStore(0)
    nodes = NodeCache(store.fetch, MOST)
    nodes.load(["small"])
    for number in range(4):
        nodes.load([f"grows {number}"])
        nodes.mark_stored(MOST * USUAL_BYTES)
    store.fetched.clear()
    nodes.load(["small"])
    assert store.fetched == ["small"]


def test_changed_nodes_are_held_until_they_are_stored() -> None:
    store = FakeStore(100 * USUAL_BYTES)
    nodes = NodeCache(store.fetch, MOST)
    nodes.changed |= (mine := nodes.load(["mine"]))
    for number in range(5 * MOST):
        nodes.load([f"{number}"])
    assert nodes.load(["mine"])["mine"] is mine["mine"]
