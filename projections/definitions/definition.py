"""The life cycle of one definition: drafted, applied, drafted again. Pure and total.

A command causes one event, or none if it was handled before. Whether a definition can be applied depends on the active
versions of all others: the caller passes them as `rules`. All definitions share one partition, so these are current.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, assert_never

from projections.decider import state_envelope
from projections.definitions.body_checks import InvalidBodyError, check_applied, check_body
from projections.definitions.decider import Decision, DefinitionRefusedError, check_version, decided, invalid_body
from projections.definitions.kinds import versioned_kind
from projections.definitions.rebuild_spec import VersionedBody
from projections.definitions.rules import Rules
from schemas.definitions import (
    ApplyDefinition,
    DefinitionApplied,
    DefinitionDrafted,
    DefinitionEvent,
    DefinitionKind,
    DefinitionRefused,
    DiscardDraft,
    DraftDefinition,
    DraftDiscarded,
    ForgettingExtended,
    ForgettingStarted,
    PersonForgotten,
    RebuildDiscarded,
    RebuildPromoted,
    RebuildReady,
    RebuildStarted,
    RuleCommand,
    TokenCreated,
    TokenRevoked,
    kind_of,
)

UNBOUNDED: Final = 2**62  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """The state of a definition after event `seq`."""

    definition_id: str
    seq: int
    command_offset: int  # of the latest command that caused an event
    updated_at: datetime
    version: int = 0  # the newest one drafted so far; 0 before the first
    applied: VersionedBody | None = None
    draft: VersionedBody | None = None
    recent_commands: tuple[str, ...] = ()  # the latest ids, to recognise a command that is sent twice

    @property
    def kind(self) -> DefinitionKind | None:
        """The kind of the definition."""
        return kind_of(self.definition_id)


def is_definition_id(definition_id: str) -> bool:
    """Whether the id is valid for a definition with drafts and versions."""
    return versioned_kind(definition_id) is not None


def decide(
    current: Definition | None, command: RuleCommand, offset: int, rules: Rules, max_bytes: int = UNBOUNDED
) -> tuple[DefinitionEvent, ...]:
    """Return the event that the command at `offset` causes under the active `rules`; none if it was handled before.

    `max_bytes` limits the bodies of this definition together, in UTF-8.
    """
    return decided(current, command, offset, lambda: _decide(current, command, rules, max_bytes))


def evolve(current: Definition | None, event: DefinitionEvent) -> Definition | None:
    """Return the state after an event. An event that is not the next of its definition is ignored."""
    if event.seq != 1 + (current.seq if current else 0):
        return current
    envelope = state_envelope(current, event)
    if current is None:
        current = Definition(definition_id=event.definition_id, **envelope)
    return replace(_evolved(current, event), **envelope)


def bytes_of(definition: Definition) -> int:
    """Return the size of a definition's bodies in UTF-8."""
    return sum(len(body.body.encode()) for body in (definition.applied, definition.draft) if body)


def _evolved(current: Definition, event: DefinitionEvent) -> Definition:
    match event:
        case DefinitionDrafted():
            return replace(current, version=event.version, draft=VersionedBody(event.version, event.body))
        case DefinitionApplied():
            return replace(current, applied=VersionedBody(event.version, event.body), draft=None)
        case DraftDiscarded():
            return replace(current, draft=None)
        case DefinitionRefused() | ForgettingStarted() | ForgettingExtended() | PersonForgotten():
            return current
        case (
            RebuildStarted() | RebuildReady() | RebuildPromoted() | RebuildDiscarded() | TokenCreated() | TokenRevoked()
        ):
            return current
        case _:
            assert_never(event)


def _decide(current: Definition | None, command: RuleCommand, rules: Rules, max_bytes: int) -> Decision:
    if not is_definition_id(command.definition_id):
        raise DefinitionRefusedError("no_such_definition", {"definition": command.definition_id})
    check_version(current, command)
    match command:
        case DraftDefinition():
            return _draft(current, command, max_bytes)
        case ApplyDefinition():
            return _apply(_drafted(current), command, rules)
        case DiscardDraft():
            return DraftDiscarded, {"version": _drafted(current).version}
        case _:
            assert_never(command)


def _draft(current: Definition | None, command: DraftDefinition, max_bytes: int) -> Decision:
    try:
        check_body(command.definition_id, command.body)
    except InvalidBodyError as error:
        raise invalid_body("invalid_body", error.errors) from error
    applied = current.applied if current else None
    if len(command.body.encode()) + (len(applied.body.encode()) if applied else 0) > max_bytes:
        raise DefinitionRefusedError("too_much")
    return DefinitionDrafted, {"version": 1 + (current.version if current else 0), "body": command.body}


def _drafted(current: Definition | None) -> VersionedBody:
    if current is None or current.draft is None:
        raise DefinitionRefusedError("no_draft")
    return current.draft


def _apply(draft: VersionedBody, command: ApplyDefinition, rules: Rules) -> Decision:
    if draft.version != command.version:
        raise DefinitionRefusedError("version_mismatch", {"version": draft.version, "expected": command.version})
    try:
        check_applied(rules, command.definition_id, draft.body)
    except InvalidBodyError as error:
        raise invalid_body("conflict", error.errors) from error
    return DefinitionApplied, {"version": draft.version, "body": draft.body}
