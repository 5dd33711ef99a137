"""The active rules: the fold of all events of `definitions.events` up to an offset. Drafts are not part of them.

Folding a repeated event changes nothing: the active version of a definition only increases between two promotions,
and of two times up to which a person is forgotten the later one counts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Final, assert_never

from projections.definitions.rebuild_spec import EVERYTHING, RebuildSpec, Scope, VersionedBody, parse_spec
from projections.identities.normal_form import spellings
from projections.mapping.body_parser import InvalidRulesError
from schemas.definitions import (
    IDENTITY,
    DefinitionApplied,
    DefinitionDrafted,
    DefinitionEvent,
    DefinitionRefused,
    DraftDiscarded,
    ForgettingExtended,
    ForgettingStarted,
    PersonForgotten,
    RebuildDiscarded,
    RebuildPromoted,
    RebuildReady,
    RebuildStarted,
    TokenCreated,
    TokenRevoked,
    stream_of,
)

MAX_LATEST_ENTRIES: Final = 1024  # copied for each event; beyond that they are merged into the base


class Forgotten(Mapping[str, datetime]):
    """The time up to which each identity is forgotten, by the hash of its key. Immutable.

    Most entries are in a base that many values share, the latest in a small dictionary of their own: a hundred thousand
    people are folded in a second, and a look-up is at most two look-ups in dictionaries.
    """

    __slots__ = ("_base", "_latest")

    def __init__(
        self, base: Mapping[str, datetime] = MappingProxyType({}), latest: Mapping[str, datetime] = MappingProxyType({})
    ) -> None:
        self._base = base
        self._latest = latest

    def including(self, key_hashes: Iterable[str], at: datetime) -> "Forgotten":
        """Return a copy in which these keys are forgotten up to `at`, or up to a later time that it already has."""
        latest = dict(self._latest)
        for hash_ in key_hashes:
            previous = self.get(hash_)
            latest[hash_] = at if previous is None else max(previous, at)
        if len(latest) > MAX_LATEST_ENTRIES:
            return Forgotten({**self._base, **latest})
        return Forgotten(self._base, latest)

    def __getitem__(self, key_hash: str) -> datetime:
        at = self._latest.get(key_hash)
        return self._base[key_hash] if at is None else at

    def __iter__(self) -> Iterator[str]:
        yield from self._base
        yield from (hash_ for hash_ in self._latest if hash_ not in self._base)

    def __len__(self) -> int:
        return len(self._base) + sum(hash_ not in self._base for hash_ in self._latest)


@dataclass(frozen=True, slots=True)
class Rules:
    """The active identity rules and mappings, the forgotten identities, and the scope of messages.

    `generation` counts the promoted rebuilds; the last was promoted by the command at offset `promoted_by`.
    """

    identity: VersionedBody | None = None
    mappings: Mapping[str, VersionedBody] = field(default_factory=lambda: MappingProxyType({}))  # by stream
    forgotten: Forgotten = field(default_factory=Forgotten)
    scope: Scope = EVERYTHING
    generation: int = 0
    promoted_by: int = -1

    @property
    def spec(self) -> RebuildSpec:
        """The spec of a rebuild that would produce the live profiles."""
        return RebuildSpec(self.identity, self.mappings, self.scope)


NO_RULES: Final = Rules()


def key_hash(key: str) -> str:
    """Return the SHA-256 of an identity key (`kind:value`), which represents it in the topics of definitions."""
    return sha256(key.encode()).hexdigest()


def key_hashes(key: str) -> frozenset[str]:
    """Return the hashes of an identity key in all its spellings."""
    return frozenset(map(key_hash, spellings(key)))


def evolve_rules(rules: Rules, event: DefinitionEvent) -> Rules:
    """Return the rules after an event."""
    match event:
        case DefinitionApplied():
            if event.command_offset <= rules.promoted_by:
                return rules  # repeated after a crash: the later promotion is folded already
            return applied(rules, event.definition_id, VersionedBody(event.version, event.body))
        case RebuildPromoted():
            return _promoted(rules, event)
        case ForgettingStarted() | ForgettingExtended():
            return replace(rules, forgotten=rules.forgotten.including(event.key_hashes, event.at))
        case DefinitionDrafted() | DraftDiscarded() | DefinitionRefused() | PersonForgotten():
            return rules
        case RebuildStarted() | RebuildReady() | RebuildDiscarded() | TokenCreated() | TokenRevoked():
            return rules
        case _:
            assert_never(event)


def applied(rules: Rules, definition_id: str, body: VersionedBody) -> Rules:
    """Return the rules with `body` active, unless a newer version of the definition is."""
    if definition_id == IDENTITY:
        return replace(rules, identity=body) if _newer(body, rules.identity) else rules
    stream = stream_of(definition_id)
    if stream is None or not _newer(body, rules.mappings.get(stream)):
        return rules
    return replace(rules, mappings=MappingProxyType({**rules.mappings, stream: body}))


def _promoted(rules: Rules, event: RebuildPromoted) -> Rules:
    """Return the rules of a promoted rebuild, unless a later one is promoted."""
    try:
        spec = parse_spec(event.spec)
    except InvalidRulesError:
        return rules  # never written by control
    if event.generation <= rules.generation:
        return rules
    return replace(
        rules,
        identity=spec.identity,
        mappings=spec.mappings,
        scope=spec.scope,
        generation=event.generation,
        promoted_by=event.command_offset,
    )


def _newer(body: VersionedBody, active: VersionedBody | None) -> bool:
    return active is None or body.version > active.version
