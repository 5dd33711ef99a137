"""The identities of one partition's profiles that have many links, stored with its state.

They follow from the nodes alone: whatever the order of arrival, and gone when a rebuild no longer links by them.
"""

from collections.abc import Mapping
from typing import Final

import orjson

from projections.profiles.fan_in import MIN_FAN_IN, fan_in_of
from projections.profiles.identity_node import Node
from projections.profiles.profile_view import kind_of

FACT: Final = "fan_in"
MAX_PROFILES: Final = 1_000  # stored; those whose identities have the most links
MAX_TRACKED_PROFILES: Final = 2_000  # in memory, before the others are dropped


class FanIn:
    """The number of links of each identity that has more than `MIN_FAN_IN`, by the root of its profile."""

    def __init__(self, stored: bytes | None) -> None:
        self._profiles: dict[str, Mapping[str, int]] = orjson.loads(stored or b"{}")
        self._is_changed = False

    @property
    def profiles(self) -> Mapping[str, Mapping[str, int]]:
        """The links by identity, by the root of the profile."""
        return self._profiles

    def exceeding(self, limits: Mapping[str, int]) -> list[tuple[str, str]]:
        """Return the identities with more links than the limit of their kind, most links first: root, ranked key."""
        rows = [
            (-count, root, key)
            for root, links in self._profiles.items()
            for key, count in links.items()
            if count > limits.get(kind_of(key), count)
        ]
        return [(root, key) for _, root, key in sorted(rows)]

    def inspect(self, node: Node) -> None:
        """Update the links of a changed node."""
        if len(node.edges) <= MIN_FAN_IN and node.key not in self._profiles:
            return  # the common case
        links = {} if node.parent else fan_in_of(node.edges)
        if links == self._profiles.get(node.key, {}):
            return
        self._is_changed = True
        if links:
            self._profiles[node.key] = links
        else:
            del self._profiles[node.key]
        if len(self._profiles) > MAX_TRACKED_PROFILES:
            self._drop_smallest()

    def take_changes(self) -> Mapping[str, bytes]:
        """Return what is to be stored since the last call."""
        if not self._is_changed:
            return {}
        self._is_changed = False
        self._drop_smallest()
        return {FACT: orjson.dumps(self._profiles)}

    def _drop_smallest(self) -> None:
        largest = sorted(self._profiles.items(), key=lambda item: (-max(item[1].values()), item[0]))
        self._profiles = dict(largest[:MAX_PROFILES])
