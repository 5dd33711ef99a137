"""Messages about a few identities, an independent oracle, and nodes that receive messages in any order."""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from projections.profiles.crdt import MILLIONTHS, value_of
from projections.profiles.forgotten_persons import ForgottenPersons
from projections.profiles.identity_node import Node, Outbox
from projections.profiles.partitioning import partition_of_key
from projections.profiles.update_codec import decode_mapped, decode_messages, encode_mapped, encode_messages
from projections.profiles.updates import (
    Group,
    MappedMessages,
    NodeMessages,
    apply_mapped,
    apply_messages,
    by_partition,
    decode_node,
    drop_counted,
    encode_node,
)
from tests.canonical_nodes import canonical

COLUMNS = ("latest:city", "first:source", "min:low", "max:high", "union:tags", "count:messages", "sum:spent")


@dataclass(frozen=True)
class Message:
    """One mapped message: identity keys, attribute values and time."""

    batch: str
    index: int
    at: int
    keys: tuple[str, ...]  # best first
    values: tuple[Any, ...]


def some_messages(rng: random.Random, count: int, keys: int) -> list[Message]:
    names = [f"{rng.randrange(3):02d}:k{n % 3}:{n}" for n in range(keys)]
    return [
        Message(
            batch=f"b{n % 5}",
            index=n // 5,
            at=rng.randrange(1, 12),  # many at the same time, so that message ids decide
            keys=tuple(sorted(set(rng.choices(names, k=rng.choice((1, 1, 1, 2, 2, 3)))))),
            values=(
                rng.choice((None, "Vienna", "Graz")),
                rng.choice((None, "shop", "web")),
                rng.choice((None, 1, 2.5, -3)),
                rng.choice((None, 1, 1.0, 7)),
                rng.choice((None, "a", "b", "c")),
                1,
                rng.choice((None, 10**5, -(10**6), 2**53)),
            ),
        )
        for n in range(count)
    ]


def expected(messages: list[Message]) -> dict[str, dict[str, Any]]:
    """Each profile by its best key, computed by sorting the messages, without registers, links and partitions."""
    groups: dict[str, set[str]] = {}
    for message in messages:
        together = set(message.keys).union(*(groups.get(key, {key}) for key in message.keys))
        groups |= dict.fromkeys(together, together)
    profiles: dict[str, dict[str, Any]] = {}
    for together in {min(keys): keys for keys in groups.values()}.values():
        mine = sorted((m for m in messages if m.keys[0] in together), key=lambda m: (m.at, m.batch, m.index))
        city, source, low, high, tags, counted, spent = (
            [v for m in mine if (v := m.values[n]) is not None] for n in range(7)
        )
        profiles[min(together)] = {
            "identities": sorted(together),
            **({"city": city[-1]} if city else {}),
            **({"source": source[0]} if source else {}),
            **({"low": min(low)} if low else {}),
            **({"high": max(high)} if high else {}),
            **({"tags": sorted(set(tags))} if tags else {}),
            "messages": len(counted),
            **({"spent": sum(spent) / MILLIONTHS} if spent else {}),
        }
    return profiles


@dataclass
class World:
    """The nodes of some partitions and the packets in transit to them, in no order."""

    rng: random.Random
    partitions: int = 3
    max_identities: int = 1_000
    nodes: dict[str, Node] = field(default_factory=dict)
    # partition, mapped messages, node messages; one of the last two is empty
    in_transit: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    persons: dict[int, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))  # stored, by partition
    counted: dict[int, dict[str, list[list[int]]]] = field(default_factory=lambda: defaultdict(dict))

    def send(self, messages: list[Message]) -> None:
        """Send messages as one update record of a lane would."""
        packets: dict[int, MappedMessages] = defaultdict(MappedMessages)
        for message in messages:
            best, *others = message.keys
            stamp = (message.at, message.batch, message.index)
            row = [best, message.at, 0, message.index, 0, *message.values]
            packet = packets[self._home(best)]
            counted = [(message.batch, message.index, 1)]
            packet.groups.append(Group("orders", COLUMNS, 0, [message.batch], [row], counted))
            for other in others:
                packets[self._home(other)].links.append((other, best, *stamp))
        self.in_transit += [(partition, encode_mapped(packet), b"") for partition, packet in packets.items()]

    def forget(self, keys: list[str], moment: int) -> None:
        """Forget a person by messages to each of their identities."""
        for part in range(self.partitions):
            here = [key for key in keys if self._home(key) == part]
            for targets in (here[::2], here[1::2]):  # in any order, as they may be in several records
                forget = NodeMessages(forget=[(targets, moment, keys)])
                self.in_transit.append((part, b"", encode_messages(forget)))

    def settle(self) -> None:
        """Deliver everything, some of it twice."""
        while self.in_transit:
            packet = self.in_transit.pop(self.rng.randrange(len(self.in_transit)))
            self._deliver(*packet)
            if self.rng.random() < 0.2:
                self._deliver(*packet)

    def profiles(self) -> dict[str, dict[str, Any]]:
        return {
            key: shown(node) for key, node in self.nodes.items() if not node.parent and (node.registers or node.edges)
        }

    def bytes_of(self) -> dict[str, bytes]:
        return {key: canonical(self.nodes[key]) for key in self.profiles()}

    def _home(self, key: str) -> int:
        return partition_of_key(key, self.partitions)

    def _deliver(self, partition: int, mapped: bytes, node_messages: bytes) -> None:
        outbox = Outbox(self.max_identities)
        if mapped:
            messages = decode_mapped(mapped)
            for group in messages.groups:
                drop_counted(group, self.counted[partition])
            self._load(messages)
            apply_mapped(messages, self.nodes, outbox)
        else:
            incoming = decode_messages(node_messages)
            self._load(incoming)
            persons = ForgottenPersons(self.persons[partition].get)
            apply_messages(incoming, self.nodes, outbox, persons)
            self.persons[partition] |= persons.take_changes()
        for target, outgoing in by_partition(outbox, self.partitions).items():
            self.in_transit.append((target, b"", encode_messages(outgoing)))

    def _load(self, messages: MappedMessages | NodeMessages) -> None:
        """Decode the nodes again from their bytes, as a store would."""
        for key in set(messages.target_keys()):
            node = self.nodes.get(key)
            self.nodes[key] = decode_node(key, None if node is None else encode_node(node))


def shown(node: Node) -> dict[str, Any]:
    values = {name.partition(":")[2]: value_of(name, register)[0] for name, register in node.registers.items()}
    return {"identities": node.identities(), **values}
