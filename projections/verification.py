"""Verify a history: replay the commands of a partition, and compare the resulting events byte for byte.

Memory holds only the expected events and a window of past ones.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Literal

from projections.definitions import state as definitions
from projections.jobs.decide import handle
from projections.jobs.event_checks import UnreadableEventError, read_definition_event, read_event
from projections.jobs.state import Job
from schemas.commands import JobCommand
from schemas.definitions import CommandEnvelope, DefinitionCommand, DefinitionEvent, EventEnvelope
from schemas.events import JobEvent
from schemas.wire.codec import encode

WINDOW: Final = 200_000  # events; a restarted worker repeats fewer
MAX_SHOWN: Final = 100

AnyCommand = JobCommand | DefinitionCommand
AnyEvent = JobEvent | DefinitionEvent
MismatchKind = Literal["changed", "missing", "unexpected", "unreadable"]


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A difference from the replayed events. `offset` is that of the event; None for a missing one."""

    kind: MismatchKind
    subject: str  # the id of the job or definition
    seq: int
    event: str
    offset: int | None
    command_offset: int


@dataclass(slots=True)
class VerifyCounts:
    """The counts of an audit."""

    commands: int = 0
    unreadable_commands: int = 0  # control wrote dead letters for them
    events: int = 0
    repeats: int = 0  # events that were published twice, as after a crash
    unanswered: int = 0  # expected events that are not published yet
    difference_count: int = 0
    differences: list[Mismatch] = field(default_factory=list)  # the first ones


class JobsReplay:
    """Replays commands of jobs."""

    def __init__(self) -> None:
        self._states: dict[str, Job | None] = {}

    def decide(self, offset: int, command: Any) -> tuple[AnyEvent, ...]:
        """Return the events of the next command."""
        state = self._states.get(command.job_id)
        self._states[command.job_id], events = handle(state, command, offset)
        return events

    def read(self, value: bytes) -> JobEvent:
        """Return the event in a record."""
        return read_event(value)


class DefinitionsReplay:
    """Replays commands of definitions."""

    def __init__(self) -> None:
        self._state = definitions.EMPTY

    def decide(self, offset: int, command: Any) -> tuple[AnyEvent, ...]:
        """Return the events of the next command."""
        self._state, events = definitions.handle(self._state, command, offset)
        return events

    def read(self, value: bytes) -> DefinitionEvent:
        """Return the event in a record."""
        return read_definition_event(value)


class Audit:
    """Compares all commands and events of a partition, in order. `expects` says which to pass next.

    With `only` the records of other jobs or definitions are ignored.
    """

    def __init__(self, replay: JobsReplay | DefinitionsReplay, only: str | None = None) -> None:
        self.counts = VerifyCounts()
        self._replay = replay
        self._only = only
        self._expected: deque[tuple[AnyEvent, bytes]] = deque()
        self._seen: OrderedDict[str, bytes] = OrderedDict()  # event id → digest of its bytes
        self._latest = -1  # offset of the latest command
        self._held: tuple[int, AnyEvent, bytes] | None = None  # an event whose command is still to come

    @property
    def expects(self) -> bool:
        """Whether the next event can be compared; otherwise pass another command first, if there is one."""
        return bool(self._expected) and self._held is None

    def command(self, offset: int, command: AnyCommand | None) -> None:
        """Replay a command; None stands for an unreadable one."""
        self._latest = offset
        if command is None:
            self.counts.unreadable_commands += 1
        elif self._only in {None, subject_of(command)}:
            self._decide(offset, command)
        if self._held and self._held[1].command_offset <= offset:
            held, self._held = self._held, None
            self._match(*held)

    def _decide(self, offset: int, command: AnyCommand) -> None:
        self.counts.commands += 1
        self._expected.extend((event, encode(event)) for event in self._replay.decide(offset, command))

    def event(self, offset: int, value: bytes) -> None:
        """Compare an event with the expected one."""
        try:
            event = self._replay.read(value)
        except UnreadableEventError:
            self._differ("unreadable", offset=offset)
            return
        if self._only not in {None, subject_of(event)}:
            return
        self.counts.events += 1
        if self._seen.get(event.event_id) == _digest(value):
            self.counts.repeats += 1
            return
        self._give_up_waiting()
        if event.command_offset > self._latest:
            self._held = (offset, event, value)
        else:
            self._match(offset, event, value)

    def close(self) -> VerifyCounts:
        """Return the counts, after all records."""
        self._give_up_waiting()
        self.counts.unanswered = len(self._expected)
        return self.counts

    def _give_up_waiting(self) -> None:
        """Report the event that waits for its command: there are no more commands."""
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
        self.counts.difference_count += 1
        if len(self.counts.differences) < MAX_SHOWN:
            self.counts.differences.append(
                Mismatch(kind, subject_of(event), event.seq, type(event).__name__, offset, event.command_offset)
                if event
                else Mismatch(kind, "", 0, "", offset, -1)
            )


def subject_of(record: AnyCommand | AnyEvent) -> str:
    """Return the ID of the job or definition of a command or event."""
    return record.definition_id if isinstance(record, CommandEnvelope | EventEnvelope) else record.job_id


def _digest(value: bytes) -> bytes:
    return blake2b(value, digest_size=16).digest()
