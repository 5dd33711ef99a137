"""The node of one ranked key in the union-find: a root, which holds a profile, or moved, which points to a smaller key.

A link is applied at the larger of its two keys, and every step only lowers a pointer: so propagation ends, a repeat
changes nothing, and the root of a finished set is its smallest key, whatever the order of arrival. A node sends joins
and links to other nodes, and shortcuts for what had to be forwarded. Nodes are changed in place, for speed: the code
that decoded a node owns it.
"""

from collections.abc import Sequence
from typing import Any, Final

from projections.profiles import crdt
from projections.profiles.crdt import MERGE_FUNCTIONS, CounterKey, MergeFunction, Registers, Stamp

Edges = dict[str, Stamp]  # `larger\0smaller` → stamp of the first message that named both
EDGE_SEPARATOR: Final = "\0"  # occurs in no key
MAX_REMEMBERED_LINKS: Final = 1_000  # of a moved node; other links are only sent again when they are repeated


class Node:
    """The state of one identity key.

    Messages up to `forgotten` (microseconds; 0: none) do not count. `person` is the id of the person who was forgotten
    then, in `ForgottenPersons`.
    """

    __slots__ = ("edges", "forgotten", "key", "parent", "person", "registers")

    def __init__(  # in the order of the stored state
        self,
        key: str,
        parent: str = "",
        registers: Registers | None = None,
        edges: Edges | None = None,
        forgotten: int = 0,
        person: str = "",
    ) -> None:
        self.key = key
        self.parent = parent
        self.registers: Registers = {} if registers is None else registers
        self.edges: Edges = {} if edges is None else edges
        self.forgotten = forgotten
        self.person = person

    def identities(self) -> list[str]:
        """Return the keys of the profile, best first."""
        return sorted({self.key, *(key for edge in self.edges for key in edge.split(EDGE_SEPARATOR))})


Sender = tuple[str, int]  # the key of the node that sent a state, and its `forgotten` at that time


class Outbox:
    """Messages from nodes to other nodes, joined by target."""

    def __init__(self, max_identities: int) -> None:
        self.max_identities = max_identities
        self.joins: dict[tuple[str, Sender], tuple[Registers, Edges]] = {}
        self.links: set[tuple[str, str, Sender]] = set()  # larger key, smaller key, the node whose pointer implies it
        self.shortcuts: dict[Sender, str] = {}  # where the state of a sender was forwarded to
        self.over_limit: set[str] = set()  # keys of profiles with more identities than are kept

    def __bool__(self) -> bool:
        return bool(self.joins or self.links or self.shortcuts)

    def join(self, target: str, sender: Sender, registers: Registers, edges: Edges) -> None:
        """Send a state to `target`, which joins it; the outbox owns it from now on."""
        queued = self.joins.get((target, sender))
        if queued is None:
            self.joins[target, sender] = (registers, edges)
        else:
            crdt.join_registers(queued[0], registers)
            join_edges(queued[1], edges)

    def link(self, one: str, other: str, sender: Sender) -> None:
        """Send a link of two keys to the larger of them."""
        if one != other:
            self.links.add((max(one, other), min(one, other), sender))

    def shortcut(self, sender: Sender, smaller: str) -> None:
        """Send the original sender of a state a smaller key to point to."""
        self.shortcuts[sender] = min(smaller, self.shortcuts.get(sender, smaller))


Plan = Sequence[tuple[str, MergeFunction | None]]  # by column; None for `latest`, which is inlined


def plan_of(columns: Sequence[str]) -> Plan:
    """Return the merge function of each column."""
    return [(name, None if name.startswith("latest:") else MERGE_FUNCTIONS[name.partition(":")[0]]) for name in columns]


def fold(  # called for every message: packing the arguments would cost more than the rest
    registers: Registers, counter: CounterKey, plan: Plan, values: Sequence[Any], at: int, batch: str, index: int
) -> None:
    """Merge the values of one message; None means no value."""
    for (name, function), value in zip(plan, values, strict=True):
        if value is None:
            continue
        if function is not None:
            function(registers, name, counter, value, at, batch, index)
            continue
        current = registers.get(name)
        if current is None or current[0] < at:
            registers[name] = [at, batch, index, value]
        elif current[0] == at:
            crdt.latest(registers, name, counter, value, at, batch, index)


def link(node: Node, smaller: str, edge: Stamp, outbox: Outbox) -> None:
    """Link a node to a smaller key, as a message names both. A link that was sent before is not sent again."""
    name = f"{node.key}{EDGE_SEPARATOR}{smaller}"
    current = node.edges.get(name)
    if not (edge[0] <= node.forgotten and node.forgotten) and (current is None or edge < current):
        _point(node, smaller, {name: edge}, outbox)


def follow(node: Node, smaller: str, outbox: Outbox) -> None:
    """Link a node to a smaller key, as another node's pointer implies."""
    _point(node, smaller, {}, outbox)


def _point(node: Node, smaller: str, edge: Edges, outbox: Outbox) -> None:
    sender = (node.key, node.forgotten)
    if not node.parent:
        join_edges(node.edges, edge)
        trim_identities(node, outbox)
        outbox.join(smaller, sender, node.registers, node.edges)
        node.parent, node.edges, node.registers = smaller, dict(edge), crdt.own_counts(node.registers, node.key)
        return
    if edge:
        if len(node.edges) < MAX_REMEMBERED_LINKS:
            node.edges |= edge
        outbox.join(node.parent, sender, {}, edge)
    if node.parent != smaller:
        outbox.link(node.parent, smaller, sender)
        node.parent = min(node.parent, smaller)


def shorten(node: Node, smaller: str, had_forgotten: int) -> None:
    """Point to a smaller key. Other nodes' pointers imply it, so it is not sent on, and losing it does no harm.

    Without it, a state that is sent along a chain of nodes would take as many steps as the chain is long.
    """
    if smaller < node.parent and node.forgotten == had_forgotten:
        node.parent = smaller


def join(node: Node, sender: Sender, registers: Registers, edges: Edges, outbox: Outbox) -> None:
    """Merge a state into a root, or forward it to where the profile is. After several joins, call `trim` once."""
    if not node.parent:
        crdt.join_registers(node.registers, registers)
        join_edges(node.edges, edges)
    elif registers or edges:
        outbox.join(node.parent, sender, registers, edges)
        outbox.shortcut(sender, node.parent)


def trim_identities(node: Node, outbox: Outbox) -> None:
    """Keep the first of too many identities of a profile, and note that there were more."""
    if node.parent:
        return
    too_many_edges = crdt.keep_smallest(node.edges, outbox.max_identities)
    if crdt.trim_counts(node.registers, outbox.max_identities) or too_many_edges:
        outbox.over_limit.add(node.key)


def forget(node: Node, at: int, person: str) -> None:
    """Remove all that comes from messages up to `at`; later messages are about a new person."""
    if at > node.forgotten:
        node.forgotten, node.person, node.parent, node.edges = at, person, "", {}
        node.registers = crdt.after(node.registers, at)


def remembered(node: Node, registers: Registers, edges: Edges) -> tuple[Registers, Edges]:
    """Return what remains of a state after the node's person was forgotten."""
    return crdt.after(registers, node.forgotten), {
        edge: stamp for edge, stamp in edges.items() if stamp[0] > node.forgotten
    }


def join_edges(edges: Edges, other: Edges) -> None:
    """Keep the first message of every edge."""
    for edge, stamp in other.items():
        current = edges.get(edge)
        if current is None or stamp < current:
            edges[edge] = stamp
