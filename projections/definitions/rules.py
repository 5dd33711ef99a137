"""The rules in force: what all events of definitions up to an offset add up to. Says nothing of drafts.

`fold` may meet an event again: what is in force only goes up in version, and the later moment of forgetting counts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Final, assert_never

from projections.definitions.rebuild_spec import EVERYTHING, AppliedBody, RebuildSpec, Scope, read_recipe
from projections.mapping.body_parser import InvalidRulesError
from schemas.definitions import (
    IDENTITY,
    DefinitionApplied,
    DefinitionDrafted,
    DefinitionEvent,
    DefinitionRefused,
    DraftDiscarded,
    PersonForgotten,
    RebuildDiscarded,
    RebuildPromoted,
    RebuildReady,
    RebuildStarted,
    stream_of,
)

MAX_UNFOLDED_ENTRIES: Final = 1024  # entries that are copied with each event, rather than all


class Forgotten(Mapping[str, datetime]):
    """From the hash of an identity key to the moment up to which it is forgotten; `with_` makes a new value.

    Most entries stand in a base that many values share, the latest in a small part of their own: a hundred thousand
    people are folded in a second, and a look-up is at most two of a dictionary's.
    """

    __slots__ = ("_base", "_latest")

    def __init__(
        self, base: Mapping[str, datetime] = MappingProxyType({}), latest: Mapping[str, datetime] = MappingProxyType({})
    ) -> None:
        self._base = base
        self._latest = latest

    def with_(self, key_hashes: Iterable[str], at: datetime) -> "Forgotten":
        """Return what is forgotten with these, too. An earlier moment than the one known changes nothing."""
        latest = dict(self._latest)
        for hash_ in key_hashes:
            known = self.get(hash_)
            latest[hash_] = at if known is None else max(known, at)
        if len(latest) > MAX_UNFOLDED_ENTRIES:
            return Forgotten({**self._base, **latest})
        return Forgotten(self._base, latest)

    def __getitem__(self, key_hash: str) -> datetime:
        found = self._latest.get(key_hash)
        return self._base[key_hash] if found is None else found

    def __iter__(self) -> Iterator[str]:
        yield from self._base
        yield from (item for item in self._latest if item not in self._base)

    def __len__(self) -> int:
        return len(self._base) + sum(item not in self._base for item in self._latest)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is in force. `generation` counts the rebuilds that were promoted, the last by the command at `promoted`."""

    identity: AppliedBody | None = None
    mappings: Mapping[str, AppliedBody] = field(default_factory=lambda: MappingProxyType({}))  # by stream
    forgotten: Forgotten = field(default_factory=Forgotten)
    scope: Scope = EVERYTHING
    generation: int = 0
    promoted: int = -1

    @property
    def recipe(self) -> RebuildSpec:
        """What would make the profiles that are live."""
        return RebuildSpec(self.identity, self.mappings, self.scope)


NO_RULES: Final = Rules()


def key_hash(key: str) -> str:
    """Return what stands for an identity key (`kind:value`) in the topics of definitions."""
    return sha256(key.encode()).hexdigest()


def fold(rules: Rules, event: DefinitionEvent) -> Rules:
    """Return the rules behind an event."""
    match event:
        case DefinitionApplied():
            if event.command_offset <= rules.promoted:
                return rules  # repeated after a crash; the promotion behind it is known already
            return applied(rules, event.definition_id, AppliedBody(event.version, event.body))
        case RebuildPromoted():
            return promoted(rules, event)
        case PersonForgotten():
            return replace(rules, forgotten=rules.forgotten.with_(event.key_hashes, event.at))
        case DefinitionDrafted() | DraftDiscarded() | DefinitionRefused():
            return rules
        case RebuildStarted() | RebuildReady() | RebuildDiscarded():
            return rules
        case _:
            assert_never(event)


def applied(rules: Rules, definition_id: str, body: AppliedBody) -> Rules:
    """Return the rules with that body in force, unless a newer one is."""
    if definition_id == IDENTITY:
        return replace(rules, identity=body) if _newer(body, rules.identity) else rules
    stream = stream_of(definition_id)
    if stream is None or not _newer(body, rules.mappings.get(stream)):
        return rules
    return replace(rules, mappings=MappingProxyType({**rules.mappings, stream: body}))


def promoted(rules: Rules, event: RebuildPromoted) -> Rules:
    """Return the rules with a rebuild's recipe in force, unless a later one is."""
    try:
        recipe = read_recipe(event.recipe)
    except InvalidRulesError:
        return rules  # control never writes it
    if event.generation <= rules.generation:
        return rules
    return replace(
        rules,
        identity=recipe.identity,
        mappings=recipe.mappings,
        scope=recipe.scope,
        generation=event.generation,
        promoted=event.command_offset,
    )


def _newer(body: AppliedBody, known: AppliedBody | None) -> bool:
    return known is None or body.version > known.version
