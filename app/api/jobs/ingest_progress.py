"""How far the messages of a job are on their way into the profiles."""

from typing import Final

import orjson

from app.api.context import Services
from app.api.jobs.views import IngestProgress
from projections.jobs.state import Job
from schemas.instants import moment
from schemas.topics import UPDATES


async def brought(api: Services, job: Job) -> IngestProgress:
    """Return how far a job's messages are. What can't be asked now doesn't count as complete."""
    written, mapped = job.total_counts.accepted, await api.store.lanes.mapped(job.job_id)
    count = min(mapped.count, written) if mapped else 0  # lanes may be faster than the view of the job
    complete = count == written and (mapped is None or await api.lanes.has_passed(UPDATE_TOPICS, mapped.at))
    stream = orjson.loads(job.configuration).get("stream")
    unmapped = stream if isinstance(stream, str) and stream not in api.rules.rules.mappings else None
    undone = api.rules.rules.scope.left_out.get(job.job_id)
    before = moment(undone) if undone is not None else None
    return IngestProgress(written=written, mapped=count, complete=complete, unmapped=unmapped, undone_before=before)


UPDATE_TOPICS: Final = tuple(each.name for each in UPDATES.values())
