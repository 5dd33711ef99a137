"""What the deciders of jobs and of definitions share: the checks of every command, and the envelopes of events.

A decider is a pure function `handle(state, command, offset) -> (state, events)`. Time and ids come in with the command.
"""

from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID, uuid5

from schemas.coded import CodedError
from schemas.commands import Command
from schemas.definitions import CommandEnvelope, EventEnvelope
from schemas.events import Event

MIN_YEAR: Final = 1970
MAX_YEAR: Final = 9000  # the sum of a time and a duration still fits into a datetime
EVENT_IDS: Final = UUID("6a7f1d0e-4a53-5f0b-9a51-0d6f9d1c2b7e")
REMEMBERED_COMMANDS: Final = 16

AnyCommand = Command | CommandEnvelope
AnyEvent = Event | EventEnvelope


class RefusedError(CodedError):
    """The command is refused. Never leaves `projections`: it becomes an event."""


class DecidedState(Protocol):
    """The history of a state."""

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
        """The latest command ids, so that a command sent twice adds nothing."""
        ...


def is_handled(state: DecidedState | None, command: AnyCommand, offset: int) -> bool:
    """Whether the state already includes the events of a command."""
    return state is not None and (offset <= state.command_offset or command.command_id in state.recent_commands)


def check_envelope(command: AnyCommand, rules: int) -> None:
    """Check the rules version and the time of a command.

    Raises:
        RefusedError: one of them is invalid. The rules are never newer: a worker stops instead of deciding those.

    """
    if command.rules != rules:
        raise RefusedError("unknown_rules", {"rules": command.rules, "supported": rules})
    if not is_plausible_time(command.issued_at):
        raise RefusedError("bad_time", {"year": command.issued_at.year})


def event_envelope(state: DecidedState | None, command: AnyCommand, offset: int, index: int) -> dict[str, Any]:
    """Return the envelope of event `index` of a command, the next event of the state."""
    return {
        "event_id": str(uuid5(EVENT_IDS, f"{command.command_id}/{index}")),
        "seq": 1 + (state.seq if state else 0),
        "occurred_at": event_time(state, command.issued_at),
        "command_id": command.command_id,
        "command_offset": offset,
        "actor": command.issued_by,
        "rules": command.rules,
    }


def state_envelope(state: DecidedState | None, event: AnyEvent) -> dict[str, Any]:
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
    """Whether a clock can show that time."""
    return MIN_YEAR <= time.year < MAX_YEAR
