"""When the clock has to look at which job next. Tells; sends nothing."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from projections.jobs.decide import next_look
from projections.jobs.state import Job
from schemas.commands import PurgeJob, WakeJob

NextTimer = tuple[datetime, type[WakeJob | PurgeJob]]

ASK_AGAIN: Final = timedelta(seconds=10)  # when a look led to nothing: the command was lost, or refused
MAX_STALE_ENTRIES: Final = 1_000  # entries that may be out of date before anyone cleans up


@dataclass(slots=True)
class _Timer:
    look: NextTimer
    rings_at: datetime


class Timers:
    """A heap of moments; entries that a later look at the job made wrong are dropped when they come up."""

    def __init__(self) -> None:
        self._alarms: dict[str, _Timer] = {}
        self._heap: list[tuple[datetime, str]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, job: Job) -> None:
        """Take the newest state of a job. One that changes nothing about the look leaves its alarm as it is."""
        look = next_look(job)
        known = self._alarms.get(job.job_id)
        if look is None:
            self._alarms.pop(job.job_id, None)
        elif known is None or known.look != look:
            self._alarms[job.job_id] = _Timer(look, look[0])
            self._push(look[0], job.job_id)

    def due(self, now: datetime) -> Iterator[tuple[str, type[WakeJob | PurgeJob]]]:
        """Yield the jobs to look at now, each with the command that looks. What isn't asked for stays due."""
        while self._heap and self._heap[0][0] <= now:
            moment, job_id = heapq.heappop(self._heap)
            alarm = self._alarms.get(job_id)
            if alarm and alarm.rings_at == moment:
                alarm.rings_at = now + ASK_AGAIN
                self._push(alarm.rings_at, job_id)
                yield job_id, alarm.look[1]

    def _push(self, moment: datetime, job_id: str) -> None:
        heapq.heappush(self._heap, (moment, job_id))
        if len(self._heap) > 2 * len(self._alarms) + MAX_STALE_ENTRIES:
            self._heap = [(each.rings_at, job_id) for job_id, each in self._alarms.items()]
            heapq.heapify(self._heap)
