"""When the clock has to look at which job next. Tells; sends nothing."""

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from projections.decide import next_look
from projections.job_state import Job
from schemas.commands import PurgeJob, WakeJob

ASK_AGAIN: Final = timedelta(seconds=10)  # when a look led to nothing: the command was lost, or refused


class Alarms:
    """A heap of moments; entries that a later state of the job made wrong are dropped when they come up."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._heap: list[tuple[datetime, int, str]] = []  # moment, the seq it was set at, job id

    def set(self, job: Job) -> None:
        """Take the newest state of a job."""
        if look := next_look(job):
            self._jobs[job.job_id] = job
            heapq.heappush(self._heap, (look[0], job.seq, job.job_id))
        else:
            self._jobs.pop(job.job_id, None)

    def due(self, now: datetime) -> Iterator[tuple[str, type[WakeJob | PurgeJob]]]:
        """Yield the jobs to look at now, each with the command that looks."""
        while self._heap and self._heap[0][0] <= now:
            _, seq, job_id = heapq.heappop(self._heap)
            job = self._jobs.get(job_id)
            if job is None or job.seq != seq:
                continue
            if look := next_look(job):
                heapq.heappush(self._heap, (now + ASK_AGAIN, seq, job_id))
                yield job_id, look[1]
