"""The life of one definition: drafted, applied, drafted again. Three pure, total functions, as for jobs.

A command leads to one event, or to none when it was seen before. Rules are one whole: what others have applied is
handed in as `rules`, which is sound because all definitions share one partition.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, assert_never

from projections.decider import is_plausible_time, state_envelope
from projections.definitions.body_checks import InvalidBodyError, check_applied, check_body
from projections.definitions.decider import Decision, DefinitionRefusedError, check_version, decided, invalid_body
from projections.definitions.kinds import versioned_kind
from projections.definitions.rebuild_spec import AppliedBody
from projections.definitions.rules import Rules
from schemas.definitions import (
    FORGOTTEN,
    ApplyDefinition,
    DefinitionApplied,
    DefinitionDrafted,
    DefinitionEvent,
    DefinitionKind,
    DefinitionRefused,
    DiscardDraft,
    DraftDefinition,
    DraftDiscarded,
    ForgetPerson,
    PersonForgotten,
    RebuildDiscarded,
    RebuildPromoted,
    RebuildReady,
    RebuildStarted,
    RuleCommand,
    kind_of,
)
from schemas.instants import rfc3339

MAX_KEYS: Final = 1_000  # of one person
UNBOUNDED: Final = 2**62

_HASH: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition as its events up to `seq` made it. That of people to be forgotten has neither draft nor body."""

    definition_id: str
    seq: int
    command_offset: int  # of the latest command that led to something
    updated_at: datetime
    version: int = 0  # the newest that was ever drafted
    applied: AppliedBody | None = None
    draft: AppliedBody | None = None
    recent_commands: tuple[str, ...] = ()  # the latest ids, so that a command sent twice adds nothing

    @property
    def kind(self) -> DefinitionKind | None:
        """The kind of the definition."""
        return kind_of(self.definition_id)


@dataclass(frozen=True, slots=True)
class NoDefinition:
    """No such definition."""

    definition_id: str


DefinitionState = Definition | NoDefinition


def is_definition_id(definition_id: str) -> bool:
    """Whether there can be such a definition, with drafts and versions."""
    return versioned_kind(definition_id) is not None


def initial(definition_id: str) -> DefinitionState:
    """Return the state of a definition that nothing was said of."""
    return NoDefinition(definition_id)


def decide(
    state: DefinitionState, command: RuleCommand, offset: int, rules: Rules, room: int = UNBOUNDED
) -> tuple[DefinitionEvent, ...]:
    """Return what a command, found at `offset`, leads to while `rules` are in force; nothing, when it was seen before.

    `room` is how many bytes all bodies of this definition may have.
    """
    known = state if isinstance(state, Definition) else None
    return decided(known, command, offset, lambda: _decide(known, command, rules, room))


def evolve(state: DefinitionState, event: DefinitionEvent) -> DefinitionState:
    """Return the state behind an event. An event that is not the next one of its definition changes nothing."""
    known = state if isinstance(state, Definition) else None
    if event.seq != 1 + (known.seq if known else 0):
        return state
    envelope = state_envelope(known, event)
    if known is None:
        known = Definition(definition_id=state.definition_id, **envelope)
    return replace(_evolved(known, event), **envelope)


def bytes_of(state: DefinitionState) -> int:
    """Return how much room a definition's bodies take."""
    bodies = (state.applied, state.draft) if isinstance(state, Definition) else ()
    return sum(len(body.body.encode()) for body in bodies if body)


def _evolved(known: Definition, event: DefinitionEvent) -> Definition:
    match event:
        case DefinitionDrafted():
            return replace(known, version=event.version, draft=AppliedBody(event.version, event.body))
        case DefinitionApplied():
            return replace(known, applied=AppliedBody(event.version, event.body), draft=None)
        case DraftDiscarded():
            return replace(known, draft=None)
        case PersonForgotten() | DefinitionRefused():
            return known
        case RebuildStarted() | RebuildReady() | RebuildPromoted() | RebuildDiscarded():
            return known  # these are of no definition with versions
        case _:
            assert_never(event)


def _decide(known: Definition | None, command: RuleCommand, rules: Rules, room: int) -> Decision:
    fits = (
        command.definition_id == FORGOTTEN
        if isinstance(command, ForgetPerson)
        else is_definition_id(command.definition_id)
    )
    if not fits:
        raise DefinitionRefusedError("no_such_definition", {"definition": command.definition_id})
    check_version(known, command)
    match command:
        case DraftDefinition():
            return _draft(known, command, room)
        case ApplyDefinition():
            return _apply(_drafted(known), command, rules)
        case DiscardDraft():
            return DraftDiscarded, {"version": _drafted(known).version}
        case ForgetPerson():
            return _forget(command)
        case _:
            assert_never(command)


def _draft(known: Definition | None, command: DraftDefinition, room: int) -> Decision:
    try:
        check_body(command.definition_id, command.body)
    except InvalidBodyError as error:
        raise invalid_body("invalid_body", error.errors) from error
    kept = known.applied if known else None
    if len(command.body.encode()) + (len(kept.body.encode()) if kept else 0) > room:
        raise DefinitionRefusedError("too_much")
    return DefinitionDrafted, {"version": 1 + (known.version if known else 0), "body": command.body}


def _drafted(known: Definition | None) -> AppliedBody:
    if known is None or known.draft is None:
        raise DefinitionRefusedError("no_draft")
    return known.draft


def _apply(draft: AppliedBody, command: ApplyDefinition, rules: Rules) -> Decision:
    if draft.version != command.version:
        raise DefinitionRefusedError("version_mismatch", {"version": draft.version, "expected": command.version})
    try:
        check_applied(rules, command.definition_id, draft.body)
    except InvalidBodyError as error:
        raise invalid_body("conflict", error.errors) from error
    return DefinitionApplied, {"version": draft.version, "body": draft.body}


def _forget(command: ForgetPerson) -> Decision:
    if not 0 < len(command.key_hashes) <= MAX_KEYS or not all(map(_HASH.fullmatch, command.key_hashes)):
        raise DefinitionRefusedError("bad_key_hashes", {"max": MAX_KEYS})
    if not is_plausible_time(command.at) or command.at > command.issued_at:
        raise DefinitionRefusedError("forgets_the_future", {"at": rfc3339(command.at)})
    return PersonForgotten, {"key_hashes": command.key_hashes, "at": command.at}
