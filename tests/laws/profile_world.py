"""Messages about a few identities, what an independent reading makes of them, and nodes that hear them in any order."""

import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from projections.profiles.crdt import MILLIONTHS, value_of
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
    canonical,
    decode_node,
    drop_counted,
    encode_node,
)

COLUMNS = ("latest:city", "first:source", "min:low", "max:high", "union:tags", "count:messages", "sum:spent")


@dataclass(frozen=True)
class Message:
    """One raw message, mapped: what it says of whom, and when."""

    batch: str
    index: int
    at: int
    keys: tuple[str, ...]  # best first
    values: tuple[Any, ...]


def some_messages(chance: random.Random, count: int, keys: int) -> list[Message]:
    names = [f"{chance.randrange(3):02d}:k{n % 3}:{n}" for n in range(keys)]
    return [
        Message(
            batch=f"b{n % 5}",
            index=n // 5,
            at=chance.randrange(1, 12),  # many at the same moment, so that message ids decide
            keys=tuple(sorted(set(chance.choices(names, k=chance.choice((1, 1, 1, 2, 2, 3)))))),
            values=(
                chance.choice((None, "Vienna", "Graz")),
                chance.choice((None, "shop", "web")),
                chance.choice((None, 1, 2.5, -3)),
                chance.choice((None, 1, 1.0, 7)),
                chance.choice((None, "a", "b", "c")),
                1,
                chance.choice((None, 10**5, -(10**6), 2**53)),
            ),
        )
        for n in range(count)
    ]


def expected(messages: list[Message]) -> dict[str, dict[str, Any]]:
    """Each profile by its best key, by sorting the messages: knows nothing of registers, links and partitions."""
    group: dict[str, set[str]] = {}
    for message in messages:
        together = set(message.keys).union(*(group.get(key, {key}) for key in message.keys))
        group |= dict.fromkeys(together, together)
    found: dict[str, dict[str, Any]] = {}
    for together in {min(item): item for item in group.values()}.values():
        mine = sorted((m for m in messages if m.keys[0] in together), key=lambda m: (m.at, m.batch, m.index))
        city, source, low, high, tags, counted, spent = (
            [v for m in mine if (v := m.values[n]) is not None] for n in range(7)
        )
        found[min(together)] = {
            "identities": sorted(together),
            **({"city": city[-1]} if city else {}),
            **({"source": source[0]} if source else {}),
            **({"low": min(low)} if low else {}),
            **({"high": max(high)} if high else {}),
            **({"tags": sorted(set(tags))} if tags else {}),
            "messages": len(counted),
            **({"spent": sum(spent) / MILLIONTHS} if spent else {}),
        }
    return found


@dataclass
class World:
    """The nodes of some partitions and what is on its way to them, in no order."""

    chance: random.Random
    partitions: int = 3
    max_identities: int = 1_000
    nodes: dict[str, Node] = field(default_factory=dict)
    on_the_way: list[tuple[int, bytes, bytes]] = field(default_factory=list)  # partition, mapped or told
    counted: dict[int, dict[str, list[list[int]]]] = field(default_factory=lambda: defaultdict(dict))

    def send(self, messages: list[Message]) -> None:
        """Say what some messages say, as one packed record of a lane would."""
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
        self.on_the_way += [(partition, encode_mapped(packet), b"") for partition, packet in packets.items()]

    def forget(self, keys: list[str], moment: int) -> None:
        """Forget a person, each of whose identities is told."""
        for key in keys:
            self.on_the_way.append((self._home(key), b"", encode_messages(NodeMessages(forget=[(key, moment, keys)]))))

    def settle(self) -> None:
        """Deliver everything, some of it twice."""
        while self.on_the_way:
            packet = self.on_the_way.pop(self.chance.randrange(len(self.on_the_way)))
            self._deliver(*packet)
            if self.chance.random() < 0.2:
                self._deliver(*packet)

    def profiles(self) -> dict[str, dict[str, Any]]:
        return {
            key: shown(node) for key, node in self.nodes.items() if not node.parent and (node.registers or node.edges)
        }

    def bytes_of(self) -> dict[str, bytes]:
        return {key: canonical(self.nodes[key]) for key in self.profiles()}

    def _home(self, key: str) -> int:
        return partition_of_key(key, self.partitions)

    def _deliver(self, partition: int, mapped: bytes, told: bytes) -> None:
        outbox = Outbox(self.max_identities)
        if mapped:
            said = decode_mapped(mapped)
            for group in said.groups:
                drop_counted(group, self.counted[partition])
            self._load(said)
            apply_mapped(said, self.nodes, outbox)
        else:
            heard = decode_messages(told)
            self._load(heard)
            apply_messages(heard, self.nodes, outbox)
        for where, item in by_partition(outbox, self.partitions).items():
            self.on_the_way.append((where, b"", encode_messages(item)))

    def _load(self, said: MappedMessages | NodeMessages) -> None:
        """Have the nodes as a store gives them: each time anew from bytes."""
        for key in set(said.target_keys()):
            known = self.nodes.get(key)
            self.nodes[key] = decode_node(key, None if known is None else encode_node(known))


def shown(node: Node) -> dict[str, Any]:
    values = {name.partition(":")[2]: value_of(name, register)[0] for name, register in node.registers.items()}
    return {"identities": node.identities(), **values}
