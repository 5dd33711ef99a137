"""One run of one job: from its cursor to the end of what there is, each batch committed together with its report."""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from app.runner.packing import command_record, message_records, progress, reject_records
from app.safe_faust.publishing import Outgoing
from app.stamp import Clock, stamp
from connectors.catalog import connector
from connectors.contract import (
    Batch,
    ConnectorError,
    FixConfiguration,
    JobType,
    Limits,
    RateLimited,
    RenewAuthorization,
    RetryLater,
)
from projections.job_state import Job
from schemas.commands import NONE, JobCommand, ReportError, ReportProgress, ReportRateLimit

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run needs besides its job."""

    limits: Limits
    clock: Clock
    partition: int
    partitions: int
    submit: Callable[[Sequence[Outgoing]], Awaitable[None]]  # returns once the records are committed


class Run:
    """The run `job.run` of a job, as its events up to now tell it."""

    def __init__(self, job: Job, around: Surroundings) -> None:
        self.job = job
        self.report = job.report  # of the latest report submitted
        self._cursor = job.cursor
        self._around = around

    async def drive(self) -> None:
        """Read to the end and report how that went. Only a writer's error or a cancel escapes."""
        try:
            await self._gather()
            last: JobCommand = self._pass_done()
        except RateLimited as limit:
            last = ReportRateLimit(
                **self._stamp(),
                run=self.job.run,
                code=limit.code,
                message=limit.message,
                retry_after_seconds=limit.retry_after,
            )
        except ConnectorError as error:
            last = ReportError(**self._stamp(), run=self.job.run, **_diagnosis(error))
        await self._around.submit([command_record(last, self._around.partition)])

    async def _gather(self) -> None:
        job_type = _job_type(self.job)
        configuration = _configuration(job_type, self.job)
        reading = job_type.read(configuration, orjson.loads(self.job.cursor), self._around.limits)
        async with contextlib.aclosing(_guarded(reading)) as batches:
            async for batch in batches:
                await self._commit(batch)

    async def _commit(self, batch: Batch) -> None:
        around, now = self._around, self._around.clock()
        self.report += 1
        self._cursor = orjson.dumps(batch.cursor).decode()
        await around.submit(
            [
                *message_records(self.job, batch, self.report, around.partitions, now),
                *reject_records(self.job, batch, now),
                command_record(progress(self._stamp(), self.job, batch, self.report), around.partition),
            ]
        )

    def _stamp(self) -> dict[str, Any]:
        return stamp(self.job.job_id, "runner", self._around.clock)

    def _pass_done(self) -> ReportProgress:
        self.report += 1
        return ReportProgress(
            **self._stamp(),
            run=self.job.run,
            report=self.report,
            cursor=self._cursor,
            counts=NONE,
            stream="",
            lane="",
            pass_done=True,
        )


def _job_type(job: Job) -> JobType:
    provider = connector(job.provider)
    job_type = provider.job_type(job.job_type) if provider else None
    if job_type is None:
        raise FixConfiguration("unknown_job_type", f"this service has no {job.provider}/{job.job_type} connector")
    return job_type


def _configuration(job_type: JobType, job: Job) -> BaseModel:
    try:
        return job_type.config.model_validate_json(job.configuration)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = "/" + "/".join(str(each) for each in first["loc"])
        raise FixConfiguration("bad_configuration", f"{where}: {first['msg']}") from error


async def _guarded(reading: Any) -> Any:
    """Yield what a connector reads; an error that it doesn't know about becomes one to retry."""
    async with contextlib.aclosing(reading) as batches:
        try:
            async for batch in batches:
                yield batch
        except ConnectorError:
            raise
        except Exception as error:
            _log.exception("a connector failed in a way that it doesn't explain")
            raise RetryLater(
                "unexpected", f"the connector failed with {type(error).__name__}; the runner's log has the details"
            ) from error


def _diagnosis(error: ConnectorError) -> dict[str, Any]:
    common = {"code": error.code, "message": error.message, "detail": error.detail}
    match error:
        case FixConfiguration():
            return {**common, "fault": "configuration", "advice": "fix_configuration"}
        case RenewAuthorization():
            return {**common, "fault": "authorization", "advice": "renew_authorization"}
        case RetryLater(code="unexpected"):
            return {**common, "fault": "entrepot", "advice": "retry"}
        case RetryLater(retry_after=float() | int() as seconds):
            return {**common, "fault": "provider", "advice": "wait", "retry_after_seconds": seconds}
        case _:
            return {**common, "fault": "provider", "advice": "retry"}
