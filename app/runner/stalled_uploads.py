"""Detect abandoned uploads: no runner runs pushed jobs, so one without progress has to be failed."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from projections.jobs.state import Job, Running
from schemas.commands import ReportError

REPORT_TIMEOUT: Final = timedelta(minutes=15)  # the API reports on an upload at least every minute
RETRY_DELAY: Final = timedelta(seconds=10)  # if a report had no effect: it was lost or refused


class StalledUploads:
    """The running pushed jobs of a partition, and when their next report is overdue."""

    def __init__(self) -> None:
        self._due: dict[str, tuple[Job, datetime]] = {}

    def update(self, job: Job) -> None:
        """Track the current state of a pushed job."""
        if isinstance(job.phase, Running):
            self._due[job.job_id] = (job, job.updated_at + REPORT_TIMEOUT)
        else:
            self._due.pop(job.job_id, None)

    def due(self, now: datetime, stamped: Callable[[str], dict[str, Any]]) -> Iterator[ReportError]:
        """Yield an error report for each overdue job; repeat it while it has no effect."""
        for job_id, (job, deadline) in tuple(self._due.items()):
            if deadline <= now:
                self._due[job_id] = (job, now + RETRY_DELAY)
                yield ReportError(
                    **stamped(job_id),
                    run=job.run,
                    fault="configuration",
                    advice="fix_configuration",
                    code="upload_interrupted",
                    params={},
                )
