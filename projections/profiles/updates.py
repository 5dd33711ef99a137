"""From what lanes and nodes say to what nodes become: what `updates.*` carries, and how a batch of it is applied.

Rows are `[key, timestamp, batch number, index, offset difference, *values]`: lists, as JSON reads and writes them fast.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from projections.profiles import identity_node as nodes_of
from projections.profiles.crdt import Cells, join, own, tally
from projections.profiles.identity_node import Edges, Node, Outbox, Plan, Sender, plan_of
from projections.profiles.partitioning import partition_of_key

Row = list[Any]
KEY, AT, BATCH, INDEX, OFFSET, VALUES = range(6)


@dataclass(slots=True)
class Group:
    """Rows of one stream, alike in their columns; `batches` are the first halves of their message ids.

    `counted` names the messages that have to count once, however often they are sent: (batch, first index, how many).
    No two rows of a group are of one message.
    """

    stream: str
    columns: tuple[str, ...]
    offset: int  # of the first raw record behind them
    batches: list[str]
    rows: list[Row] = field(default_factory=list)
    counted: list[tuple[str, int, int]] = field(default_factory=list)


@dataclass(slots=True)
class MappedMessages:
    """What raw messages say to the nodes of one partition."""

    groups: list[Group] = field(default_factory=list)
    links: list[tuple[str, str, int, str, int]] = field(default_factory=list)  # larger, smaller, *stamp

    def spoken_to(self) -> Iterator[str]:
        """Yield every key that is spoken to, some more than once."""
        for group in self.groups:
            for row in group.rows:
                yield row[KEY]
        for each in self.links:
            yield each[0]


@dataclass(slots=True)
class NodeMessages:
    """What nodes tell nodes of one partition, and whom people want forgotten there: (key, moment, keys together).

    A shortcut is (key, smaller key, up to when the first had forgotten when it sent what was sent on).
    """

    joins: list[tuple[str, Sender, Cells, Edges]] = field(default_factory=list)
    links: list[tuple[str, str, Sender]] = field(default_factory=list)
    forget: list[tuple[str, int, Sequence[str]]] = field(default_factory=list)
    shortcuts: list[tuple[str, str, int]] = field(default_factory=list)

    def spoken_to(self) -> Iterator[str]:
        """Yield every key that is spoken to, some more than once."""
        for told in (self.joins, self.links, self.forget, self.shortcuts):
            for each in told:
                yield each[0]


@dataclass(slots=True)
class FoldedMessages:
    """What many raw messages say to the nodes of one partition, folded for each of them before any node is loaded.

    `cells` has every key that is spoken to with a message, `tallies` what is counted: (key, cell, messages, total,
    newest stamp); links and what is counted are as `MappedMessages` and `Group` have them.
    """

    cells: dict[str, Cells] = field(default_factory=dict)
    tallies: list[tuple[str, str, int, int | None, list[Any]]] = field(default_factory=list)
    links: list[tuple[str, str, int, str, int]] = field(default_factory=list)
    counted: list[tuple[str, int, int]] = field(default_factory=list)
    references: dict[str, bytes] = field(default_factory=dict)

    def spoken_to(self) -> Iterator[str]:
        """Yield every key that is spoken to, some more than once."""
        yield from self.cells
        for each in self.links:
            yield each[0]


def encode_node(node: Node) -> bytes:
    """Return a node as a store keeps it; its key stands elsewhere."""
    return orjson.dumps([node.parent, node.cells, node.edges, node.forgotten, node.together])


def canonical(node: Node) -> bytes:
    """Return what two nodes that know the same have in common, byte for byte."""
    return orjson.dumps([node.key, node.parent, node.cells, node.edges, node.forgotten], option=orjson.OPT_SORT_KEYS)


def decode_node(key: str, stored: bytes | None) -> Node:
    """Return the node of a key; a new one when nothing is stored."""
    return Node(key, *orjson.loads(stored)) if stored is not None else Node(key)


def in_slices(mapped: MappedMessages, rows: int) -> Iterator[MappedMessages]:
    """Yield what is said in parts of about so many rows, and then of so many links: less than twice as many of both."""
    part, size = MappedMessages(), 0
    for group in mapped.groups:
        for begin in range(0, len(group.rows), rows):
            some = replace(group, rows=group.rows[begin : begin + rows], counted=[])
            part.groups.append(some)
            size += len(some.rows)
            if size >= rows:
                yield part
                part, size = MappedMessages(), 0
    for begin in range(0, len(mapped.links), rows):
        part.links = mapped.links[begin : begin + rows]
        yield part
        part = MappedMessages()
    if part.groups:
        yield part


def apply_mapped(mapped: MappedMessages, nodes: Mapping[str, Node], outbox: Outbox) -> None:
    """Fold rows and links into their nodes, all of which are in `nodes`."""
    on_the_way: dict[str, Cells] = {}  # what moved nodes have to pass on
    most = outbox.most_identities
    for group in mapped.groups:
        plan = plan_of(group.columns)
        for row in group.rows:
            node = nodes[row[KEY]]
            _apply_row(node, row, group.batches, plan, on_the_way)
            if len(node.edges) >= most:
                nodes_of.trim(node, outbox)  # its own count may be one more than are kept
    _pass_on(on_the_way, nodes, outbox)
    _apply_links(mapped.links, nodes, outbox)


def apply_folded(folded: FoldedMessages, nodes: Mapping[str, Node], outbox: Outbox) -> None:
    """Join what was folded with its nodes, all of which are in `nodes`; its cells are taken over.

    What a node has forgotten must have been left out: of what is folded nobody can tell any more.
    """
    on_the_way: dict[str, Cells] = {}
    for key, news in folded.cells.items():
        cells = _cells_of(nodes[key], on_the_way)
        if cells:
            join(cells, news)
        else:
            cells |= news
    for key, name, messages, total, newest in folded.tallies:
        node = nodes[key]
        tally(_cells_of(node, on_the_way), name, (key, node.forgotten), messages, total, newest)
        if len(node.edges) >= outbox.most_identities:
            nodes_of.trim(node, outbox)
    _pass_on(on_the_way, nodes, outbox)
    _apply_links(folded.links, nodes, outbox)


def _cells_of(node: Node, on_the_way: dict[str, Cells]) -> Cells:
    """Return where to fold what a node is told: its own cells, or when it has moved, those that it will pass on."""
    if not node.parent:
        return node.cells
    if node.key not in on_the_way:
        on_the_way[node.key] = own(node.cells, node.key)
    return on_the_way[node.key]


def _pass_on(on_the_way: Mapping[str, Cells], nodes: Mapping[str, Node], outbox: Outbox) -> None:
    for key, news in on_the_way.items():
        node = nodes[key]
        node.cells = own(news, key)
        outbox.join(node.parent, (key, node.forgotten), news, {})


def _apply_links(links: Iterable[tuple[str, str, int, str, int]], nodes: Mapping[str, Node], outbox: Outbox) -> None:
    for larger, smaller, at, batch, index in links:
        nodes_of.link(nodes[larger], smaller, [at, batch, index], outbox)


def _apply_row(node: Node, row: Row, batches: Sequence[str], plan: Plan, on_the_way: dict[str, Cells]) -> None:
    at = row[AT]
    if at <= node.forgotten and node.forgotten:
        return
    cells = _cells_of(node, on_the_way) if node.parent else node.cells
    nodes_of.fold(cells, (node.key, node.forgotten), plan, row[VALUES:], at, batches[row[BATCH]], row[INDEX])


def apply_told(told: NodeMessages, nodes: Mapping[str, Node], outbox: Outbox) -> None:
    """Have nodes do what other nodes tell them, all of which are in `nodes`."""
    for key, moment, together in told.forget:
        nodes_of.forget(nodes[key], moment, together)
    for key, (sender, had_forgotten), cells, edges in told.joins:
        nodes_of.join(nodes[key], (sender, had_forgotten), cells, edges, outbox)
    for key in {each[0] for each in told.joins}:
        nodes_of.trim(nodes[key], outbox)
    for key, smaller, had_forgotten in told.shortcuts:
        nodes_of.shorten(nodes[key], smaller, had_forgotten)
    for larger, smaller, (sender, had_forgotten) in told.links:
        nodes_of.follow(nodes[larger], smaller, (sender, had_forgotten), outbox)


def told_by(outbox: Outbox, partitions: int) -> dict[int, NodeMessages]:
    """Return what an outbox holds by the partition that has to hear it."""
    found: dict[int, NodeMessages] = {}
    for (target, sender), (cells, edges) in outbox.joins.items():
        there = partition_of_key(target, partitions)
        found.setdefault(there, NodeMessages()).joins.append((target, sender, cells, edges))
    for larger, smaller, sender in sorted(outbox.links):
        there = partition_of_key(larger, partitions)
        found.setdefault(there, NodeMessages()).links.append((larger, smaller, sender))
    for (key, had_forgotten), smaller in outbox.shortcuts.items():
        there = partition_of_key(key, partitions)
        found.setdefault(there, NodeMessages()).shortcuts.append((key, smaller, had_forgotten))
    return found


def take_new(group: Group, seen: MutableMapping[str, list[list[int]]]) -> None:
    """Leave out the rows of messages that were counted before, and note those of the group as counted.

    `seen` holds, by batch, the indexes that were counted: disjoint [first, behind the last], in order.
    """
    if meets(group.counted, seen):
        group.rows = [row for row in group.rows if not _within(row[INDEX], seen.get(group.batches[row[BATCH]], ()))]
    note_counted(group.counted, seen)


def meets(counted: Iterable[tuple[str, int, int]], seen: Mapping[str, Sequence[Sequence[int]]]) -> bool:
    """Tell whether a message was counted before, of those that (batch, first index, how many) name."""
    return any(
        known_first < first + count and first < known_end
        for batch, first, count in counted
        for known_first, known_end in seen.get(batch, ())
    )


def note_counted(counted: Iterable[tuple[str, int, int]], seen: MutableMapping[str, list[list[int]]]) -> None:
    """Note messages as counted."""
    for batch, first, count in counted:
        seen[batch] = _with(seen.get(batch, ()), first, first + count)


def _within(index: int, spans: Iterable[Sequence[int]]) -> bool:
    return any(first <= index < end for first, end in spans)


def _with(spans: Iterable[Sequence[int]], first: int, end: int) -> list[list[int]]:
    apart = []
    for known_first, known_end in spans:
        if known_end < first or end < known_first:
            apart.append([known_first, known_end])
        else:
            first, end = min(first, known_first), max(end, known_end)
    return sorted([*apart, [first, end]])
