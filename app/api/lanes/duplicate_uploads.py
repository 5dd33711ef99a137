"""Whether a file of a name was sent into a stream before. Sent again it is an upload of its own, and counts again."""

from collections.abc import Collection
from typing import Final, get_args

import orjson

from app.store.models import JobFilter, Sort
from app.store.read_store import ReadStore
from projections.jobs.state import Job, Status

MAX_CHECKED_UPLOADS: Final = 100  # uploads, the newest first
NEWEST: Final = Sort("updated", "descending")


async def sent_before(store: ReadStore, stream: str, filename: str, undone: Collection[str]) -> Job | None:
    """Return the newest upload of a file of that name into the stream, unless all such were `undone` (ids)."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    if name.partition(".")[0] in {"", "stdin"}:  # as the command line calls what came on standard input
        return None
    those = JobFilter(statuses=get_args(Status), provider="collect", text=name)
    for job in (await store.jobs.page(those, NEWEST, MAX_CHECKED_UPLOADS)).items:
        said = orjson.loads(job.configuration)
        same = (said.get("stream"), said.get("filename")) == (stream, name)
        if same and job.total_counts.accepted and job.job_id not in undone:
            return job
    return None
