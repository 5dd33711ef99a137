"""One identity key of the union-find: it holds a profile (a root), or names a smaller key that does (moved).

A link is handled where the larger of its two keys lives, and every step only lowers a pointer: so it ends, a repeat
changes nothing, and the root of a finished set is its smallest key, whatever the order of arrival. What a node tells
other nodes is a join or a link again, or a shorter way for what had to be sent on. Nodes are changed in place, for
speed: whoever decoded one owns it.
"""

from collections.abc import Sequence
from typing import Any, Final

from projections.profiles import crdt as merge
from projections.profiles.crdt import FOLDS, Cells, Counter, Fold, Stamp

Edges = dict[str, Stamp]  # `larger\0smaller` → stamp of the first message that named both
BETWEEN: Final = "\0"  # no key has it
REMEMBERED_LINKS: Final = 1_000  # of a moved node; what is not remembered is only told again


class Node:
    """What is known under one identity key.

    `forgotten` is a moment in microseconds, and no message up to it counts (0: all do); `together` are all the keys of
    the person who was forgotten then.
    """

    __slots__ = ("cells", "edges", "forgotten", "key", "parent", "together")

    def __init__(  # as it is stored
        self,
        key: str,
        parent: str = "",
        cells: Cells | None = None,
        edges: Edges | None = None,
        forgotten: int = 0,
        together: Sequence[str] = (),
    ) -> None:
        self.key = key
        self.parent = parent
        self.cells: Cells = {} if cells is None else cells
        self.edges: Edges = {} if edges is None else edges
        self.forgotten = forgotten
        self.together = together

    def identities(self) -> list[str]:
        """Return the keys of the profile, best first."""
        return sorted({self.key, *(key for edge in self.edges for key in edge.split(BETWEEN))})


Sender = tuple[str, int]  # the key of the node that a state comes from, and up to when that node had forgotten


class Outbox:
    """What nodes have to tell others, joined for each of them."""

    def __init__(self, most_identities: int) -> None:
        self.most_identities = most_identities
        self.joins: dict[tuple[str, Sender], tuple[Cells, Edges]] = {}
        self.links: set[tuple[str, str, Sender]] = set()  # larger key, smaller key, whose pointer says so
        self.shortcuts: dict[Sender, str] = {}  # where what a node had sent was sent on to
        self.overfull: set[str] = set()  # keys of profiles with more identities than are kept

    def __bool__(self) -> bool:
        return bool(self.joins or self.links or self.shortcuts)

    def join(self, target: str, sender: Sender, cells: Cells, edges: Edges) -> None:
        """Have `target` join what is given; it is taken over."""
        known = self.joins.get((target, sender))
        if known is None:
            self.joins[target, sender] = (cells, edges)
        else:
            merge.join(known[0], cells)
            join_edges(known[1], edges)

    def link(self, one: str, other: str, sender: Sender) -> None:
        """Have two keys linked, at the larger of them."""
        if one != other:
            self.links.add((max(one, other), min(one, other), sender))

    def shortcut(self, sender: Sender, smaller: str) -> None:
        """Have the node that something came from point further from now on."""
        self.shortcuts[sender] = min(smaller, self.shortcuts.get(sender, smaller))


Plan = Sequence[tuple[str, Fold | None]]  # column by column; None for `latest`, which is done in line


def plan_of(columns: Sequence[str]) -> Plan:
    """Return how the values of a row with these columns are folded."""
    return [(name, None if name.startswith("latest:") else FOLDS[name.partition(":")[0]]) for name in columns]


def fold(  # called for every message: packing arguments would cost more than the rest
    cells: Cells, counter: Counter, plan: Plan, values: Sequence[Any], at: int, batch: str, index: int
) -> None:
    """Take over the values of one message; None says nothing."""
    for (name, function), value in zip(plan, values, strict=True):
        if value is None:
            continue
        if function is not None:
            function(cells, name, counter, value, at, batch, index)
            continue
        known = cells.get(name)
        if known is None or known[0] < at:
            cells[name] = [at, batch, index, value]
        elif known[0] == at:
            merge.latest(cells, name, counter, value, at, batch, index)


def link(node: Node, smaller: str, edge: Stamp, outbox: Outbox) -> None:
    """Link a node to a smaller key, as a message names both. What was told before is not told again."""
    name = f"{node.key}{BETWEEN}{smaller}"
    known = node.edges.get(name)
    if not (edge[0] <= node.forgotten and node.forgotten) and (known is None or edge < known):
        _point(node, smaller, {name: edge}, outbox)


def follow(node: Node, smaller: str, sender: Sender, outbox: Outbox) -> None:
    """Link a node to a smaller key, as it follows from what another node points to."""
    if not _outdated(node, sender):
        _point(node, smaller, {}, outbox)


def _point(node: Node, smaller: str, edge: Edges, outbox: Outbox) -> None:
    me = (node.key, node.forgotten)
    if not node.parent:
        join_edges(node.edges, edge)
        trim(node, outbox)
        outbox.join(smaller, me, node.cells, node.edges)
        node.parent, node.edges, node.cells = smaller, dict(edge), merge.own(node.cells, node.key)
        return
    if edge:
        if len(node.edges) < REMEMBERED_LINKS:
            node.edges |= edge
        outbox.join(node.parent, me, {}, edge)
    if node.parent != smaller:
        outbox.link(node.parent, smaller, me)
        node.parent = min(node.parent, smaller)


def shorten(node: Node, smaller: str, had_forgotten: int) -> None:
    """Point further. It follows from what other nodes point to, so nobody has to hear of it; nor is it ever needed.

    Without it, a state that was sent along a chain of nodes would take as many steps as the chain is long.
    """
    if smaller < node.parent and node.forgotten == had_forgotten:
        node.parent = smaller


def _outdated(node: Node, sender: Sender) -> bool:
    """Whether a node sent this before it knew that the person whom both belonged to was forgotten."""
    key, had_forgotten = sender
    return had_forgotten < node.forgotten and key in node.together


def join(node: Node, sender: Sender, cells: Cells, edges: Edges, outbox: Outbox) -> None:
    """Take over a state that was sent to a node, or send it on to where the profile is. Of many, `trim` comes last."""
    if _outdated(node, sender):
        cells = merge.after(cells, node.forgotten)
        edges = {edge: stamp for edge, stamp in edges.items() if stamp[0] > node.forgotten}
    if not node.parent:
        merge.join(node.cells, cells)
        join_edges(node.edges, edges)
    elif cells or edges:
        outbox.join(node.parent, sender, cells, edges)
        outbox.shortcut(sender, node.parent)


def trim(node: Node, outbox: Outbox) -> None:
    """Keep of too many identities of a profile those that come first, and note that there were more."""
    if node.parent:
        return
    too_many_edges = merge.keep_first(node.edges, outbox.most_identities)
    if merge.trim(node.cells, outbox.most_identities) or too_many_edges:
        outbox.overfull.add(node.key)


def forget(node: Node, moment: int, together: Sequence[str]) -> None:
    """Forget all that messages said up to `moment`; what they say later is that of a new person."""
    if moment > node.forgotten:
        node.forgotten, node.together, node.parent, node.edges = moment, together, "", {}
        node.cells = merge.after(node.cells, moment)


def join_edges(edges: Edges, other: Edges) -> None:
    """Keep of every edge the first message."""
    for edge, stamp in other.items():
        known = edges.get(edge)
        if known is None or stamp < known:
            edges[edge] = stamp
