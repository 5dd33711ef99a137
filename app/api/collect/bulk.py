"""`POST /collect/bulk/{stream}`: a CSV or JSON file of any size, imported by a job while it is streamed.

The response is sent after the commit. The same Idempotency-Key resumes an upload, and adds nothing to a complete one.
"""

from typing import Any, Final
from uuid import uuid5

import orjson
from aiohttp import web
from aiokafka.errors import KafkaError

from app.api.collect.config import BulkQuery, config_of, content_headers
from app.api.collect.current_job import job_now
from app.api.collect.requests import (
    CollectedView,
    collected_view,
    dead_letters_path,
    respond_replayed,
    stream_in_path,
    upload_id_of,
)
from app.api.collect.upload_counts import UploadCounts
from app.api.collect.uploads import Upload, UploadContext, UploadStoppedError
from app.api.context import Services
from app.api.http.problems import ApiProblem, key_reused
from app.api.http.request_body import RequestSource
from app.api.jobs.commands import job_envelope, send_events
from app.api.jobs.jobs import JOB_ID_NAMESPACE
from app.api.routing.responses import respond
from app.api.routing.routes import CONTENT_ENCODING, IDEMPOTENCY_KEY, RequestContext, ResponseSpec, Routes
from app.kafka.transactions import FencedError, GroupCommit, UnknownOutcomeError
from app.records.commands import NewerRulesError
from app.sentences.sentence import sentence
from app.store.models import JobFilter, Sort
from connectors.contract import ConnectorError, Cursor
from connectors.providers.collect import KEY_REUSED, PROVIDER, Config, read_upload
from connectors.text.config import FORMAT_TYPES
from projections.jobs.evolve import evolve
from projections.jobs.state import Completed, Failed, Job, Running
from schemas.coded import Params
from schemas.commands import CreateJob, ReportError, ResumeJob
from schemas.events import JobCreated
from schemas.json_values import canonical_json

TRANSACTIONS: Final = "entrepot.collect"
MAX_COMPARED_UPLOADS: Final = 100
NEWEST_FIRST: Final = Sort("created", "descending")
RETRY: Final = "repeat the request with the same Idempotency-Key"


ROUTES: Final = Routes("collect", "/collect/bulk")


@ROUTES(
    "POST",
    "/{stream}",
    "Upload a CSV or NDJSON file of any size; responds once all of it is committed",
    ResponseSpec("the counts of its records", CollectedView, ids={"job_id": "/data/upload_id"}),
    content={kind: {"type": "string"} for kind in FORMAT_TYPES},
    headers=(IDEMPOTENCY_KEY, CONTENT_ENCODING),
    problems=(409, 429),
    streams=True,
)
async def collect_bulk(call: RequestContext[BulkQuery, None]) -> web.Response:
    """Import a file."""
    job_type, config = config_of(stream_in_path(call), call.query, content_headers(call.request))
    with call.api.admission.upload():
        source = RequestSource(call.request, config.filename or f"/collect/bulk/{config.stream}")
        await _check_not_empty(source)
        if call.query.dryrun:
            return await _dry_run(call, config, source)
        job_id, repeatable = upload_id_of(call, "bulk")
        command = _create_command(call, job_id, job_type, config)
        job = await _create(call, command)
        try:
            async with GroupCommit(call.api.kafka, f"{TRANSACTIONS}.{job_id}") as writer:
                if repeatable or job is None:
                    job = await _resume(call, job_id)
                if isinstance(job.phase, Completed):
                    return await _replay(call, job, source)
                return await _import(call, Upload(job, source, call.query.validate_), writer)
        except FencedError as error:
            detail = "another request with this Idempotency-Key has resumed the upload"
            raise ApiProblem(409, "upload_taken_over", detail, more={"upload_id": job_id}) from error
        except (UnknownOutcomeError, KafkaError, OSError) as error:
            detail = f"Kafka did not confirm in time, so it is unknown how much of the upload is stored: {RETRY}"
            raise ApiProblem(503, "not_confirmed", detail, headers={"Retry-After": "5"}) from error


async def _check_not_empty(source: RequestSource) -> None:
    try:
        start = await source.head(1)
    except ConnectorError as error:
        raise _refused(error.code, error.params, None, 0) from error
    if not start:
        raise ApiProblem(400, "empty", "the body is empty; expected a file with at least one byte")


async def _dry_run(call: RequestContext[BulkQuery, None], config: Config, source: RequestSource) -> web.Response:
    """Validate and count the records without storing them."""
    counts = UploadCounts()
    try:
        async for batch in read_upload(config, {}, call.api.limits, source, checked=call.query.validate_):
            counts.add(batch)
    except ConnectorError as error:
        raise _refused(error.code, error.params, None, counts.accepted) from error
    view = collected_view(None, counts.accepted, counts.rejected, 0, counts.first)
    view = view.model_copy(update={"columns": counts.columns})
    return respond(call, view, message="dry run")


def _create_command(call: RequestContext[BulkQuery, None], job_id: str, job_type: str, config: Config) -> CreateJob:
    configuration = canonical_json(config.model_dump(mode="json", exclude_unset=True))
    fields = job_envelope(call, job_id) | {
        "command_id": str(uuid5(JOB_ID_NAMESPACE, f"{job_id}\n{job_type}\n{configuration}"))
    }
    return CreateJob(
        **fields,
        provider=PROVIDER,
        job_type=job_type,
        kind="import",
        name=config.filename[:200] if config.filename.strip() else f"Upload into {config.stream}",
        configuration=configuration,
    )


async def _create(call: RequestContext[BulkQuery, None], command: CreateJob) -> Job | None:
    """Create the job of an upload and return it; None when it exists already, or is not visible yet.

    Raises:
        ApiProblem: 422, a different request has created it; or the command is refused.

    """
    if await call.api.store.jobs.get(command.job_id) is None:
        try:
            events = await send_events(call, command)
        except ApiProblem as problem:
            if problem.code != "job_exists":
                raise
        else:
            job: Job | None = None
            for event in events:
                job = evolve(job, event)
            return job
    first = await call.api.store.history.events(command.job_id, limit=1)
    created = first[0].event if first else None
    if isinstance(created, JobCreated) and created.command_id != command.command_id:
        raise key_reused("for a different request")
    return None


async def _resume(call: RequestContext[BulkQuery, None], job_id: str) -> Job:
    """Return the current state of the job; resumes it after a failure.

    Raises:
        ApiProblem: 409, it is paused or archived; 503, its state is unknown here.

    """
    settings = call.api.settings
    try:
        job = await job_now(call.api.kafka, call.api.store, settings.partitions, job_id)
    except NewerRulesError as error:
        raise ApiProblem(503, "newer_rules", f"the server {error}, then {RETRY}") from error
    if job is None:
        raise ApiProblem(503, "not_made_yet", f"the job of the upload was not created in time: {RETRY}")
    if isinstance(job.phase, Failed):
        for event in await send_events(call, ResumeJob(**job_envelope(call, job_id))):
            job = evolve(job, event) or job
    if not isinstance(job.phase, Running | Completed):
        raise _stopped(job.job_id, job.status)
    return job


async def _replay(call: RequestContext[BulkQuery, None], job: Job, source: RequestSource) -> web.Response:
    """Replay the response of a complete upload, if the body is the same."""
    config = Config.model_validate_json(job.configuration)
    try:
        async for batch in read_upload(config, orjson.loads(job.cursor), call.api.limits, source):
            if batch.read:
                raise _refused(KEY_REUSED, {}, job.job_id, 0)
    except ConnectorError as error:
        raise _refused(error.code, error.params, job.job_id, 0) from error
    totals = job.total_counts
    counts = UploadCounts(cursor=orjson.loads(job.cursor))
    view = _view(job, totals.accepted, totals.rejected, totals.accepted, counts)
    return respond_replayed(call, view)


async def _import(call: RequestContext[BulkQuery, None], upload: Upload, writer: GroupCommit) -> web.Response:
    api, job, counts = call.api, upload.job, upload.counts
    context = UploadContext(api.kafka, api.settings.partitions, api.store, api.limits, api.clock)
    try:
        last = await upload.drive(context, writer)
    except UploadStoppedError as error:
        raise _stopped(job.job_id, error.status) from error
    before = job.total_counts
    accepted, rejected = before.accepted + counts.accepted, before.rejected + counts.rejected
    if isinstance(last, ReportError):
        raise _refused(last.code, last.params, job.job_id, accepted)
    duplicate_of = await _duplicate_of(api, job, counts.cursor or orjson.loads(job.cursor))
    view = _view(job, accepted, rejected, before.accepted, counts).model_copy(update={"duplicate_of": duplicate_of})
    message = f"success; upload {duplicate_of} has brought the same file before" if duplicate_of else "success"
    return respond(call, view, message=message)


async def _duplicate_of(api: Services, job: Job, cursor: Cursor) -> str | None:
    """Return the newest other upload of the same name, content and stream that is not undone; None without one."""
    same_name = JobFilter(statuses=("Completed",), uploads=True, reference=job.name)
    excluded = api.rules.rules.scope.excluded
    for other in (await api.store.jobs.page(same_name, NEWEST_FIRST, MAX_COMPARED_UPLOADS)).items:
        if other.job_id in excluded or other.job_id == job.job_id or not other.total_counts.accepted:
            continue
        if _file_of(other, orjson.loads(other.cursor)) == _file_of(job, cursor):
            return other.job_id
    return None


def _file_of(job: Job, cursor: Cursor) -> tuple[object, ...]:
    """Return what is equal for the same file in the same stream."""
    content = tuple(cursor.get(name) for name in ("byte", "head", "tail", "checksum"))
    return (job.name, orjson.loads(job.configuration)["stream"], *content)


def _view(job: Job, accepted: int, rejected: int, duplicate: int, counts: UploadCounts) -> CollectedView:
    view = collected_view(job.job_id, accepted, rejected, duplicate, counts.first)
    letters = dead_letters_path(job.job_id, job.created_at) if rejected else None
    return view.model_copy(update={"dead_letters": letters, "columns": counts.columns})


def _stopped(job_id: str, status: str) -> ApiProblem:
    hint = {"Paused": f"resume it, then {RETRY}", "Killed": "it is archived: use a new Idempotency-Key"}
    detail = f"the job of the upload is {status}; {hint.get(status, RETRY)}"
    return ApiProblem(409, f"job_{status.lower()}", detail, more={"upload_id": job_id})


def _refused(code: str, params: Params, job_id: str | None, kept: int) -> ApiProblem:
    status = 422 if code == KEY_REUSED else 400
    more: dict[str, Any] = {"upload_id": job_id, "message_count": kept}
    return ApiProblem(status, code, sentence(code, params, PROVIDER), more=more if job_id else {}, params=params)
