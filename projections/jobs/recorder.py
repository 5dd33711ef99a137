"""The events of one command as they come about. The only place that numbers, dates and names events."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid5

from projections.jobs.evolve import evolve
from projections.jobs.state import Job, JobState, NoJob
from schemas.coded import CodedError
from schemas.commands import JobCommand
from schemas.events import CommandRefused, JobEvent

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9000  # sums of a moment and a duration stay within what a datetime holds
MAX_TEXT_CHARACTERS: Final = 4_000  # characters of a provider's own words
EVENT_IDS: Final = UUID("6a7f1d0e-4a53-5f0b-9a51-0d6f9d1c2b7e")


class JobRefusedError(CodedError):
    """A command can't be done now. Stays inside `projections`: it becomes a `CommandRefused`.

    When a field of the command is to blame, `pointer` is a JSON pointer to it.
    """


class EventRecorder:
    """What a command, found at `offset` of its partition, has led to so far, and the state behind it."""

    def __init__(self, state: JobState, command: JobCommand, offset: int) -> None:
        self.state = state
        self.events: list[JobEvent] = []
        self.seed = command.seed
        self.at = _moment(state, command.issued_at)
        self._command = command
        self._offset = offset

    @property
    def job(self) -> Job:
        """The state, of a job that exists."""
        assert isinstance(self.state, Job)
        return self.state

    def tell(self, event: type[JobEvent], **facts: Any) -> None:
        """Add an event and evolve the state by it."""
        told = event(
            event_id=str(uuid5(EVENT_IDS, f"{self._command.command_id}/{len(self.events)}")),
            job_id=self._command.job_id,
            seq=self._next_seq(event),
            occurred_at=self.at,
            command_id=self._command.command_id,
            command_offset=self._offset,
            actor=self._command.issued_by,
            rules=self._command.rules,
            **facts,
        )
        self.events.append(told)
        self.state = evolve(self.state, told)

    def _next_seq(self, event: type[JobEvent]) -> int:
        if isinstance(self.state, NoJob):
            return 0 if event is CommandRefused else 1
        return self.state.seq + 1


def is_sane(moment: datetime) -> bool:
    """Whether a clock that says this can be believed."""
    return FIRST_YEAR <= moment.year < LAST_YEAR


def _moment(state: JobState, issued_at: datetime) -> datetime:
    """A clock that steps back must not turn a job's time back; one that has gone mad must not move it at all."""
    if isinstance(state, NoJob):
        return issued_at
    return max(issued_at, state.updated_at) if is_sane(issued_at) else state.updated_at
