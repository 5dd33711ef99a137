"""`POST /collect/bulk/{stream}`: a CSV or JSON file of any size, streamed into a job that anyone can watch.

Answered means committed. The same Idempotency-Key goes on where an upload stopped, and adds nothing to a complete one.
"""

from typing import Any, Final
from uuid import uuid5

import orjson
from aiohttp import web
from aiokafka.errors import KafkaError

from app.api.collect.config import BY_TYPE, BulkQuery, config_of, said_of
from app.api.collect.current_job import job_now
from app.api.collect.requests import CollectedView, collected_view, listing, stream_of, upload_id_of
from app.api.collect.upload_counts import UploadCounts
from app.api.collect.uploads import Upload, UploadContext, UploadStoppedError
from app.api.http.problems import ApiProblem
from app.api.http.request_body import RequestSource
from app.api.jobs.bodies import canonical
from app.api.jobs.commands import send_events, stamped
from app.api.jobs.jobs import KEYS
from app.api.routing.responses import respond
from app.api.routing.routes import CONTENT_ENCODING, IDEMPOTENCY_KEY, RequestContext, ResponseSpec, Routes
from app.kafka.transactions import FencedError, GroupCommit, UnknownOutcomeError
from connectors.contract import ConnectorError
from connectors.providers.collect import KEY_REUSED, Config, read_upload
from projections.jobs.evolve import evolve
from projections.jobs.state import Completed, Failed, Job, JobState, NoJob, Running
from schemas.commands import CreateJob, ReportError, ResumeJob
from schemas.events import JobCreated

TRANSACTIONS: Final = "entrepot.collect"
AGAIN: Final = "send it again with the same Idempotency-Key"


ROUTES: Final = Routes("collect", "/collect/bulk")


@ROUTES(
    "POST",
    "/{stream}",
    "Take a CSV or NDJSON file of any size; answered once all of it is committed",
    ResponseSpec("what became of its records", CollectedView),
    content={kind: {"type": "string"} for kind in BY_TYPE},
    headers=(IDEMPOTENCY_KEY, CONTENT_ENCODING),
    problems=(409, 429),
    streams=True,
)
async def collect_bulk(call: RequestContext[BulkQuery, None]) -> web.Response:
    """Take a file."""
    job_type, config = config_of(stream_of(call), call.query, said_of(call.request))
    with call.api.admission.upload():
        source = RequestSource(call.request, config.filename or f"/collect/bulk/{config.stream}")
        await _check_not_empty(source)
        if call.query.dryrun:
            return await _tried(call, config, source)
        job_id, repeatable = upload_id_of(call, "bulk")
        command = _creation(call, job_id, job_type, config)
        job = await _made(call, command)
        try:
            async with GroupCommit(call.api.kafka, f"{TRANSACTIONS}.{job_id}") as writer:
                if repeatable or job is None:
                    job = await _ready(call, job_id)
                if isinstance(job.phase, Completed):
                    return await _compared(call, job, source)
                return await _driven(call, Upload(job, source), writer)
        except FencedError as error:
            detail = "another request with this Idempotency-Key goes on with this upload"
            raise ApiProblem(409, "upload_taken_over", detail, more={"upload_id": job_id}) from error
        except (UnknownOutcomeError, KafkaError, OSError) as error:
            detail = f"Kafka did not confirm in time, so it is not known how much of the upload is kept: {AGAIN}"
            raise ApiProblem(503, "not_confirmed", detail, headers={"Retry-After": "5"}) from error


async def _check_not_empty(source: RequestSource) -> None:
    try:
        start = await source.head(1)
    except ConnectorError as error:
        raise _refused(error.code, error.message, None, 0) from error
    if not start:
        raise ApiProblem(400, "empty", "the body is empty: a file with at least one byte is needed")


async def _tried(call: RequestContext[BulkQuery, None], config: Config, source: RequestSource) -> web.Response:
    """Read everything and keep nothing."""
    tally = UploadCounts()
    try:
        async for batch in read_upload(config, {}, call.api.limits, source):
            tally.count(batch)
    except ConnectorError as error:
        raise _refused(error.code, error.message, None, tally.accepted) from error
    view = collected_view(None, tally.accepted, tally.rejected, 0, tally.first)
    return respond(call, view, message="dry run")


def _creation(call: RequestContext[BulkQuery, None], job_id: str, job_type: str, config: Config) -> CreateJob:
    configuration = canonical(config.model_dump(mode="json", exclude_unset=True))
    envelope = stamped(call, job_id) | {"command_id": str(uuid5(KEYS, f"{job_id}\n{job_type}\n{configuration}"))}
    return CreateJob(
        **envelope,
        provider="collect",
        job_type=job_type,
        kind="import",
        name=config.filename[:200] if config.filename.strip() else f"Upload into {config.stream}",
        configuration=configuration,
    )


async def _made(call: RequestContext[BulkQuery, None], command: CreateJob) -> Job | None:
    """Return the job of an upload as it was just made; None when it was made before, or isn't seen yet.

    Raises:
        Problem: 422, it was made by another request; or it can't be made.

    """
    if await call.api.store.jobs.get(command.job_id) is None:
        try:
            events = await send_events(call, command)
        except ApiProblem as problem:
            if problem.code != "job_exists":
                raise
        else:
            state: JobState = NoJob(command.job_id)
            for event in events:
                state = evolve(state, event)
            return state if isinstance(state, Job) else None
    first = await call.api.store.history.events(command.job_id, limit=1)
    created = first[0].event if first else None
    if isinstance(created, JobCreated) and created.command_id != command.command_id:
        raise ApiProblem(
            422, "idempotency_key_reused", "this Idempotency-Key came with another request: take a new key"
        )
    return None


async def _ready(call: RequestContext[BulkQuery, None], job_id: str) -> Job:
    """Return the job as all that is committed makes it, resumed if it had failed.

    Raises:
        Problem: 409, people have paused or killed it.

    """
    settings = call.api.settings
    job = await job_now(call.api.kafka, call.api.store, settings.partitions, job_id)
    if not isinstance(job, Job):
        raise ApiProblem(503, "not_made_yet", f"the upload's job could not be made in time: {AGAIN}")
    if isinstance(job.phase, Failed):
        for event in await send_events(call, ResumeJob(**stamped(call, job_id))):
            following = evolve(job, event)
            assert isinstance(following, Job)
            job = following
    if not isinstance(job.phase, Running | Completed):
        raise _stopped(job.job_id, job.status)
    return job


async def _compared(call: RequestContext[BulkQuery, None], job: Job, source: RequestSource) -> web.Response:
    """Answer a complete upload that is sent again, if it is the same one."""
    config = Config.model_validate_json(job.configuration)
    try:
        async for batch in read_upload(config, orjson.loads(job.cursor), call.api.limits, source):
            if batch.read:
                raise _refused(*KEY_REUSED, job.job_id, 0)
    except ConnectorError as error:
        raise _refused(error.code, error.message, job.job_id, 0) from error
    counts = job.total_counts
    view = _view(job, counts.accepted, counts.rejected, counts.accepted, UploadCounts())
    return respond(call, view, message="this was taken before", headers={"Idempotency-Replayed": "true"})


async def _driven(call: RequestContext[BulkQuery, None], upload: Upload, writer: GroupCommit) -> web.Response:
    api, job, tally = call.api, upload.job, upload.tally
    place = UploadContext(api.kafka, api.settings.partitions, api.store, api.limits, api.clock)
    try:
        last = await upload.drive(place, writer)
    except UploadStoppedError as error:
        raise _stopped(job.job_id, error.status) from error
    before = job.total_counts
    accepted, rejected = before.accepted + tally.accepted, before.rejected + tally.rejected
    if isinstance(last, ReportError):
        raise _refused(last.code, last.message, job.job_id, accepted)
    return respond(call, _view(job, accepted, rejected, before.accepted, tally), message="success")


def _view(job: Job, accepted: int, rejected: int, duplicate: int, tally: UploadCounts) -> CollectedView:
    view = collected_view(job.job_id, accepted, rejected, duplicate, tally.first)
    return view.model_copy(update={"rejects": listing(job.job_id, job.created_at) if rejected else None})


def _stopped(job_id: str, status: str) -> ApiProblem:
    hint = {"Paused": f"resume it, then {AGAIN}", "Killed": "it was put away: take a new Idempotency-Key"}
    detail = f"the upload's job is {status}; {hint.get(status, AGAIN)}"
    return ApiProblem(409, f"job_{status.lower()}", detail, more={"upload_id": job_id})


def _refused(code: str, message: str, job_id: str | None, kept: int) -> ApiProblem:
    status = 422 if code == KEY_REUSED[0] else 400
    more: dict[str, Any] = {"upload_id": job_id, "message_count": kept}
    return ApiProblem(status, code, message, more=more if job_id else {})
