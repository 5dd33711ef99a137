"""Jobs over HTTP: list, look at one (now or as of a moment), create, put away."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID, uuid4, uuid5

from aiohttp import web
from pydantic import Field

from app.api.http.headers import etag, expected_revision, idempotency_key
from app.api.http.param_types import Limit, PageCursor, Text, TimestampText
from app.api.http.problems import ApiProblem, FieldError, invalid, not_found
from app.api.jobs.bodies import PUSHED, CreateBody, cadence_errors, canonical, configuration_errors, known_type
from app.api.jobs.commands import find_job, job_response, send, stamped
from app.api.jobs.ingest_progress import ingest_progress
from app.api.jobs.views import JobDetail, JobItem, JobView, job_detail, job_item
from app.api.routing.commands import ACCEPTED
from app.api.routing.responses import respond, respond_page
from app.api.routing.routes import IDEMPOTENCY_KEY, MAY_MATCH, PREFER, Query, RequestContext, ResponseSpec, Routes
from app.store.models import JobFilter, Sort, SortKey
from projections.jobs.state import Job
from schemas.commands import CreateJob, KillJob
from schemas.events import JobCreated

KEYS: Final = UUID("7f2dd0a4-95c4-5d0e-8a4c-6f1f30d3b0a1")  # names job ids that come from idempotency keys

JobStatus = Literal["Running", "Sleeping", "Failed", "Paused", "Completed", "Killed"]
SortBy = Literal[
    "name", "-name", "status", "-status", "created", "-created", "updated", "-updated", "next_at", "-next_at"
]


class JobsQuery(Query):
    """Which jobs, in which order."""

    status: Annotated[tuple[JobStatus, ...], Field(max_length=6)] = ()
    provider: Text = ""
    job_type: Text = ""
    kind: Text = ""
    search: Annotated[Text, Field(description="somewhere in the name, the description or the id")] = ""
    updated_since: TimestampText | None = None
    sort: SortBy = "name"
    limit: Limit = 50
    cursor: PageCursor | None = None

    def where(self) -> JobFilter:
        """Return the filter as the read store takes it."""
        return JobFilter(
            statuses=self.status,
            provider=self.provider,
            job_type=self.job_type,
            kind=self.kind,
            text=self.search,
            updated_since=self.updated_since,
        )

    def order(self) -> Sort:
        """Return the order as the read store takes it."""
        by: dict[str, SortKey] = {"name": "name", "status": "status", "created": "created", "updated": "updated"}
        key = by.get(self.sort.lstrip("-"), "next_wake")
        return Sort(key, "descending" if self.sort.startswith("-") else "ascending")


class JobQuery(Query):
    """When to look."""

    as_of: Annotated[TimestampText | None, Field(description="the job as it was at that moment")] = None


class CreateQuery(Query):
    """Whether the job starts."""

    run_job: Annotated[bool, Field(description="false: keep it as a draft, paused")] = True


ROUTES: Final = Routes("jobs", "/v2/job")
JOB: Final = ResponseSpec("the job", JobView, headers=("ETag",))
CREATED: Final = ResponseSpec("the job", JobView, status=201, headers=("ETag", "Location"))


@ROUTES("GET", "", "List jobs", ResponseSpec("a page of jobs", list[JobItem], headers=("Link",)))
async def list_jobs(call: RequestContext[JobsQuery, None]) -> web.Response:
    """Return a page of jobs."""
    query = call.query
    found = await call.api.store.jobs.page(query.where(), query.order(), query.limit, query.cursor)
    return respond_page(call, [job_item(each) for each in found.items], found.next_cursor)


@ROUTES(
    "GET",
    "/{job_id}",
    "Look at a job, now or as of a moment",
    ResponseSpec("the job", JobDetail, headers=("ETag",)),
    problems=(404,),
)
async def get_job(call: RequestContext[JobQuery, None]) -> web.Response:
    """Return a job, now or as it was."""
    job_id, moment = call.path("job_id"), call.query.as_of
    job = await find_job(call, job_id)
    if moment is None:
        view = job_detail(job, await ingest_progress(call.api, job) if job.kind == "import" else None)
        return respond(call, view, headers=etag(job.revision))
    then = await call.api.store.history.state_as_of(job_id, moment)
    if moment < job.created_at:
        asked, created = (each.isoformat().replace("+00:00", "Z") for each in (moment, job.created_at))
        raise ApiProblem(404, "no_such_job", f"{job.name} did not exist yet at {asked}; it was created {created}")
    if then is None or then.status == "Purged":
        raise not_found("job", job_id, f" as of {moment.isoformat()}")
    return respond(call, job_detail(then, None))


@ROUTES(
    "POST",
    "",
    "Create a job and start it, or keep it as a draft",
    CREATED,
    ACCEPTED,
    headers=(IDEMPOTENCY_KEY, PREFER),
    problems=(409,),
)
async def create_job(call: RequestContext[CreateQuery, CreateBody]) -> web.Response:
    """Make a job; with an Idempotency-Key, at most one."""
    command = _create_command(call)
    existing = await call.api.store.jobs.get(command.job_id)
    if existing is not None:
        return await _repeated(call, command, existing)
    try:
        job = await send(call, command)
    except ApiProblem as problem:
        if problem.code != "job_exists":
            raise
        return await _repeated(call, command, await find_job(call, command.job_id))
    return job_response(call, command.job_id, job, "created" if call.query.run_job else "kept as a draft", 201)


def _create_command(call: RequestContext[CreateQuery, CreateBody]) -> CreateJob:
    body = call.body
    kind = known_type(body.provider, body.job_type)
    if kind.pushed:
        raise invalid([FieldError("/job_type", "pushed", PUSHED)])
    cadence = body.cadence.word()
    errors = [*configuration_errors(kind, body.configuration), *cadence_errors(cadence, call.api.clock())]
    if errors:
        raise invalid(errors)
    envelope = stamped(call, str(uuid4()))
    key = idempotency_key(call.request.headers)
    if key is not None:
        envelope |= _ids_from(call, key)
    return CreateJob(
        **envelope,
        provider=body.provider,
        job_type=kind.name,
        kind=kind.kind,
        name=body.name,
        description=body.description,
        configuration=canonical(body.configuration),
        cadence=cadence,
        retry=body.retry.word(),
        start=call.query.run_job,
    )


def _ids_from(call: RequestContext[CreateQuery, CreateBody], key: str) -> dict[str, Any]:
    """Return ids that are the same for the same request: the job's by caller and key, the command's by the body too.

    So a request that comes twice, through whichever server, is one command to the decider; and the command id in a
    job's `JobCreated` tells whether it was made by this body.
    """
    job_id = uuid5(KEYS, f"{call.caller.token_id}\n{key}")
    body = canonical({"body": call.body.model_dump(mode="json"), "run_job": call.query.run_job})
    return {"job_id": str(job_id), "command_id": str(uuid5(job_id, body))}


async def _repeated(call: RequestContext[CreateQuery, CreateBody], command: CreateJob, job: Job) -> web.Response:
    first = await call.api.store.history.events(job.job_id, limit=1)
    created = first[0].event if first else None
    if isinstance(created, JobCreated) and created.command_id != command.command_id:
        raise ApiProblem(
            422,
            "idempotency_key_reused",
            f"this Idempotency-Key made the job {job.job_id} with another body: take a new key",
        )
    response = job_response(call, job.job_id, job, "this request made the job before", 201)
    response.headers["Idempotency-Replayed"] = "true"
    return response


@ROUTES(
    "DELETE",
    "/{job_id}",
    "Kill a job: the same as its `kill` action",
    JOB,
    ACCEPTED,
    headers=(MAY_MATCH, PREFER),
    problems=(404, 409),
)
async def delete_job(call: RequestContext[Query, None]) -> web.Response:
    """Kill a job; it can be restored until it is purged."""
    job_id = call.path("job_id")
    await find_job(call, job_id)
    command = KillJob(**stamped(call, job_id), expected_revision=expected_revision(call.request.headers))
    return job_response(call, job_id, await send(call, command), "killed")
