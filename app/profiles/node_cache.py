"""The decoded nodes of a partition in memory, in front of its store."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from projections.profiles.identity_node import Node
from projections.profiles.updates import decode_node

USUAL_BYTES: Final = 1_024  # of a stored node; in memory it takes several times as much

Fetch = Callable[[list[bytes]], Sequence[bytes | None]]


class NodeCache:
    """Holds about `max_nodes` nodes, the last used ones, and fewer when they are large.

    Changed nodes are held until they are stored.
    """

    def __init__(self, fetch: Fetch, max_nodes: int) -> None:
        self._fetch = fetch
        self._max_nodes = max_nodes
        self._bytes = 0  # stored size of the nodes that were loaded or changed since the last eviction
        self._recent: dict[str, Node] = {}
        self._older: dict[str, Node] = {}  # evicted next, unless they are used again
        self.changed: dict[str, Node] = {}

    def load(self, keys: Iterable[str]) -> dict[str, Node]:
        """Return the nodes of keys, new ones where nothing is stored."""
        nodes: dict[str, Node] = {}
        missing: list[str] = []
        recent, older = self._recent, self._older
        for key in set(keys):
            node = recent.get(key) or older.get(key)
            if node is None:
                missing.append(key)
            else:
                nodes[key] = recent[key] = node
        if missing:
            missing.sort()  # neighbours share blocks
            for key, stored in zip(missing, self._fetch([key.encode() for key in missing]), strict=True):
                nodes[key] = recent[key] = decode_node(key, stored)
                self._bytes += len(stored or b"")
        return nodes

    def peek(self, key: str) -> Node | None:
        """Return the node of a key without caching it; None when nothing is stored."""
        node = self._recent.get(key) or self._older.get(key)
        if node is None:
            (stored,) = self._fetch([key.encode()])
            node = decode_node(key, stored) if stored is not None else None
        return node

    def mark_stored(self, size: int) -> None:
        """Note that all changed nodes are stored, in `size` bytes, and evict the nodes that were not used for long."""
        self.changed.clear()
        self._bytes += size
        if max(len(self._recent), self._bytes // USUAL_BYTES) > self._max_nodes // 2:
            self._older, self._recent, self._bytes = self._recent, {}, 0
