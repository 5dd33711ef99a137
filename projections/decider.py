"""The common part of the deciders of jobs and definitions: checks of every command, and the envelopes of events.

A decider is a pure function `handle(state, command, offset) -> (state, events)`. The command provides time and ids.
"""

from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID, uuid5

from schemas.coded import CodedError
from schemas.commands import Command
from schemas.definitions import CommandEnvelope, EventEnvelope
from schemas.events import Event

MIN_YEAR: Final = 1970
MAX_YEAR: Final = 9000  # so that the sum of a time and a duration fits into a datetime
EVENT_ID_NAMESPACE: Final = UUID("6a7f1d0e-4a53-5f0b-9a51-0d6f9d1c2b7e")
REMEMBERED_COMMANDS: Final = 16

CommandBase = Command | CommandEnvelope
EventBase = Event | EventEnvelope


class RefusedError(CodedError):
    """The command is refused. Never leaves `projections`: it becomes an event."""


class DecidedState(Protocol):
    """The fields of a state that identify the events and commands it includes."""

    @property
    def seq(self) -> int:
        """The number of the latest event."""
        ...

    @property
    def command_offset(self) -> int:
        """The offset of the latest command that caused an event."""
        ...

    @property
    def updated_at(self) -> datetime:
        """The time of the latest event."""
        ...

    @property
    def recent_commands(self) -> tuple[str, ...]:
        """The ids of the latest commands that caused an event, to recognise a command that is sent twice."""
        ...


def is_handled(state: DecidedState | None, command: CommandBase, offset: int) -> bool:
    """Whether the state already includes the events of a command."""
    return state is not None and (offset <= state.command_offset or command.command_id in state.recent_commands)


def check_envelope(command: CommandBase, rules: int) -> None:
    """Check the rules version and the time of a command.

    Raises:
        RefusedError: one of them is invalid. The rules are never newer: `app.records.commands` rejects such a command
            with `NewerRulesError`, which stops the worker.

    """
    if command.rules != rules:
        raise RefusedError("unknown_rules", {"rules": command.rules, "supported": rules})
    if not is_plausible_time(command.issued_at):
        raise RefusedError("bad_time", {"year": command.issued_at.year})


def event_envelope(state: DecidedState | None, command: CommandBase, offset: int, index: int) -> dict[str, Any]:
    """Return the envelope of the next event of a state: event `index` of a command."""
    return {
        "event_id": str(uuid5(EVENT_ID_NAMESPACE, f"{command.command_id}/{index}")),
        "seq": 1 + (state.seq if state else 0),
        "occurred_at": event_time(state, command.issued_at),
        "command_id": command.command_id,
        "command_offset": offset,
        "actor": command.issued_by,
        "rules": command.rules,
    }


def state_envelope(state: DecidedState | None, event: EventBase) -> dict[str, Any]:
    """Return the fields of `DecidedState` after an event."""
    recent = state.recent_commands if state else ()
    if event.command_id not in recent:
        recent = (*recent, event.command_id)[-REMEMBERED_COMMANDS:]
    return {
        "seq": event.seq,
        "command_offset": event.command_offset,
        "updated_at": event.occurred_at,
        "recent_commands": recent,
    }


def event_time(state: DecidedState | None, issued_at: datetime) -> datetime:
    """Return the time of the events: never before the latest event, also when the issuer's clock is wrong."""
    if state is None:
        return issued_at
    return max(issued_at, state.updated_at) if is_plausible_time(issued_at) else state.updated_at


def is_plausible_time(time: datetime) -> bool:
    """Whether a time is between the limits: a real clock does not show others."""
    return MIN_YEAR <= time.year < MAX_YEAR
