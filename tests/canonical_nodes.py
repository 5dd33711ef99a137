"""Nodes as bytes to compare, whatever the order of their registers."""

import orjson

from projections.profiles.identity_node import Node


def canonical(node: Node) -> bytes:
    return orjson.dumps(
        [node.key, node.parent, node.registers, node.edges, node.forgotten], option=orjson.OPT_SORT_KEYS
    )
