"""The proof of a history: commands are decided again, and what that gives is compared with the events, byte for byte.

Works on one partition, as its records come; holds no more than what is expected next and a window of the past.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Literal, Protocol

from projections.definitions import state as definitions
from projections.jobs.decide import handle
from projections.jobs.event_checks import UnreadableEventError, read_definition_event, read_event
from projections.jobs.state import Job
from schemas.commands import JobCommand
from schemas.definitions import CommandEnvelope, DefinitionCommand, DefinitionEvent, EventEnvelope
from schemas.events import JobEvent
from schemas.wire.codec import encode

WINDOW: Final = 200_000  # events; a worker that starts again repeats fewer
SHOWN: Final = 100

AnyCommand = JobCommand | DefinitionCommand
AnyEvent = JobEvent | DefinitionEvent
MismatchKind = Literal["changed", "missing", "unexpected", "unreadable"]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Where the events are not what the commands lead to. `offset` is the event's; None for a missing one."""

    kind: MismatchKind
    subject: str  # the job's or definition's id
    seq: int
    event: str
    offset: int | None
    command_offset: int


@dataclass(slots=True)
class VerifyCounts:
    """What was compared so far."""

    commands: int = 0
    unreadable_commands: int = 0  # control made dead letters of them
    events: int = 0
    repeats: int = 0  # the same event once more, as after a crash
    unanswered: int = 0  # expected events that had not been published yet
    found: int = 0  # differences in all
    differences: list[Mismatch] = field(default_factory=list)  # the first of them


class Replay(Protocol):
    """Decides the commands of a partition again, one after another, and reads the events that they led to."""

    def decide(self, offset: int, command: Any) -> tuple[AnyEvent, ...]:
        """Return what a command leads to, after all that were given before."""
        ...

    def read(self, value: bytes) -> AnyEvent:
        """Return the event in a record, or raise `UnreadableEventError`."""
        ...


class JobsReplay:
    """Commands of jobs."""

    def __init__(self) -> None:
        self._states: dict[str, Job | None] = {}

    def decide(self, offset: int, command: JobCommand) -> tuple[AnyEvent, ...]:
        """Return what a command leads to, after all that were given before."""
        state = self._states.get(command.job_id)
        self._states[command.job_id], events = handle(state, command, offset)
        return events

    def read(self, value: bytes) -> JobEvent:
        """Return the event in a record."""
        return read_event(value)


class DefinitionsReplay:
    """Commands of definitions."""

    def __init__(self) -> None:
        self._state = definitions.EMPTY

    def decide(self, offset: int, command: DefinitionCommand) -> tuple[AnyEvent, ...]:
        """Return what a command leads to, after all that were given before."""
        self._state, events = definitions.handle(self._state, command, offset)
        return events

    def read(self, value: bytes) -> DefinitionEvent:
        """Return the event in a record."""
        return read_definition_event(value)


class Audit:
    """Give it all commands and events of a partition, in order; `expects` tells which to give next."""

    def __init__(self, again: Replay, only: str | None = None) -> None:
        self.tally = VerifyCounts()
        self._again = again
        self._only = only
        self._expected: deque[tuple[AnyEvent, bytes]] = deque()
        self._seen: OrderedDict[str, bytes] = OrderedDict()  # event id → digest of its bytes
        self._latest = -1  # offset of the latest command
        self._held: tuple[int, AnyEvent, bytes] | None = None  # an event of a command that is still to come

    @property
    def expects(self) -> bool:
        """Whether the next event can be compared; otherwise give another command first, if there is one."""
        return bool(self._expected) and self._held is None

    def command(self, offset: int, command: AnyCommand | None) -> None:
        """Decide a command again; None stands for a record of which control made a dead letter."""
        self._latest = offset
        if command is None:
            self.tally.unreadable_commands += 1
        elif self._only in {None, subject_of(command)}:
            self._decide(offset, command)
        if self._held and self._held[1].command_offset <= offset:
            held, self._held = self._held, None
            self._match(*held)

    def _decide(self, offset: int, command: AnyCommand) -> None:
        self.tally.commands += 1
        self._expected.extend((event, encode(event)) for event in self._again.decide(offset, command))

    def event(self, offset: int, value: bytes) -> None:
        """Compare an event with what is expected."""
        try:
            event = self._again.read(value)
        except UnreadableEventError:
            self._differ("unreadable", offset=offset)
            return
        if self._only not in {None, subject_of(event)}:
            return
        self.tally.events += 1
        if self._seen.get(event.event_id) == _digest(value):
            self.tally.repeats += 1
            return
        self._give_up_waiting()
        if event.command_offset > self._latest:
            self._held = (offset, event, value)
        else:
            self._match(offset, event, value)

    def close(self) -> VerifyCounts:
        """Return what was found, when all has been given."""
        self._give_up_waiting()
        self.tally.unanswered = len(self._expected)
        return self.tally

    def _give_up_waiting(self) -> None:
        """No more commands came: the event that waits for its own has none."""
        if self._held:
            offset, event, _ = self._held
            self._differ("unexpected", event, offset)
            self._held = None

    def _match(self, offset: int, event: AnyEvent, value: bytes) -> None:
        while self._expected and self._expected[0][0].command_offset < event.command_offset:
            self._differ("missing", self._expected.popleft()[0])
        self._compare(offset, event, value)

    def _compare(self, offset: int, event: AnyEvent, value: bytes) -> None:
        if not self._expected or self._expected[0][0].event_id != event.event_id:
            self._differ("unexpected", event, offset)
            return
        _, expected = self._expected.popleft()
        if expected != value:
            self._differ("changed", event, offset)
        self._seen[event.event_id] = _digest(value)
        if len(self._seen) > WINDOW:
            self._seen.popitem(last=False)

    def _differ(self, kind: MismatchKind, event: AnyEvent | None = None, offset: int | None = None) -> None:
        self.tally.found += 1
        if len(self.tally.differences) < SHOWN:
            self.tally.differences.append(
                Mismatch(kind, subject_of(event), event.seq, type(event).__name__, offset, event.command_offset)
                if event
                else Mismatch(kind, "", 0, "", offset, -1)
            )


def subject_of(record: AnyCommand | AnyEvent) -> str:
    """Return the ID of the job or definition of a command or event."""
    return record.definition_id if isinstance(record, CommandEnvelope | EventEnvelope) else record.job_id


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()
