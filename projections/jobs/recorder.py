"""Record the events of one command. The only place that assigns sequence numbers, times and ids to events."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from projections.jobs.evolve import evolve
from projections.jobs.state import Job, JobState, NoJob
from schemas.coded import CodedError
from schemas.commands import JobCommand
from schemas.events import CommandRefused, JobEvent

MIN_YEAR: Final = 1970
MAX_YEAR: Final = 9000  # the sum of a time and a duration still fits into a datetime
MAX_TEXT_CHARACTERS: Final = 4_000  # characters of a provider's own words
EVENT_IDS: Final = UUID("6a7f1d0e-4a53-5f0b-9a51-0d6f9d1c2b7e")


class JobRefusedError(CodedError):
    """The command is refused. Never leaves `projections`: it becomes a `CommandRefused`.

    `pointer` among the parameters is a JSON pointer to the invalid field of the command, if there is one.
    """


class EventRecorder:
    """The events that the command at `offset` of its partition has caused so far, and the state after them."""

    def __init__(self, state: JobState, command: JobCommand, offset: int) -> None:
        self.state = state
        self.events: list[JobEvent] = []
        self.seed = command.seed
        self.at = _event_time(state, command.issued_at)
        self._command = command
        self._offset = offset

    @property
    def job(self) -> Job:
        """The state of an existing job."""
        assert isinstance(self.state, Job)
        return self.state

    def record(self, kind: type[JobEvent], /, **fields: Any) -> None:
        """Add an event and evolve the state."""
        event = kind(
            event_id=str(uuid5(EVENT_IDS, f"{self._command.command_id}/{len(self.events)}")),
            job_id=self._command.job_id,
            seq=self._next_seq(kind),
            occurred_at=self.at,
            command_id=self._command.command_id,
            command_offset=self._offset,
            actor=self._command.issued_by,
            rules=self._command.rules,
            **fields,
        )
        self.events.append(event)
        self.state = evolve(self.state, event)

    def _next_seq(self, kind: type[JobEvent]) -> int:
        if isinstance(self.state, NoJob):
            return 0 if kind is CommandRefused else 1
        return self.state.seq + 1


def is_plausible_time(time: datetime) -> bool:
    """Whether a clock can show that time."""
    return MIN_YEAR <= time.year < MAX_YEAR


def _event_time(state: JobState, issued_at: datetime) -> datetime:
    """Return the time of the events: never before the latest event, also when the issuer's clock is wrong."""
    if isinstance(state, NoJob):
        return issued_at
    return max(issued_at, state.updated_at) if is_plausible_time(issued_at) else state.updated_at
