"""The contents of `updates.*`, and how a batch of them is applied to nodes.

Rows are `[key, timestamp, batch number, index, offset difference, *values]`: lists, which JSON reads and writes fast.
"""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from projections.profiles import identity_node
from projections.profiles.crdt import Registers, join_registers, own_counts, tally
from projections.profiles.forgotten_persons import ForgottenPersons
from projections.profiles.identity_node import Edges, Node, Outbox, Plan, Sender, plan_of
from projections.profiles.partitioning import partition_of_key

UpdateRow = list[Any]
KEY, AT, BATCH, INDEX, OFFSET, VALUES = range(6)

Counted = tuple[str, int, int]  # consecutive messages: batch, first index, number of messages
Link = tuple[str, str, int, str, int]  # larger key, smaller key, *stamp


@dataclass(slots=True)
class Group:
    """Rows of one stream with the same columns; `batches` are the first halves of their message ids.

    `counted` names the messages that must count once, however often they are sent. No two rows of a group come from
    the same message.
    """

    stream: str
    columns: tuple[str, ...]
    offset: int  # of the first raw record that the rows come from
    batches: list[str]
    rows: list[UpdateRow] = field(default_factory=list)
    counted: list[Counted] = field(default_factory=list)


@dataclass(slots=True)
class MappedMessages:
    """Raw messages, mapped to the nodes of one partition."""

    groups: list[Group] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    def target_keys(self) -> Iterator[str]:
        """Yield the key of every row and link; keys repeat."""
        for group in self.groups:
            for row in group.rows:
                yield row[KEY]
        for link in self.links:
            yield link[0]


@dataclass(slots=True)
class NodeMessages:
    """Messages from nodes to the nodes of one partition, and persons to forget there: (keys there, instant, all keys).

    A shortcut is (key, smaller key, `forgotten` of the first when it sent the state that was forwarded).
    """

    joins: list[tuple[str, Sender, Registers, Edges]] = field(default_factory=list)
    links: list[tuple[str, str, Sender]] = field(default_factory=list)
    forget: list[tuple[Sequence[str], int, Sequence[str]]] = field(default_factory=list)
    shortcuts: list[tuple[str, str, int]] = field(default_factory=list)

    def target_keys(self) -> Iterator[str]:
        """Yield the key that each message is sent to; keys repeat."""
        for messages in (self.joins, self.links, self.shortcuts):
            for message in messages:
                yield message[0]
        for keys, _, _ in self.forget:
            yield from keys


@dataclass(slots=True)
class FoldedMessages:
    """Many raw messages for the nodes of one partition, folded by node before any node is loaded.

    `registers` has every key with a row, `tallies` the counts: (key, register, messages, total, newest stamp); `links`
    and `counted` are as in `MappedMessages` and `Group`.
    """

    registers: dict[str, Registers] = field(default_factory=dict)
    tallies: list[tuple[str, str, int, int | None, list[Any]]] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    counted: list[Counted] = field(default_factory=list)
    references: dict[str, bytes] = field(default_factory=dict)

    def target_keys(self) -> Iterator[str]:
        """Yield the key of every row and link; keys repeat."""
        yield from self.registers
        for link in self.links:
            yield link[0]


def encode_node(node: Node) -> bytes:
    """Return a node as it is stored, without its key."""
    return orjson.dumps([node.parent, node.registers, node.edges, node.forgotten, node.person])


def decode_node(key: str, stored: bytes | None) -> Node:
    """Return the node of a key; a new one when nothing is stored."""
    return Node(key) if stored is None else Node(key, *orjson.loads(stored))


def slices_of(mapped: MappedMessages, rows: int) -> Iterator[MappedMessages]:
    """Yield slices of about `rows` rows, and then of as many links: fewer than twice as many of both in each."""
    part, size = MappedMessages(), 0
    for group in mapped.groups:
        for begin in range(0, len(group.rows), rows):
            piece = replace(group, rows=group.rows[begin : begin + rows], counted=[])
            part.groups.append(piece)
            size += len(piece.rows)
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
    forwarded: dict[str, Registers] = {}  # by moved node: what it has to send to its parent
    limit = outbox.max_identities
    for group in mapped.groups:
        plan = plan_of(group.columns)
        for row in group.rows:
            node = nodes[row[KEY]]
            _apply_row(node, row, group.batches, plan, forwarded)
            if len(node.edges) >= limit:
                identity_node.trim_identities(node, outbox)  # its own count may be one more than are kept
    _forward(forwarded, nodes, outbox)
    _apply_links(mapped.links, nodes, outbox)


def apply_folded(folded: FoldedMessages, nodes: Mapping[str, Node], outbox: Outbox) -> None:
    """Join folded messages with their nodes, all of which are in `nodes`, and take ownership of the registers.

    Messages that a node has forgotten must have been excluded: folded messages cannot be separated again.
    """
    forwarded: dict[str, Registers] = {}
    for key, folded_registers in folded.registers.items():
        registers = _registers_of(nodes[key], forwarded)
        if registers:
            join_registers(registers, folded_registers)
        else:
            registers |= folded_registers
    for key, name, messages, total, newest in folded.tallies:
        node = nodes[key]
        tally(_registers_of(node, forwarded), name, (key, node.forgotten), messages, total, newest)
        if len(node.edges) >= outbox.max_identities:
            identity_node.trim_identities(node, outbox)
    _forward(forwarded, nodes, outbox)
    _apply_links(folded.links, nodes, outbox)


def _registers_of(node: Node, forwarded: dict[str, Registers]) -> Registers:
    """Return the registers to fold into: those of a root, or those that a moved node will forward."""
    if not node.parent:
        return node.registers
    if node.key not in forwarded:
        forwarded[node.key] = own_counts(node.registers, node.key)
    return forwarded[node.key]


def _forward(forwarded: Mapping[str, Registers], nodes: Mapping[str, Node], outbox: Outbox) -> None:
    for key, registers in forwarded.items():
        node = nodes[key]
        node.registers = own_counts(registers, key)
        outbox.join(node.parent, (key, node.forgotten), registers, {})


def _apply_links(links: Iterable[Link], nodes: Mapping[str, Node], outbox: Outbox) -> None:
    for larger, smaller, at, batch, index in links:
        identity_node.link(nodes[larger], smaller, [at, batch, index], outbox)


def _apply_row(node: Node, row: UpdateRow, batches: Sequence[str], plan: Plan, forwarded: dict[str, Registers]) -> None:
    at = row[AT]
    if at <= node.forgotten and node.forgotten:
        return
    registers = _registers_of(node, forwarded) if node.parent else node.registers
    identity_node.fold(registers, (node.key, node.forgotten), plan, row[VALUES:], at, batches[row[BATCH]], row[INDEX])


def apply_messages(
    messages: NodeMessages, nodes: Mapping[str, Node], outbox: Outbox, persons: ForgottenPersons
) -> None:
    """Apply messages from other nodes to their targets, all of which are in `nodes`."""
    for targets, at, keys in messages.forget:
        person = persons.add(keys)
        for key in targets:
            identity_node.forget(nodes[key], at, person)
    for key, (sender, had_forgotten), registers, edges in messages.joins:  # a decoded sender is a list
        node, sent_by = nodes[key], (sender, had_forgotten)
        is_outdated = persons.is_outdated(node, sent_by)
        remaining = identity_node.remembered(node, registers, edges) if is_outdated else (registers, edges)
        identity_node.join(node, sent_by, *remaining, outbox)
    for key in {message[0] for message in messages.joins}:
        identity_node.trim_identities(nodes[key], outbox)
    for key, smaller, had_forgotten in messages.shortcuts:
        identity_node.shorten(nodes[key], smaller, had_forgotten)
    for larger, smaller, (sender, had_forgotten) in messages.links:
        if not persons.is_outdated(nodes[larger], (sender, had_forgotten)):
            identity_node.follow(nodes[larger], smaller, outbox)


def by_partition(outbox: Outbox, partitions: int) -> dict[int, NodeMessages]:
    """Return the messages of an outbox by the partition of their targets."""
    messages: dict[int, NodeMessages] = {}
    for (target, sender), (registers, edges) in outbox.joins.items():
        partition = partition_of_key(target, partitions)
        messages.setdefault(partition, NodeMessages()).joins.append((target, sender, registers, edges))
    for larger, smaller, sender in sorted(outbox.links):
        partition = partition_of_key(larger, partitions)
        messages.setdefault(partition, NodeMessages()).links.append((larger, smaller, sender))
    for (key, had_forgotten), smaller in outbox.shortcuts.items():
        partition = partition_of_key(key, partitions)
        messages.setdefault(partition, NodeMessages()).shortcuts.append((key, smaller, had_forgotten))
    return messages


def drop_counted(group: Group, seen: MutableMapping[str, list[list[int]]]) -> None:
    """Drop the rows of messages that were counted before, and mark those of the group as counted.

    `seen` holds the counted indexes by batch: disjoint spans [first, end), in order.
    """
    if any_counted(group.counted, seen):
        group.rows = [row for row in group.rows if not _within(row[INDEX], seen.get(group.batches[row[BATCH]], ()))]
    mark_counted(group.counted, seen)


def any_counted(counted: Iterable[Counted], seen: Mapping[str, Sequence[Sequence[int]]]) -> bool:
    """Return whether any of these messages was counted before."""
    return any(
        seen_first < first + count and first < seen_end
        for batch, first, count in counted
        for seen_first, seen_end in seen.get(batch, ())
    )


def mark_counted(counted: Iterable[Counted], seen: MutableMapping[str, list[list[int]]]) -> None:
    """Mark messages as counted."""
    for batch, first, count in counted:
        seen[batch] = _with(seen.get(batch, ()), first, first + count)


def _within(index: int, spans: Iterable[Sequence[int]]) -> bool:
    return any(first <= index < end for first, end in spans)


def _with(spans: Iterable[Sequence[int]], first: int, end: int) -> list[list[int]]:
    apart = []
    for seen_first, seen_end in spans:
        if seen_end < first or end < seen_first:
            apart.append([seen_first, seen_end])
        else:
            first, end = min(first, seen_first), max(end, seen_end)
    return sorted([*apart, [first, end]])
