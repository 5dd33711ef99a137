"""Jobs over HTTP: list, show (now or at a point in time), create and archive."""

import hmac
from typing import Annotated, Any, Final, Literal
from uuid import UUID, uuid4, uuid5

from aiohttp import web
from pydantic import Field

from app.api.http.headers import etag, expected_revision, idempotency_key
from app.api.http.param_types import Limit, PageCursor, Text, TimestampText
from app.api.http.problems import ApiProblem, FieldError, invalid, key_reused, not_found
from app.api.jobs.bodies import (
    CREATED_BY_UPLOAD,
    CreateBody,
    cadence_errors,
    configuration_errors,
    find_job_type,
)
from app.api.jobs.checks import ValidateQuery, check_with_provider
from app.api.jobs.commands import find_job, job_envelope, job_response, next_run, send_job_command
from app.api.jobs.ingest_progress import ingest_progress
from app.api.jobs.sealing import sealed_configuration
from app.api.jobs.views import JobDetail, JobItem, JobView, job_detail, job_item
from app.api.routing.commands import ACCEPTED
from app.api.routing.responses import respond, respond_page
from app.api.routing.routes import (
    EDIT,
    IDEMPOTENCY_KEY,
    PREFER,
    Query,
    RequestContext,
    ResponseSpec,
    Routes,
)
from app.store.models import MAX_PAGE, JobFilter, Sort, SortKey
from projections.jobs.state import Job, VisibleStatus
from schemas.commands import CreateJob, KillJob
from schemas.events import JobCreated
from schemas.json_values import canonical_json

JOB_ID_NAMESPACE: Final = UUID("7f2dd0a4-95c4-5d0e-8a4c-6f1f30d3b0a1")  # of ids from idempotency keys

SortBy = Literal[
    "name", "-name", "status", "-status", "created", "-created", "updated", "-updated", "next_at", "-next_at"
]


class JobsQuery(Query):
    """Filter and order of jobs."""

    status: Annotated[tuple[VisibleStatus, ...], Field(max_length=6, description="only jobs with one of these")] = ()
    provider: Annotated[Text, Field(description="only jobs with this provider")] = ""
    job_type: Annotated[Text, Field(description="only jobs of this type of their provider")] = ""
    kind: Annotated[Text, Field(description="import, export or enrichment")] = ""
    uploads: Annotated[bool | None, Field(description="true: only uploads; false: only other jobs; absent: both")] = (
        None
    )
    search: Annotated[Text, Field(description="text in the name, the description or the id")] = ""
    reference: Annotated[Text, Field(description="the name, ignoring case, or the beginning of the id")] = ""
    updated_since: Annotated[TimestampText | None, Field(description="inclusive")] = None
    sort: Annotated[SortBy, Field(description="field to sort by; `-`: descending")] = "name"
    limit: Limit = 50
    cursor: PageCursor | None = None

    def where(self) -> JobFilter:
        """Return the filter for the read store."""
        return JobFilter(
            statuses=self.status,
            provider=self.provider,
            job_type=self.job_type,
            kind=self.kind,
            uploads=self.uploads,
            text=self.search,
            reference=self.reference,
            updated_since=self.updated_since,
        )

    def order(self) -> Sort:
        """Return the order for the read store."""
        by: dict[str, SortKey] = {"name": "name", "status": "status", "created": "created", "updated": "updated"}
        key = by.get(self.sort.lstrip("-"), "next_wake")
        return Sort(key, "descending" if self.sort.startswith("-") else "ascending")


class JobQuery(Query):
    """The point in time."""

    as_of: Annotated[TimestampText | None, Field(description="state at this time")] = None


class CreateQuery(ValidateQuery):
    """Whether and when to start the job, and what to check before."""

    run_job: Annotated[bool, Field(description="false: create it as a draft, paused")] = True
    run_now: Annotated[bool, Field(description="true: run now, not at the first scheduled time")] = False
    allow_duplicate_name: Annotated[bool, Field(description="true: another job may have this name")] = False


ROUTES: Final = Routes("jobs", "/v2/job")
JOB_ID: Final = {"job_id": "/data/id"}
JOB: Final = ResponseSpec("the job", JobView, headers=("ETag",))
CREATED: Final = ResponseSpec("the job", JobView, status=201, headers=("ETag", "Location"), ids=JOB_ID)
JOBS: Final = ResponseSpec("a page of jobs", list[JobItem], headers=("Link",), ids={"job_id": "/data/0/id"})


@ROUTES("GET", "", "List jobs", JOBS)
async def list_jobs(call: RequestContext[JobsQuery, None]) -> web.Response:
    """Return a page of jobs."""
    query = call.query
    jobs = await call.api.store.jobs.page(query.where(), query.order(), query.limit, query.cursor)
    return respond_page(call, [job_item(job) for job in jobs.items], jobs.next_cursor)


@ROUTES(
    "GET",
    "/{job_id}",
    "Show a job, now or at a point in time",
    ResponseSpec("the job", JobDetail, headers=("ETag",), ids=JOB_ID),
    problems=(404,),
)
async def get_job(call: RequestContext[JobQuery, None]) -> web.Response:
    """Return a job, now or at a point in time."""
    job_id, moment = call.path("job_id"), call.query.as_of
    job = await find_job(call, job_id)
    if moment is None:
        view = job_detail(job, await ingest_progress(call.api, job) if job.kind == "import" else None)
        return respond(call, view, headers=etag(job.revision))
    then = await call.api.store.history.state_as_of(job_id, moment)
    if moment < job.created_at:
        requested, created = (at.isoformat().replace("+00:00", "Z") for at in (moment, job.created_at))
        raise ApiProblem(404, "no_such_job", f"{job.name} did not exist at {requested}; it was created {created}")
    if then is None or then.status == "Purged":
        raise not_found("job", job_id, f" as of {moment.isoformat()}")
    return respond(call, job_detail(then, None))


@ROUTES(
    "POST",
    "",
    "Create a job and start it, or create a draft",
    CREATED,
    ACCEPTED,
    headers=(IDEMPOTENCY_KEY, PREFER),
    problems=(409, 429),
)
async def create_job(call: RequestContext[CreateQuery, CreateBody]) -> web.Response:
    """Create a job; with an Idempotency-Key, at most one."""
    command = await _create_command(call)
    existing = await call.api.store.jobs.get(command.job_id)
    if existing is not None:
        return await _repeated(call, command, existing)
    await _check_name(call, command.job_id)
    job_type = find_job_type(command.provider, command.job_type)
    await check_with_provider(call, command.provider, job_type, call.body.configuration)
    try:
        job = await send_job_command(call, command)
    except ApiProblem as problem:
        if problem.code != "job_exists":
            raise
        return await _repeated(call, command, await find_job(call, command.job_id))
    message = f"created{next_run(job)}" if call.query.run_job else "created as a draft"
    return job_response(call, command.job_id, job, message, 201)


async def _check_name(call: RequestContext[CreateQuery, CreateBody], job_id: str) -> None:
    """Make sure that no other job has the name, unless the request allows it. Uploads and archived jobs don't count.

    Raises:
        ApiProblem: 409, one has it.

    """
    if call.query.allow_duplicate_name:
        return
    name = call.body.name
    jobs = await call.api.store.jobs.page(JobFilter(reference=name, uploads=False), limit=MAX_PAGE)
    if job := next((job for job in jobs.items if job.name == name and job.job_id != job_id), None):
        detail = f"job {job.job_id} has this name: edit it, or create another one with allow_duplicate_name=true"
        raise ApiProblem(409, "name_exists", detail, more={"job_id": job.job_id})


async def _create_command(call: RequestContext[CreateQuery, CreateBody]) -> CreateJob:
    body = call.body
    job_type = find_job_type(body.provider, body.job_type)
    if job_type.pushed:
        raise invalid([FieldError("/job_type", "pushed", CREATED_BY_UPLOAD)])
    cadence = body.cadence.to_policy()
    errors = [*configuration_errors(job_type, body.configuration), *cadence_errors(cadence, call.api.clock())]
    if errors:
        raise invalid(errors)
    fields = job_envelope(call, str(uuid4()))
    key = idempotency_key(call.request.headers)
    if key is not None:
        fields |= _ids_from(call, key)
    configuration = await sealed_configuration(call, fields["job_id"], body.provider, body.configuration)
    return CreateJob(
        **fields,
        provider=body.provider,
        job_type=job_type.name,
        kind=job_type.kind,
        name=body.name,
        description=body.description,
        configuration=configuration,
        cadence=cadence,
        retry=body.retry.to_policy(),
        start=call.query.run_job,
        run_now=call.query.run_now,
    )


def _ids_from(call: RequestContext[CreateQuery, CreateBody], key: str) -> dict[str, Any]:
    """Return ids that are equal for equal requests: the job id by caller and key, the command id also by the body.

    A repeated request, through any server, is one command to the decider; and the command id in `JobCreated` shows
    whether the job was created with this body. The digest is keyed: it confirms no guess at a secret in the body.
    """
    job_id = uuid5(JOB_ID_NAMESPACE, f"{call.caller.token_id}\n{key}")
    start = {"run_job": call.query.run_job, "run_now": call.query.run_now}
    body = canonical_json({"body": call.body.model_dump(mode="json"), **start})
    digest = hmac.digest(call.caller.digest_key, job_id.bytes + body.encode(), "sha256")
    return {"job_id": str(job_id), "command_id": str(UUID(bytes=digest[:16], version=4))}


async def _repeated(call: RequestContext[CreateQuery, CreateBody], command: CreateJob, job: Job) -> web.Response:
    first = await call.api.store.history.events(job.job_id, limit=1)
    created = first[0].event if first else None
    if isinstance(created, JobCreated) and created.command_id != command.command_id:
        raise key_reused(f"for job {job.job_id} with a different body")
    response = job_response(call, job.job_id, job, "duplicate request; replaying the original response", 201)
    response.headers["Idempotency-Replayed"] = "true"
    return response


@ROUTES(
    "DELETE",
    "/{job_id}",
    "Archive a job; same as its `kill` action",
    JOB,
    ACCEPTED,
    **EDIT,
)
async def delete_job(call: RequestContext[Query, None]) -> web.Response:
    """Archive a job; it can be restored until it is purged."""
    job_id = call.path("job_id")
    await find_job(call, job_id)
    command = KillJob(**job_envelope(call, job_id), expected_revision=expected_revision(call.request.headers))
    return job_response(call, job_id, await send_job_command(call, command), "killed")
