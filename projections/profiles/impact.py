"""What messages would do to profiles, tried on copies of the nodes that they name. No profile hears of it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from projections.profiles.identity_node import Node, Outbox
from projections.profiles.profile_view import profile_of
from projections.profiles.updates import AT, KEY, MappedMessages, apply_mapped, apply_told, told_by

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AttributeImpact:
    """In how many profiles an attribute would get its first value, and in how many another one."""

    filled: int
    replaced: int


@dataclass(frozen=True, slots=True)
class Impact:
    """How many profiles would be new, changed or as they are; `joined` of those changed would be made of several.

    `older` are messages about a time before the newest that is known of their profile.
    """

    added: int
    changed: int
    joined: int
    unchanged: int
    attributes: Mapping[str, AttributeImpact]
    older: int


@dataclass(frozen=True, slots=True)
class _Known:
    identities: tuple[str, ...]
    values: Values
    newest: int


def foresee(mapped: MappedMessages, nodes: dict[str, Node], most_identities: int) -> Impact:
    """Return what becomes of profiles. `nodes` has all that are known of the keys named, and those they point to.

    Nodes are changed, and those that are missing are made.
    """
    named = {*mapped.spoken_to(), *(smaller for _, smaller, *_ in mapped.links)}
    for key in named:
        nodes.setdefault(key, Node(key))
    roots = {key: _root(nodes, key) for key in named}
    before = {root.key: _known(root) for root in roots.values() if _says_something(root)}
    before_of = {key: root.key for key, root in roots.items() if root.key in before}
    older = sum(
        row[AT] < before[before_of[row[KEY]]].newest
        for group in mapped.groups
        for row in group.rows
        if row[KEY] in before_of
    )
    settle(mapped, nodes, most_identities)
    made_of: dict[str, set[str]] = defaultdict(set)
    for key in named:
        made_of[_root(nodes, key).key] |= {before_of[key]} if key in before_of else set()
    after = [nodes[key] for key in sorted(made_of) if _says_something(nodes[key])]
    return _counted([(_known(root), [before[each] for each in sorted(made_of[root.key])]) for root in after], older)


def settle(mapped: MappedMessages, nodes: dict[str, Node], most_identities: int) -> None:
    """Apply what messages say, and then all that nodes tell each other because of it, until nothing is left to tell."""
    outbox = Outbox(most_identities)
    _make_missing(nodes, mapped.spoken_to())
    apply_mapped(mapped, nodes, outbox)
    while outbox:
        told = told_by(outbox, 1)[0]
        _make_missing(nodes, told.spoken_to())
        outbox = Outbox(most_identities)
        apply_told(told, nodes, outbox)


def _make_missing(nodes: dict[str, Node], keys: Iterable[str]) -> None:
    for key in keys:
        nodes.setdefault(key, Node(key))


def _root(nodes: Mapping[str, Node], key: str) -> Node:
    node = nodes[key]
    while node.parent:
        node = nodes[node.parent]
    return node


def _says_something(root: Node) -> bool:
    return bool(root.cells or root.edges)


def _known(root: Node) -> _Known:
    profile = profile_of(root.key, root.cells, root.edges)
    times = [*(each.evidence.at for each in profile.attributes), *(each.evidence.at for each in profile.links)]
    return _Known(profile.identities, {each.name: each.value for each in profile.attributes}, max(times))


def _counted(pairs: Iterable[tuple[_Known, list[_Known]]], older: int) -> Impact:
    added = changed = joined = unchanged = 0
    attributes: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for after, parts in pairs:
        known = parts[0].values if parts else {}
        for name, value in after.values.items():
            if value != known.get(name):
                attributes[name][name in known] += 1
        same = len(parts) == 1 and (after.values, after.identities) == (parts[0].values, parts[0].identities)
        added += not parts
        joined += len(parts) > 1
        unchanged += same
        changed += bool(parts) and not same
    filled = {name: AttributeImpact(*attributes[name]) for name in sorted(attributes)}
    return Impact(added, changed, joined, unchanged, filled, older)
