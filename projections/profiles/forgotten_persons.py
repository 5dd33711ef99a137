"""The keys of forgotten persons, stored once in each partition; the nodes of a person refer to them by an id.

They are needed for what was under way when a person was forgotten: a state from before is dropped if its sender is one
of these keys. If each node had them itself, storage would grow with the square of their number.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

import orjson

from projections.profiles.identity_node import Node, Sender

ID_CHARACTERS: Final = 32
MAX_DECODED: Final = 16  # persons whose keys are held in memory

Load = Callable[[str], bytes | None]


class ForgottenPersons:
    """The keys of the persons who were forgotten in one partition. `load` returns what `take_changes` returned."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._changes: dict[str, bytes] = {}
        self._keys = lru_cache(MAX_DECODED)(self._decoded)

    def add(self, keys: Sequence[str]) -> str:
        """Return the id of the person with these keys, in order: a digest of them."""
        encoded = orjson.dumps(keys)
        person = hashlib.sha256(encoded).hexdigest()[:ID_CHARACTERS]
        self._changes[person] = encoded
        return person

    def take_changes(self) -> dict[str, bytes]:
        """Return the keys that were added since the last call, by id, to be stored with the nodes that have the ids."""
        changes, self._changes = self._changes, {}
        return changes

    def is_outdated(self, node: Node, sender: Sender) -> bool:
        """Return whether this was sent before the person, to whom both keys belonged, was forgotten by the sender."""
        key, had_forgotten = sender
        return had_forgotten < node.forgotten and key in self._keys(node.person)

    def _decoded(self, person: str) -> frozenset[str]:
        encoded = self._changes.get(person) or self._load(person)
        assert encoded is not None, "the keys are stored in the same step as the nodes that refer to them"
        return frozenset(orjson.loads(encoded))
