"""Timers of jobs: when each is due for a wake-up or a purge. Does no I/O."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from projections.jobs.decide import next_timer
from projections.jobs.state import Job
from schemas.commands import PurgeJob, WakeJob

NextTimer = tuple[datetime, type[WakeJob | PurgeJob]]

RETRY_DELAY: Final = timedelta(seconds=10)  # if a command had no effect: it was lost or refused
MAX_STALE_ENTRIES: Final = 1_000  # stale heap entries before a clean-up


@dataclass(slots=True)
class _Timer:
    next: NextTimer
    due_at: datetime


class Timers:
    """A heap of due times. Stale entries are dropped when they come up."""

    def __init__(self) -> None:
        self._timers: dict[str, _Timer] = {}
        self._heap: list[tuple[datetime, str]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, job: Job) -> None:
        """Update the timer of a job. An unchanged due time keeps the timer."""
        upcoming = next_timer(job)
        current = self._timers.get(job.job_id)
        if upcoming is None:
            self._timers.pop(job.job_id, None)
        elif current is None or current.next != upcoming:
            self._timers[job.job_id] = _Timer(upcoming, upcoming[0])
            self._push(upcoming[0], job.job_id)

    def due(self, now: datetime) -> Iterator[tuple[str, type[WakeJob | PurgeJob]]]:
        """Yield the due jobs with their commands. Jobs that aren't consumed stay due."""
        while self._heap and self._heap[0][0] <= now:
            moment, job_id = heapq.heappop(self._heap)
            timer = self._timers.get(job_id)
            if timer and timer.due_at == moment:
                timer.due_at = now + RETRY_DELAY
                self._push(timer.due_at, job_id)
                yield job_id, timer.next[1]

    def postpone(self, job_id: str, until: datetime) -> None:
        """Let the due timer of a job be due again at a time."""
        if timer := self._timers.get(job_id):
            timer.due_at = until
            self._push(until, job_id)

    def _push(self, moment: datetime, job_id: str) -> None:
        heapq.heappush(self._heap, (moment, job_id))
        if len(self._heap) > 2 * len(self._timers) + MAX_STALE_ENTRIES:
            self._heap = [(timer.due_at, job_id) for job_id, timer in self._timers.items()]
            heapq.heapify(self._heap)
