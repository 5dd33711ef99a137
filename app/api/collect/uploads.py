"""Large uploads: the run of a pushed job, driven from a request. Each batch commits together with its report.

Every upload has a transactional id of its own, made from its job's: whoever takes an upload over fences the one before,
wherever that runs, so that no batch can be written twice.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from app.api.collect.upload_counts import UploadCounts
from app.clock import Clock
from app.kafka.clients import Cluster
from app.kafka.producer_record import ProducerRecord
from app.kafka.transactions import GroupCommit
from app.records.partitioning import partition_of
from app.runner.run import Run, RunContext
from app.store.read_store import ReadStore
from connectors.contract import Batch, Cursor, Limits
from connectors.providers.collect import Config, read_upload
from connectors.text.importer import Source
from projections.jobs.state import Job
from schemas.commands import JobCommand

BEAT_SECONDS: Final = 60.0  # so often at least something is reported; the runner gives up after fifteen times that
POLL_INTERVAL_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class UploadStoppedError(Exception):
    """The job isn't Running any more: somebody paused or killed it, or gave it up. `status` says what it is."""

    def __init__(self, status: str) -> None:
        super().__init__(f"the job is {status} now")
        self.status = status


@dataclass(frozen=True, slots=True)
class UploadContext:
    """What uploads need besides their jobs."""

    cluster: Cluster
    partitions: int
    store: ReadStore
    limits: Limits
    clock: Clock


@dataclass(frozen=True, slots=True)
class Upload:
    """One request's part of an upload: the job as it stands, and the body."""

    job: Job
    source: Source
    tally: UploadCounts = field(default_factory=UploadCounts)

    async def drive(self, place: UploadContext, writer: GroupCommit) -> JobCommand:
        """Take everything there is behind the job's cursor and return the last report.

        Raises:
            UploadStoppedError: the job isn't to be worked on any more.
            FencedError: another request goes on with this upload.
            UnknownOutcomeError: it is not known what of it was committed.

        """

        async def submit(records: Sequence[ProducerRecord]) -> None:
            await asyncio.shield(writer.submit(records))

        partition = partition_of(self.job.job_id, place.partitions)
        around = RunContext(place.limits, place.clock, partition, place.partitions, submit)
        driving = asyncio.create_task(Run(self.job, around, self._read).drive())
        watching = asyncio.create_task(_until_stopped(place.store, self.job))
        try:
            await asyncio.wait({driving, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not driving.done():
                raise UploadStoppedError(watching.result())
            return driving.result()
        finally:
            driving.cancel()
            watching.cancel()
            await asyncio.gather(driving, watching, return_exceptions=True)

    async def _read(self, config: Any, cursor: Cursor, limits: Limits) -> AsyncIterator[Batch]:
        nothing = _nothing(config, cursor, self.source.name)
        async with aclosing(read_upload(config, cursor, limits, self.source)) as batches:
            coming = asyncio.ensure_future(anext(batches, None))
            try:
                while True:
                    await asyncio.wait({coming}, timeout=BEAT_SECONDS)
                    if not coming.done():
                        yield nothing
                        continue
                    batch = coming.result()
                    if batch is None:
                        return
                    self.tally.count(batch)
                    nothing = replace(nothing, cursor=batch.cursor)
                    yield batch
                    coming = asyncio.ensure_future(anext(batches, None))
            finally:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)


def _nothing(config: Config, cursor: Cursor, name: str) -> Batch:
    """Return a batch that only says that the upload lives."""
    return Batch(
        stream=config.stream,
        lane=config.lane,
        source=name,
        payload=b"",
        count=0,
        timestamps=b"",
        first_row=1,
        read=0,
        cursor=cursor,
    )


async def _until_stopped(store: ReadStore, job: Job) -> str:
    """Return the status of the job once it is another one; the views send no signal, so they are asked."""
    while True:
        await asyncio.sleep(POLL_INTERVAL_SECONDS)
        try:
            found = await store.jobs.get(job.job_id)
        except (SQLAlchemyError, OSError) as error:
            _log.warning("the views can't be asked whether job %s was stopped, trying again: %r", job.job_id, error)
            continue
        if found is not None and found.seq > job.seq and (found.status not in {"Running", "Completed"}):
            return found.status
