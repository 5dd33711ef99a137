"""Record the events of one command of a job, with their envelopes."""

from typing import Any, Final

from projections.decider import RefusedError, event_envelope, event_time
from projections.jobs.evolve import evolve
from projections.jobs.state import Job
from schemas.commands import JobCommand
from schemas.events import CommandRefused, JobEvent

MAX_TEXT_CHARACTERS: Final = 4_000  # of a provider's message


class JobRefusedError(RefusedError):
    """The command about a job is refused; becomes a `CommandRefused`.

    `pointer` among the parameters is a JSON pointer to the invalid field of the command, if there is one.
    """


class EventRecorder:
    """The events that the command at `offset` of its partition has caused so far, and the state after them."""

    def __init__(self, state: Job | None, command: JobCommand, offset: int) -> None:
        self.state = state
        self.events: list[JobEvent] = []
        self.seed = command.seed
        self.at = event_time(state, command.issued_at)
        self._command = command
        self._offset = offset

    @property
    def job(self) -> Job:
        """The state of an existing job."""
        assert self.state is not None
        return self.state

    def record(self, kind: type[JobEvent], /, **fields: Any) -> None:
        """Add an event and evolve the state."""
        envelope = event_envelope(self.state, self._command, self._offset, len(self.events)) | {"occurred_at": self.at}
        if self.state is None and kind is CommandRefused:
            envelope["seq"] = 0
        event = kind(job_id=self._command.job_id, **envelope, **fields)
        self.events.append(event)
        self.state = evolve(self.state, event)
