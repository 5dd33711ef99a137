"""The effect that messages would have on profiles, computed on copies of the nodes; no profile changes."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from projections.profiles.forgotten_persons import ForgottenPersons
from projections.profiles.identity_node import Node, Outbox
from projections.profiles.profile_view import profile_of
from projections.profiles.updates import AT, KEY, MappedMessages, apply_mapped, apply_messages, by_partition

AttributeValues = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AttributeImpact:
    """The number of profiles in which an attribute would get its first value, and in which another value."""

    filled: int
    replaced: int


@dataclass(frozen=True, slots=True)
class Impact:
    """The number of profiles that would be new, changed or unchanged; `joined` of the changed ones merge several.

    `older` is the number of messages that are older than the newest message of their profile.
    """

    added: int
    changed: int
    joined: int
    unchanged: int
    attributes: Mapping[str, AttributeImpact]
    older: int


@dataclass(frozen=True, slots=True)
class _ProfileState:
    identities: tuple[str, ...]
    values: AttributeValues
    newest: int


def impact_of(mapped: MappedMessages, nodes: dict[str, Node], max_identities: int) -> Impact:
    """Return the impact of messages. `nodes` has the existing nodes of the keys in them, and those they point to.

    Nodes are changed in place, and missing ones are added.
    """
    keys = {*mapped.target_keys(), *(smaller for _, smaller, *_ in mapped.links)}
    _add_missing(nodes, keys)
    roots = {key: _root(nodes, key) for key in keys}
    before = {root.key: _state_of(root) for root in roots.values() if _has_profile(root)}
    root_before = {key: root.key for key, root in roots.items() if root.key in before}
    older = sum(
        row[AT] < before[root_before[row[KEY]]].newest
        for group in mapped.groups
        for row in group.rows
        if row[KEY] in root_before
    )
    settle(mapped, nodes, max_identities)
    sources: dict[str, set[str]] = defaultdict(set)  # by root: the roots that were merged into it
    for key in keys:
        sources[_root(nodes, key).key] |= {root_before[key]} if key in root_before else set()
    after = [nodes[key] for key in sorted(sources) if _has_profile(nodes[key])]
    return _counted([(_state_of(root), [before[key] for key in sorted(sources[root.key])]) for root in after], older)


def settle(mapped: MappedMessages, nodes: dict[str, Node], max_identities: int) -> dict[str, Node]:
    """Apply messages, and then the messages that nodes send each other, until none is left; return the nodes."""
    persons = ForgottenPersons(lambda _: b"[]")  # no message was under way when one of them was forgotten
    outbox = Outbox(max_identities)
    _add_missing(nodes, mapped.target_keys())
    apply_mapped(mapped, nodes, outbox)
    while outbox:
        messages = by_partition(outbox, 1)[0]
        _add_missing(nodes, messages.target_keys())
        outbox = Outbox(max_identities)
        apply_messages(messages, nodes, outbox, persons)
    return nodes


def _add_missing(nodes: dict[str, Node], keys: Iterable[str]) -> None:
    for key in keys:
        nodes.setdefault(key, Node(key))


def _root(nodes: Mapping[str, Node], key: str) -> Node:
    node = nodes[key]
    while node.parent:
        node = nodes[node.parent]
    return node


def _has_profile(root: Node) -> bool:
    return bool(root.registers or root.edges)


def _state_of(root: Node) -> _ProfileState:
    profile = profile_of(root.key, root.registers, root.edges)
    attributes = profile.attributes
    times = [*(attribute.evidence.at for attribute in attributes), *(link.evidence.at for link in profile.links)]
    return _ProfileState(profile.identities, {attribute.name: attribute.value for attribute in attributes}, max(times))


def _counted(profiles: Iterable[tuple[_ProfileState, list[_ProfileState]]], older: int) -> Impact:
    """Count profiles, each given as its new state and the states that were merged into it."""
    added = changed = joined = unchanged = 0
    attributes: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for after, sources in profiles:
        values = sources[0].values if sources else {}
        for name, value in after.values.items():
            if value != values.get(name):
                attributes[name][name in values] += 1
        is_same = len(sources) == 1 and (after.values, after.identities) == (values, sources[0].identities)
        added += not sources
        joined += len(sources) > 1
        unchanged += is_same
        changed += bool(sources) and not is_same
    impacts = {name: AttributeImpact(*attributes[name]) for name in sorted(attributes)}
    return Impact(added, changed, joined, unchanged, impacts, older)
