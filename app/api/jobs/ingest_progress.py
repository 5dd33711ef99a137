"""Computes how many of the messages of a job are mapped, and whether all are applied to profiles."""

import orjson

from app.api.context import Services
from app.api.jobs.views import IngestProgress
from app.api.services.lag_monitor import UPDATE_TOPICS
from projections.jobs.state import Job
from schemas.instants import moment


async def ingest_progress(api: Services, job: Job) -> IngestProgress:
    """Return the progress of a job's messages into the profiles. It is not complete while the lag is unknown.

    The messages of a stream without a mapping are in no profile, so they are never complete.
    """
    written = job.total_counts.accepted
    mapped = await api.store.lanes.mapped(job.job_id)
    count = min(mapped.count, written) if mapped else 0  # lanes may have mapped more than the read model counts
    stream = orjson.loads(job.configuration).get("stream")
    rules = api.rules.rules
    unmapped = stream if isinstance(stream, str) and stream not in rules.mappings else None
    complete = (
        unmapped is None
        and count == written
        and (mapped is None or await api.lanes.has_passed(UPDATE_TOPICS, mapped.at))
    )
    excluded_before = rules.scope.excluded.get(job.job_id)
    return IngestProgress(
        written=written,
        mapped=count,
        complete=complete,
        unmapped_stream=unmapped,
        excluded_before=None if excluded_before is None else moment(excluded_before),
    )
