"""Large uploads: the run of a job, driven by a request. Each batch commits in one transaction with its report.

The transactional id of an upload is derived from its job id, so that a request that resumes the upload fences an
earlier one on any server, and no batch is written twice.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from app.api.collect.upload_counts import UploadCounts
from app.kafka.clients import Cluster
from app.kafka.transactions import GroupCommit
from app.process import Clock
from app.runner.run import Run, RunContext
from app.runner.slots import Slots
from app.store.read_store import ReadStore
from app.tasks import cancel_all
from app.vault.master_key import no_keys
from connectors.contract import Batch, Cursor, Limits
from connectors.providers.collect import Config, read_upload
from connectors.text.importer import Source
from projections.jobs.state import Job
from schemas.commands import JobCommand

HEARTBEAT_INTERVAL_SECONDS: Final = 60.0  # maximum between reports; the runner gives up after fifteen times that
POLL_INTERVAL_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class UploadStoppedError(Exception):
    """The job was paused, archived or given up; it has the status `status`."""

    def __init__(self, status: str) -> None:
        super().__init__(f"the job is {status}")
        self.status = status


@dataclass(frozen=True, slots=True)
class UploadContext:
    """The services and settings of uploads."""

    cluster: Cluster
    partitions: int
    store: ReadStore
    limits: Limits
    clock: Clock


@dataclass(frozen=True, slots=True)
class Upload:
    """One request of an upload: the current job, and the body."""

    job: Job
    source: Source
    checked: bool = True  # refuse a file that a job would not be created for
    counts: UploadCounts = field(default_factory=UploadCounts)

    async def drive(self, context: UploadContext, writer: GroupCommit) -> JobCommand:
        """Import everything after the cursor of the job and return the last report.

        Raises:
            UploadStoppedError: the job was stopped.
            FencedError: another request has resumed this upload.
            UnknownOutcomeError: it is unknown how much was committed.

        """
        run_context = RunContext(
            partitions=context.partitions,
            limits=context.limits,
            clock=context.clock,
            monotonic=time.monotonic,
            slots={self.job.kind: Slots(1, time.monotonic)},  # it waits for no other run
            read_keys=no_keys,
        )
        driving = asyncio.create_task(Run(self.job, run_context, writer.submit, self._read).drive())
        watching = asyncio.create_task(_until_stopped(context.store, self.job))
        try:
            await asyncio.wait({driving, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not driving.done():
                raise UploadStoppedError(watching.result())
            return driving.result()
        finally:
            await cancel_all(driving, watching)

    async def _read(self, config: Any, cursor: Cursor, limits: Limits) -> AsyncIterator[Batch]:
        heartbeat = _heartbeat(config, cursor, self.source.name)
        async with aclosing(read_upload(config, cursor, limits, self.source, checked=self.checked)) as batches:
            pending = asyncio.ensure_future(anext(batches, None))
            try:
                while True:
                    await asyncio.wait({pending}, timeout=HEARTBEAT_INTERVAL_SECONDS)
                    if not pending.done():
                        yield heartbeat
                        continue
                    batch = pending.result()
                    if batch is None:
                        return
                    self.counts.add(batch)
                    heartbeat = replace(heartbeat, cursor=batch.cursor)
                    yield batch
                    pending = asyncio.ensure_future(anext(batches, None))
            finally:
                await cancel_all(pending)


def _heartbeat(config: Config, cursor: Cursor, name: str) -> Batch:
    """Return an empty batch: it reports that the upload is alive."""
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
    """Return the status of the job once it has stopped; polls the read model."""
    while True:
        await asyncio.sleep(POLL_INTERVAL_SECONDS)
        try:
            current = await store.jobs.get(job.job_id)
        except (SQLAlchemyError, OSError) as error:
            _log.warning("cannot read the status of job %s, retrying: %r", job.job_id, error)
            continue
        if current is not None and current.seq > job.seq and current.status not in {"Running", "Completed"}:
            return current.status
