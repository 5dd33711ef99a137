"""The nodes of a partition that are in memory, decoded, in front of its store. Bounded; knows no Kafka."""

from collections.abc import Callable, Iterable, Sequence

from projections.node import Node
from projections.updates import decode_node

Fetch = Callable[[list[bytes]], Sequence[bytes | None]]


class Nodes:
    """Keeps about `most` nodes, those used last. What was changed and not stored yet is held in any case."""

    def __init__(self, fetch: Fetch, most: int) -> None:
        self._fetch = fetch
        self._most = most
        self._recent: dict[str, Node] = {}
        self._older: dict[str, Node] = {}  # of the generation before; those that are used again move up
        self.changed: dict[str, Node] = {}

    def load(self, keys: Iterable[str]) -> dict[str, Node]:
        """Return the nodes of keys, new ones where nothing is known."""
        found: dict[str, Node] = {}
        missing: list[str] = []
        recent, older = self._recent, self._older
        for key in set(keys):
            node = recent.get(key) or older.get(key)
            if node is None:
                missing.append(key)
            else:
                found[key] = recent[key] = node
        if missing:
            missing.sort()  # neighbours share blocks
            for key, stored in zip(missing, self._fetch([each.encode() for each in missing]), strict=True):
                found[key] = recent[key] = decode_node(key, stored)
        return found

    def peek(self, key: str) -> Node | None:
        """Return the node of a key without keeping it; None when nothing is known."""
        node = self._recent.get(key) or self._older.get(key)
        if node is None:
            (stored,) = self._fetch([key.encode()])
            node = decode_node(key, stored) if stored is not None else None
        return node

    def stored(self) -> None:
        """Note that all changes are in the store, and let go of what wasn't used for long."""
        self.changed.clear()
        if len(self._recent) > self._most // 2:
            self._older, self._recent = self._recent, {}
