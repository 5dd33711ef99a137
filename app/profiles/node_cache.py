"""The nodes of a partition in memory, decoded, in front of its store: few when they are large. Knows no Kafka."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from projections.profiles.identity_node import Node
from projections.profiles.updates import decode_node

USUAL_BYTES: Final = 1_024  # of a node as it is stored; in memory it is several times as large

Fetch = Callable[[list[bytes]], Sequence[bytes | None]]


class NodeCache:
    """Keeps about `most` nodes, those used last, and fewer when they are large.

    What was changed and not stored yet is held in any case.
    """

    def __init__(self, fetch: Fetch, most: int) -> None:
        self._fetch = fetch
        self._most = most
        self._bytes = 0  # as they are stored, of those that came or were changed since the older ones were let go of
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
                self._bytes += len(stored or b"")
        return found

    def peek(self, key: str) -> Node | None:
        """Return the node of a key without keeping it; None when nothing is known."""
        node = self._recent.get(key) or self._older.get(key)
        if node is None:
            (stored,) = self._fetch([key.encode()])
            node = decode_node(key, stored) if stored is not None else None
        return node

    def stored(self, size: int) -> None:
        """Note that all changes are in the store, in so many bytes, and let go of what wasn't used for long."""
        self.changed.clear()
        self._bytes += size
        if max(len(self._recent), self._bytes // USUAL_BYTES) > self._most // 2:
            self._older, self._recent, self._bytes = self._recent, {}, 0
