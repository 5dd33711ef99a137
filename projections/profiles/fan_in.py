"""Identities that messages link directly with unusually many others, such as a shared address or a kiosk's cookie."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from projections.profiles.identity_node import EDGE_SEPARATOR, Edges

MIN_FAN_IN: Final = 10  # identities with at most as many links are never reported


def fan_in_of(edges: Edges) -> Mapping[str, int]:
    """Return the number of links of each identity (ranked key) of a profile that has more than `MIN_FAN_IN`."""
    if len(edges) <= MIN_FAN_IN:
        return {}
    links = Counter(key for edge in edges for key in edge.split(EDGE_SEPARATOR))
    return {key: count for key, count in links.items() if count > MIN_FAN_IN}


def link_times(edges: Edges, key: str) -> list[int]:
    """Return the event time (microseconds since 1970 UTC) of the first message behind each link of a key, in order."""
    return sorted(stamp[0] for edge, stamp in edges.items() if key in edge.split(EDGE_SEPARATOR))
