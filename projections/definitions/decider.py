"""The envelope of deciding about definitions: checks of every command, and the one event that it leads to."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID, uuid5

from projections.jobs.recorder import is_plausible_time
from schemas.coded import CodedError, Params, caused_by, fit_params
from schemas.definitions import RULES, DefinitionCommand, DefinitionEvent, DefinitionRefused, FieldRefused

EVENT_IDS: Final = UUID("0d2c2a1e-97a3-5b56-8a6e-54a37e3a4c11")
REMEMBERED_COMMANDS: Final = 16
MAX_ERRORS: Final = 100  # of a body, in a refusal

Answer = tuple[type[Any], dict[str, Any]]  # the event, and what it says beside its envelope


class VersionedState(Protocol):
    """What a state tells of its history."""

    @property
    def seq(self) -> int:
        """Its latest event."""
        ...

    @property
    def version(self) -> int:
        """What a command may expect."""
        ...

    @property
    def command_offset(self) -> int:
        """That of the latest command that led to something."""
        ...

    @property
    def updated_at(self) -> datetime:
        """When the latest event happened."""
        ...

    @property
    def recent_commands(self) -> tuple[str, ...]:
        """The latest ids, so that a command sent twice adds nothing."""
        ...


class DefinitionRefusedError(CodedError):
    """A command can't be done; becomes a `DefinitionRefused`."""

    def __init__(self, code: str, params: Params | None = None, errors: tuple[FieldRefused, ...] = ()) -> None:
        super().__init__(code, params)
        self.errors = errors


def invalid_body(code: str, errors: tuple[FieldRefused, ...]) -> DefinitionRefusedError:
    """Return the refusal of an invalid body: its parameters name the first problem."""
    first = errors[0]
    params = {"at": first.pointer, "more": len(errors) - 1, **caused_by(first.code, first.params)}
    return DefinitionRefusedError(code, params, errors[:MAX_ERRORS])


def answered(
    known: VersionedState | None, command: DefinitionCommand, offset: int, decide: Callable[[], Answer]
) -> tuple[DefinitionEvent, ...]:
    """Return the event that a command, found at `offset`, leads to; nothing, when it was seen before."""
    if known and (offset <= known.command_offset or command.command_id in known.recent_commands):
        return ()
    try:
        _check_envelope(command)
        event, facts = decide()
    except DefinitionRefusedError as refusal:
        event, facts = DefinitionRefused, _told(known, command, refusal)
    seq = 0 if event is DefinitionRefused and not known else 1 + (known.seq if known else 0)
    told: DefinitionEvent = event(
        event_id=str(uuid5(EVENT_IDS, command.command_id)),
        definition_id=command.definition_id,
        seq=seq,
        occurred_at=_moment(known, command),
        command_id=command.command_id,
        command_offset=offset,
        actor=command.issued_by,
        rules=command.rules,
        **facts,
    )
    return (told,)


def envelope_behind(known: VersionedState | None, event: DefinitionEvent) -> dict[str, Any]:
    """Return the fields of `VersionedState` behind an event."""
    recent = known.recent_commands if known else ()
    return {
        "seq": event.seq,
        "command_offset": event.command_offset,
        "updated_at": event.occurred_at,
        "recent_commands": (*recent, event.command_id)[-REMEMBERED_COMMANDS:],
    }


def check_version(known: VersionedState | None, command: DefinitionCommand) -> None:
    """Refuse a command that expects another version."""
    version = known.version if known else 0
    if command.expected_version not in {None, version}:
        raise DefinitionRefusedError("version_mismatch", {"version": version, "expected": command.expected_version})


def _check_envelope(command: DefinitionCommand) -> None:
    if command.rules != RULES:  # never newer: a worker stops instead of deciding those
        raise DefinitionRefusedError("unknown_rules", {"rules": command.rules, "supported": RULES})
    if not is_plausible_time(command.issued_at):
        raise DefinitionRefusedError("bad_time", {"year": command.issued_at.year})


def _told(known: VersionedState | None, command: DefinitionCommand, refusal: DefinitionRefusedError) -> dict[str, Any]:
    return {
        "command": type(command).__name__,
        "code": refusal.code,
        "params": fit_params(refusal.params),
        "errors": refusal.errors,
        "version": known.version if known else 0,
    }


def _moment(known: VersionedState | None, command: DefinitionCommand) -> datetime:
    """A clock that steps back must not turn a definition's time back; one that has gone mad must not move it at all."""
    if known is None:
        return command.issued_at
    return max(command.issued_at, known.updated_at) if is_plausible_time(command.issued_at) else known.updated_at
