"""All definitions, rebuilds, forgettings and tokens as one value, the state that their commands are decided on.

Whether a definition can be applied depends on the others, so all of them are in one state. It is the fold of
`definitions.events`; nothing else is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import MappingProxyType
from typing import Final, cast, get_args

from projections.definitions import definition, forgetting, rebuild, tokens
from projections.definitions.definition import Definition, bytes_of
from projections.definitions.forgetting import Forgettings
from projections.definitions.rebuild import ProfileRebuild, RebuildContext
from projections.definitions.rebuild_spec import EVERYTHING, Scope, VersionedBody, parse_spec
from projections.definitions.rules import Rules
from projections.definitions.tokens import NO_TOKENS, TokenSet
from projections.mapping.body_parser import InvalidRulesError
from schemas.definitions import (
    IDENTITY,
    DefinitionCommand,
    DefinitionEvent,
    DefinitionKind,
    ForgettingCommand,
    RebuildCommand,
    RebuildPromoted,
    RuleCommand,
    StartRebuild,
    TokenCommand,
    stream_of,
)

MAX_BODIES_BYTES: Final = 6 * 1024 * 1024  # of all bodies and specs together: every reader holds them in memory
OVERHEAD_BYTES: Final = 2_048  # of a definition beside its bodies
MAX_REBUILDS: Final = 100  # the latest; older ones are dropped
REBUILD_COMMANDS: Final = get_args(RebuildCommand)
TOKEN_COMMANDS: Final = get_args(TokenCommand)
FORGETTING_COMMANDS: Final = get_args(ForgettingCommand)

Basis = tuple[int, tuple[tuple[str, int], ...]]  # generation; active version by stream, "" for the identity rules


@dataclass(frozen=True, slots=True)
class Promotion:
    """The latest promotion: the new generation, the offset of the command, and the scope of messages since then."""

    generation: int = 0
    command_offset: int = -1
    scope: Scope = EVERYTHING


@dataclass(frozen=True, slots=True)
class DefinitionsState:
    """The state after the command at `command_offset`.

    `basis` identifies the rules that were active when the latest rebuild was started.
    """

    command_offset: int = -1
    definitions: Mapping[str, Definition] = field(default_factory=lambda: MappingProxyType({}))
    rebuilds: Mapping[str, ProfileRebuild] = field(default_factory=lambda: MappingProxyType({}))
    forgettings: Forgettings = field(default_factory=Forgettings)
    promotion: Promotion = field(default_factory=Promotion)
    basis: Basis = (0, ())
    tokens: TokenSet = NO_TOKENS

    @property
    def rules(self) -> Rules:
        """The active rules, without forgotten persons: no decision depends on these."""
        bodies = {name: current.applied for name, current in self.definitions.items() if current.applied}
        identity = bodies.get(IDENTITY)
        mappings = {stream: body for name, body in bodies.items() if (stream := stream_of(name)) is not None}
        last = self.promotion
        return Rules(identity, mappings, scope=last.scope, generation=last.generation, promoted_by=last.command_offset)

    @property
    def under_way(self) -> ProfileRebuild | None:
        """The rebuild that is neither promoted nor discarded, if there is one."""
        return next((current for current in self.rebuilds.values() if current.is_under_way), None)


EMPTY: Final = DefinitionsState()


def handle(
    state: DefinitionsState, command: DefinitionCommand, offset: int
) -> tuple[DefinitionsState, tuple[DefinitionEvent, ...]]:
    """Decide the command at `offset`. Return the next state and the events; no events for a command handled before."""
    if offset <= state.command_offset:
        return state, ()
    if isinstance(command, REBUILD_COMMANDS):
        events = _decide_rebuild(state, cast("RebuildCommand", command), offset)
    elif isinstance(command, TOKEN_COMMANDS):
        events = tokens.decide(state.tokens, cast("TokenCommand", command), offset)
    elif isinstance(command, FORGETTING_COMMANDS):
        events = _decide_forgetting(state, cast("ForgettingCommand", command), offset)
    else:
        events = _decide_definition(state, cast("RuleCommand", command), offset)
    for event in events:
        state = evolve(state, event)
    return replace(state, command_offset=offset), events


def evolve(state: DefinitionsState, event: DefinitionEvent) -> DefinitionsState:
    """Return the state after an event. A repeated event, or one that is not the next of its definition, is ignored."""
    state = replace(state, command_offset=max(state.command_offset, event.command_offset))
    if event.kind is DefinitionKind.TOKEN:
        return replace(state, tokens=tokens.evolve(state.tokens, event))
    if event.kind is DefinitionKind.REBUILD:
        return _evolve_rebuild(state, event)
    if event.kind is DefinitionKind.FORGETTING:
        return replace(state, forgettings=state.forgettings.evolve(event))
    before = state.definitions.get(event.definition_id)
    after = definition.evolve(before, event)
    if after is before or after is None:
        return state
    return replace(state, definitions=MappingProxyType({**state.definitions, after.definition_id: after}))


def _decide_definition(state: DefinitionsState, command: RuleCommand, offset: int) -> tuple[DefinitionEvent, ...]:
    current = state.definitions.get(command.definition_id)
    return definition.decide(current, command, offset, state.rules, max_bytes_of(state, command.definition_id))


def _decide_rebuild(state: DefinitionsState, command: RebuildCommand, offset: int) -> tuple[DefinitionEvent, ...]:
    current, rules, under_way = state.rebuilds.get(command.definition_id), state.rules, state.under_way
    versions = {name: other.version for name, other in state.definitions.items()}
    context = RebuildContext(
        under_way=under_way.definition_id if under_way and under_way is not current else "",
        outdated=_is_outdated(state, command, basis_of(rules)),
        max_bytes=max_bytes_of(state, command.definition_id),
        versions=versions,
    )
    return rebuild.decide(current, command, offset, rules, context)


def _decide_forgetting(state: DefinitionsState, command: ForgettingCommand, offset: int) -> tuple[DefinitionEvent, ...]:
    current = state.forgettings.get(command.definition_id)
    return forgetting.decide(current, command, offset, len(state.forgettings.under_way))


def _evolve_rebuild(state: DefinitionsState, event: DefinitionEvent) -> DefinitionsState:
    before = state.rebuilds.get(event.definition_id)
    after = rebuild.evolve(before, event)
    if after is before or after is None:
        return state
    if before is None:
        state = replace(state, basis=basis_of(state.rules))
    if isinstance(event, RebuildPromoted):
        state = _promoted(state, event)
    latest = list({**state.rebuilds, after.definition_id: after}.items())[-MAX_REBUILDS:]
    return replace(state, rebuilds=MappingProxyType(dict(latest)))


def _is_outdated(state: DefinitionsState, command: RebuildCommand, now: Basis) -> bool:
    """Whether other rules are active than those that the command, or the rebuild that it is about, is based on."""
    if isinstance(command, StartRebuild):
        return command.basis not in {"", basis_hash(now)}
    return now != state.basis


def _promoted(state: DefinitionsState, event: RebuildPromoted) -> DefinitionsState:
    try:
        scope = parse_spec(event.spec).scope
    except InvalidRulesError:  # never written by control
        return state
    last = Promotion(event.generation, event.command_offset, scope)
    return replace(state, promotion=last, definitions=apply_promotion(state.definitions, event))


def apply_promotion(definitions: Mapping[str, Definition], event: RebuildPromoted) -> Mapping[str, Definition]:
    """Return the definitions after a promotion: the rules of the spec are active, and drafts stay unless they are too.

    Raises:
        InvalidRulesError: the spec is malformed.

    """
    bodies = parse_spec(event.spec).bodies
    return MappingProxyType({name: _activate(current, bodies.get(name)) for name, current in definitions.items()})


def _activate(current: Definition, applied: VersionedBody | None) -> Definition:
    draft = None if current.draft == applied else current.draft
    return replace(current, applied=applied, draft=draft)


def basis_of(rules: Rules) -> Basis:
    """Return a value that differs if other versions are active."""
    return rules.generation, tuple(sorted(rules.spec.versions.items()))


def basis_hash(basis: Basis) -> str:
    """Return the SHA-256 of a basis, as in the field `basis` of `StartRebuild`."""
    return sha256(repr(basis).encode()).hexdigest()


def max_bytes_of(state: DefinitionsState, definition_id: str) -> int:
    """Return the limit for the bodies of a definition, or for a new spec, given the size of all others."""
    others = [other for other in state.definitions.values() if other.definition_id != definition_id]
    specs = sum(len(current.spec.encode()) for current in state.rebuilds.values())
    return MAX_BODIES_BYTES - specs - sum(OVERHEAD_BYTES + bytes_of(other) for other in others)
