"""Computes how many of the messages of a job are mapped, and whether all are applied to profiles."""

from typing import Final

import orjson

from app.api.context import Services
from app.api.jobs.views import IngestProgress
from projections.jobs.state import Job
from schemas.instants import moment
from schemas.topics import UPDATES

UPDATE_TOPICS: Final = tuple(topic.name for topic in UPDATES.values())


async def ingest_progress(api: Services, job: Job) -> IngestProgress:
    """Return the progress of a job's messages into the profiles. It is not complete while the lag is unknown."""
    written = job.total_counts.accepted
    mapped = await api.store.lanes.mapped(job.job_id)
    count = min(mapped.count, written) if mapped else 0  # lanes may have mapped more than the read model counts
    complete = count == written and (mapped is None or await api.lanes.has_passed(UPDATE_TOPICS, mapped.at))
    stream = orjson.loads(job.configuration).get("stream")
    rules = api.rules.rules
    excluded_before = rules.scope.left_out.get(job.job_id)
    return IngestProgress(
        written=written,
        mapped=count,
        complete=complete,
        unmapped_stream=stream if isinstance(stream, str) and stream not in rules.mappings else None,
        excluded_before=None if excluded_before is None else moment(excluded_before),
    )
