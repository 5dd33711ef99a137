"""Reports of runs."""

import orjson

from connectors.contract import Batch
from projections.jobs.state import Job
from schemas.commands import Counts, ReportProgress


def progress_report(envelope: dict[str, object], job: Job, batch: Batch, report: int) -> ReportProgress:
    """Return the progress report of a batch."""
    return ReportProgress(
        **envelope,  # type: ignore[arg-type]  # the fields of Command, made by `stamp`
        run=job.run,
        report=report,
        cursor=orjson.dumps(batch.cursor).decode(),
        counts=counts_of(batch),
        stream=batch.stream,
        lane=batch.lane,
        pass_done=False,
        bytes_read=batch.bytes_read,
        bytes_total=batch.bytes_total,
    )


def counts_of(batch: Batch) -> Counts:
    """Return the counts of a batch."""
    return Counts(
        read=batch.read,
        accepted=batch.count,
        rejected=len(batch.rejects) + batch.rejects_dropped,
        duplicate=batch.duplicate,
        omitted=batch.omitted,
    )
