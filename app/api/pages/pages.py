"""The routes of the web pages: the list of jobs, one job, findings, and signing in."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from aiohttp import web
from pydantic import ValidationError

from app.api.context import API, REQUEST_ID
from app.api.http.auth import COOKIE, authorize, check_form_token, check_same_site
from app.api.http.param_types import PageCursor
from app.api.http.problems import ApiProblem, field_errors, invalid, not_found
from app.api.jobs import actions as job_actions
from app.api.jobs.commands import find_job
from app.api.jobs.jobs import JobsQuery
from app.api.jobs.views import configuration_view, job_item, job_view
from app.api.pages.findings import apply_rules, block_identity, findings_page
from app.api.pages.forms import read_form
from app.api.pages.render import render
from app.api.pages.signing import caller_of, open_session, shared_values, sign_in_page, sign_out
from app.api.routing.middleware import PROBLEM_PAGE
from app.api.routing.parsing import read_query
from app.api.routing.routes import Query, RequestContext, Route
from app.auth import Caller
from app.sentences.job_summary import cadence_in_words
from app.store.models import JobFilter, LogFilter
from projections.jobs.state import VISIBLE_STATUSES
from schemas.access import ROLES
from schemas.definitions import IDENTITY

STATIC: Final = Path(__file__).parent / "static"
LOG_LINES: Final = 30
BUTTONS: Final = (
    ("resume", "Resume"),
    ("run", "Run now"),
    ("pause", "Pause"),
    ("restore", "Restore"),
    ("kill", "Kill"),
)
DURATIONS: Final = (("", "until resumed"), ("1h", "for 1 hour"), ("1d", "for 1 day"), ("1w", "for 1 week"))

_ACTIONS: Final[Mapping[str, Route]] = {
    route.path.rpartition("/")[2]: route for route in job_actions.ROUTES if "{version}" not in route.path
}


class JobPageQuery(Query):
    """The page of the log."""

    cursor: PageCursor | None = None


def add_pages(app: web.Application) -> None:
    """Add the pages to the application."""
    app[PROBLEM_PAGE] = problem_page
    app.router.add_get("/", jobs_page)
    app.router.add_get("/job/{job_id}", job_page)
    app.router.add_post("/job/{job_id}/{action}", act)
    app.router.add_get("/findings", findings_page)
    app.router.add_post("/findings/block", block_identity)
    app.router.add_post(f"/findings/{{definition_id:{IDENTITY}}}/apply", apply_rules)
    app.router.add_get("/sign-in", sign_in_page)
    app.router.add_post("/sign-in", open_session)
    app.router.add_post("/sign-out", sign_out)
    app.router.add_static("/static", STATIC)


async def jobs_page(request: web.Request) -> web.Response:
    """Show a page of jobs, or of uploads."""
    caller, store = await caller_of(request), request.app[API].store
    query = read_query(request, JobsQuery)
    uploads = query.uploads or False
    jobs = await store.jobs.page(replace(query.where(), uploads=uploads), query.order(), query.limit, query.cursor)
    counts = {
        status: await store.jobs.count(JobFilter(statuses=(status,), uploads=uploads)) for status in VISIBLE_STATUSES
    }
    return render(
        "jobs.html",
        **shared_values(request, caller),
        jobs=[job_item(job) for job in jobs.items],
        counts=counts,
        query=query,
        uploads=uploads,
        filtered=bool(set(query.model_fields_set) & {"status", "search", "provider", "job_type", "kind"}),
        next_link=_link(request, cursor=jobs.next_cursor) if jobs.next_cursor else None,
        status_link=lambda status: _link(request, status=status, cursor=None),
        sort_link=lambda key: _link(request, sort=f"-{key}" if query.sort == key else key, cursor=None),
    )


def _link(request: web.Request, **changes: str | None) -> str:
    kept = {name: value for name, value in request.query.items() if name not in changes}
    added = {name: value for name, value in changes.items() if value}
    return f"{request.path}?{urlencode(kept | added)}"


async def job_page(request: web.Request) -> web.Response:
    """Show a job."""
    return await _job_page(request, await caller_of(request), None)


async def _job_page(request: web.Request, caller: Caller, problem: ApiProblem | None) -> web.Response:
    api = request.app[API]
    query = JobPageQuery() if problem else read_query(request, JobPageQuery)
    call = RequestContext(request, api, caller, query, None)
    job = await find_job(call, request.match_info["job_id"])
    log = await api.store.jobs.log(LogFilter(job_id=job.job_id), LOG_LINES, query.cursor)
    versions = await api.store.history.configurations(job.job_id)
    view = job_view(job)
    permitted = {name for name, route in _ACTIONS.items() if route.role and caller.may(route.role)}
    return render(
        "job.html",
        status=problem.status if problem else 200,
        **shared_values(request, caller) | {"problem": problem},
        job=view,
        cadence=cadence_in_words(job.cadence),
        buttons=[(name, label) for name, label in BUTTONS if name in view.allowed and name in permitted],
        durations=DURATIONS,
        log=log.items,
        older=_link(request, cursor=log.next_cursor) if log.next_cursor and not problem else None,
        paging=query.cursor is not None,
        configurations=[configuration_view(job.provider, version) for version in reversed(versions)],
    )


async def act(request: web.Request) -> web.Response:
    """Perform the action of a button, then show the job, with the problem if the action failed."""
    caller = await caller_of(request)
    check_same_site(request)
    form = {name: value for name, value in (await read_form(request)).items() if value}
    check_form_token(request.cookies[COOKIE], form.pop("form_token", ""))
    job_id, name = request.match_info["job_id"], request.match_info["action"]
    route = _ACTIONS.get(name)
    if route is None:
        raise not_found("action", name)
    authorize(caller, route.role or ROLES[-1])
    try:
        query = route.query.model_validate_strings(form)
    except ValidationError as error:
        raise invalid(field_errors(error, model=route.query)) from error
    try:
        await route.handler(RequestContext(request, request.app[API], caller, query, None))
    except ApiProblem as problem:
        if problem.status == 404:
            raise
        return await _job_page(request, caller, problem)
    raise web.HTTPSeeOther(f"/job/{job_id}")


def problem_page(request: web.Request, problem: ApiProblem) -> web.Response:
    """Show a problem."""
    response = render(
        "problem.html", status=problem.status, problem=problem, caller=None, request_id=request[REQUEST_ID]
    )
    response.headers.update(problem.headers)
    return response
