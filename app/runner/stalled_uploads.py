"""Jobs whose data comes with a request: no runner drives them, and one that nobody drives any more is told to fail."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from projections.jobs.state import Job, Running
from schemas.commands import ReportError

REPORT_TIMEOUT: Final = timedelta(minutes=15)  # whoever drives an upload reports at least every minute
ASK_AGAIN: Final = timedelta(seconds=10)  # when a report led to nothing: it was lost, or refused


class StalledUploads:
    """The pushed jobs of a partition that are Running, and which of them nobody has reported on for too long."""

    def __init__(self) -> None:
        self._due: dict[str, tuple[Job, datetime]] = {}

    def look_at(self, job: Job) -> None:
        """Take the newest state of a pushed job."""
        if isinstance(job.phase, Running):
            self._due[job.job_id] = (job, job.updated_at + REPORT_TIMEOUT)
        else:
            self._due.pop(job.job_id, None)

    def due(self, now: datetime, stamped: Callable[[str], dict[str, Any]]) -> Iterator[ReportError]:
        """Yield the report of each job that has waited long enough; what leads to nothing is asked again."""
        for job_id, (job, moment) in tuple(self._due.items()):
            if moment <= now:
                self._due[job_id] = (job, now + ASK_AGAIN)
                yield ReportError(
                    **stamped(job_id),
                    run=job.run,
                    fault="configuration",
                    advice="fix_configuration",
                    code="upload_interrupted",
                    params={},
                )
