"""All definitions and the rules they add up to: what control keeps of partition 0, as one value that moves as a whole.

Whether a definition can be applied depends on the others, so their states must never be of different moments.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import MappingProxyType
from typing import Final, cast, get_args

from projections.definitions import definition, rebuild
from projections.definitions.definition import Definition, bytes_of, initial
from projections.definitions.rebuild import ProfileRebuild, RebuildContext
from projections.definitions.rebuild_spec import EVERYTHING, AppliedBody, Scope, read_recipe
from projections.definitions.rules import Rules
from schemas.definitions import (
    IDENTITY,
    DefinitionCommand,
    DefinitionEvent,
    RebuildCommand,
    RebuildPromoted,
    RuleCommand,
    StartRebuild,
    mapping_of,
    stream_of,
)

MAX_BODIES_BYTES: Final = 6 * 1024 * 1024  # of all bodies; with every quote escaped they still fit into one record
OVERHEAD_BYTES: Final = 2_048  # what a definition takes beside its bodies
MAX_REBUILDS: Final = 100  # that are remembered
REBUILD_COMMANDS: Final = get_args(RebuildCommand)

Basis = tuple[int, tuple[tuple[str, int], ...]]  # generation, and version by definition


@dataclass(frozen=True, slots=True)
class Promotion:
    """The latest promotion: of which generation, by the command at which offset, and what counts since."""

    generation: int = 0
    command_offset: int = -1
    scope: Scope = EVERYTHING


@dataclass(frozen=True, slots=True)
class DefinitionsState:
    """Everything behind the command at `command_offset`. People to be forgotten don't stand in its rules.

    `basis` is what was in force when the rebuild that is under way was started.
    """

    command_offset: int = -1
    definitions: Mapping[str, Definition] = field(default_factory=lambda: MappingProxyType({}))
    rebuilds: Mapping[str, ProfileRebuild] = field(default_factory=lambda: MappingProxyType({}))
    promotion: Promotion = field(default_factory=Promotion)
    basis: Basis = (0, ())

    @property
    def rules(self) -> Rules:
        """What is in force, as far as it matters for deciding."""
        bodies = {name: each.applied for name, each in self.definitions.items() if each.applied}
        identity = bodies.get(IDENTITY)
        mappings = {stream: body for name, body in bodies.items() if (stream := stream_of(name)) is not None}
        last = self.promotion
        return Rules(identity, mappings, scope=last.scope, generation=last.generation, promoted=last.command_offset)

    @property
    def under_way(self) -> ProfileRebuild | None:
        """The rebuild that is neither promoted nor discarded, if there is one."""
        return next((each for each in self.rebuilds.values() if each.is_under_way), None)


EMPTY: Final = DefinitionsState()


def answer(
    book: DefinitionsState, command: DefinitionCommand, offset: int
) -> tuple[DefinitionsState, tuple[DefinitionEvent, ...]]:
    """Return the book behind a command, found at `offset`, and what it led to; nothing, when it was answered before."""
    if offset <= book.command_offset:
        return book, ()
    book = replace(book, command_offset=offset)
    if isinstance(command, REBUILD_COMMANDS):
        return _answer_rebuild(book, cast("RebuildCommand", command), offset)
    return _answer_rule(book, cast("RuleCommand", command), offset)


def _answer_rule(
    book: DefinitionsState, command: RuleCommand, offset: int
) -> tuple[DefinitionsState, tuple[DefinitionEvent, ...]]:
    state = book.definitions.get(command.definition_id) or initial(command.definition_id)
    events = definition.decide(state, command, offset, book.rules, room_for(book, command.definition_id))
    for event in events:
        state = definition.evolve(state, event)
    if isinstance(state, Definition) and events:
        book = replace(book, definitions=MappingProxyType({**book.definitions, state.definition_id: state}))
    return book, events


def _answer_rebuild(
    book: DefinitionsState, command: RebuildCommand, offset: int
) -> tuple[DefinitionsState, tuple[DefinitionEvent, ...]]:
    known, rules, busy = book.rebuilds.get(command.definition_id), book.rules, book.under_way
    others = RebuildContext(
        under_way=busy.definition_id if busy and busy is not known else "",
        outdated=_is_outdated(book, command, basis_of(rules)),
        room=room_for(book, command.definition_id),
        versions={name: each.version for name, each in book.definitions.items()},
    )
    events = rebuild.decide(known, command, offset, rules, others)
    state = known
    for event in events:
        state = rebuild.evolve(state, event)
        if isinstance(event, RebuildPromoted):
            book = _promoted(book, event)
    if state is None or not events:
        return book, events
    rebuilds = {**book.rebuilds, state.definition_id: state}
    latest = dict(list(rebuilds.items())[-MAX_REBUILDS:])
    basis = book.basis if known else basis_of(rules)
    return replace(book, rebuilds=MappingProxyType(latest), basis=basis), events


def _is_outdated(book: DefinitionsState, command: RebuildCommand, now: Basis) -> bool:
    if isinstance(command, StartRebuild):
        return command.basis not in {"", basis_text(now)}
    return now != book.basis


def _promoted(book: DefinitionsState, event: RebuildPromoted) -> DefinitionsState:
    last = Promotion(event.generation, event.command_offset, read_recipe(event.recipe).scope)
    return replace(book, promotion=last, definitions=in_force(book.definitions, event))


def in_force(definitions: Mapping[str, Definition], event: RebuildPromoted) -> Mapping[str, Definition]:
    """Return definitions as they are once a rebuild's recipe is what the rules are; other drafts stay."""
    recipe = read_recipe(event.recipe)
    bodies = {mapping_of(stream): each for stream, each in recipe.mappings.items()}
    if recipe.identity:
        bodies[IDENTITY] = recipe.identity
    return MappingProxyType({name: _in_force(each, bodies.get(name)) for name, each in definitions.items()})


def _in_force(known: Definition, applied: AppliedBody | None) -> Definition:
    draft = None if known.draft == applied else known.draft
    return replace(known, applied=applied, draft=draft)


def basis_of(rules: Rules) -> Basis:
    """Return what tells whether rules are still those that they were."""
    versions = {stream: each.version for stream, each in rules.mappings.items()}
    if rules.identity:
        versions[""] = rules.identity.version
    return rules.generation, tuple(sorted(versions.items()))


def basis_text(basis: Basis) -> str:
    """Return what stands for a basis in a command."""
    return sha256(repr(basis).encode()).hexdigest()


def room_for(book: DefinitionsState, definition_id: str) -> int:
    """Return how many bytes the bodies of a definition may have beside all others."""
    others = [each for each in book.definitions.values() if each.definition_id != definition_id]
    recipes = sum(len(each.recipe.encode()) for each in book.rebuilds.values())
    return MAX_BODIES_BYTES - recipes - sum(OVERHEAD_BYTES + bytes_of(each) for each in others)
