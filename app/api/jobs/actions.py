"""Actions on jobs over HTTP: pause, resume, bounce, run, kill, restore and revert."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from pydantic import Field

from app.api.http.headers import expected_revision
from app.api.http.param_types import Duration
from app.api.http.problems import invalid, not_found
from app.api.jobs.bodies import configuration_errors, find_job_type
from app.api.jobs.checks import ValidateQuery, check_with_provider
from app.api.jobs.commands import (
    cadence_hint,
    check_not_pushed,
    find_job,
    job_envelope,
    job_response,
    next_run,
    send_job_command,
)
from app.api.jobs.jobs import JOB
from app.api.routing.commands import ACCEPTED
from app.api.routing.routes import EDIT, Query, RequestContext, Routes
from app.vault.sealed_json import shown_form
from projections.jobs.state import Job
from schemas.access import AccessRole
from schemas.commands import ConfigureJob, JobCommand, KillJob, PauseJob, RestoreJob, ResumeJob, RunJob


class PauseQuery(Query):
    """The duration of the pause."""

    for_: Annotated[
        Duration | None, Field(alias="for", description="`90s`, `15m`, `1h30m`, `2d`; absent: until resumed")
    ] = None


class ResumeQuery(Query):
    """When to run."""

    run_now: Annotated[bool, Field(description="true: run now, not at the next scheduled time")] = False


@dataclass(frozen=True, slots=True)
class Action:
    """An action on a job; `name` is its path."""

    name: str
    message: str
    summary: str
    role: AccessRole
    command: Callable[..., JobCommand]


ACTIONS: Final = (
    Action("run", "running", "Run now, or again after completion", "operator", RunJob),
    Action("kill", "killed", "Archive a job; it can be restored until it is purged", "editor", KillJob),
    Action("restore", "restored", "Restore an archived job, paused", "editor", RestoreJob),
)


ROUTES: Final = Routes("job actions", "/v2/job/{job_id}", **EDIT)


@ROUTES(
    "POST",
    "/pause",
    "Pause at the next record, for a duration or until resumed",
    JOB,
    ACCEPTED,
    role="operator",
)
async def pause_job(call: RequestContext[PauseQuery, None]) -> web.Response:
    """Pause a job, for a duration or until it is resumed."""
    job_id, duration = call.path("job_id"), call.query.for_
    await find_job(call, job_id)
    fields = job_envelope(call, job_id)
    until = fields["issued_at"] + duration if duration is not None else None
    command = PauseJob(**fields, until=until, expected_revision=expected_revision(call.request.headers))
    return job_response(call, job_id, await send_job_command(call, command), "paused")


@ROUTES(
    "POST",
    "/revert/{version}",
    "Revert to an older configuration, as a new version",
    JOB,
    ACCEPTED,
    problems=(404, 409, 429),
)
async def revert_job(call: RequestContext[ValidateQuery, None]) -> web.Response:
    """Revert to an older configuration, with its cadence and retry policy, as a new version."""
    job_id, version = call.path("job_id"), call.path("version")
    job = await find_job(call, job_id)
    check_not_pushed(job, "configure")
    versions = await call.api.store.history.configurations(job_id)
    old = next((candidate for candidate in versions if str(candidate.version) == version), None)
    if old is None:
        raise not_found("configuration version", version)
    await _check_configuration(call, job, orjson.loads(old.configuration))
    command = ConfigureJob(
        **job_envelope(call, job_id),
        configuration=old.configuration,
        cadence=old.cadence,
        retry=old.retry,
        reverted_from=old.version,
        expected_revision=expected_revision(call.request.headers),
    )
    message = f"reverted to version {version}, as a new version{cadence_hint(job, old.cadence)}"
    return job_response(call, job_id, await send_job_command(call, command), message)


@ROUTES("POST", "/bounce", "Resume after a failure; same as `resume`", JOB, ACCEPTED, role="operator")
@ROUTES("POST", "/resume", "Resume after a pause or a failure", JOB, ACCEPTED, role="operator")
async def resume_job(call: RequestContext[ResumeQuery, None]) -> web.Response:
    """Resume a job at its next scheduled run, or now."""
    job_id = call.path("job_id")
    check_not_pushed(await find_job(call, job_id), "resume")
    command = ResumeJob(
        **job_envelope(call, job_id),
        run_now=call.query.run_now,
        expected_revision=expected_revision(call.request.headers),
    )
    job = await send_job_command(call, command)
    return job_response(call, job_id, job, f"resumed{next_run(job)}")


async def _check_configuration(
    call: RequestContext[ValidateQuery, None], job: Job, configuration: dict[str, Any]
) -> None:
    """Check a stored configuration as if it was given now: the provider, or its source, may have changed since."""
    job_type = find_job_type(job.provider, job.job_type)
    if errors := configuration_errors(job_type, shown_form(configuration), configuration):
        raise invalid(errors)
    await check_with_provider(call, job.provider, job_type, configuration)


def _declare(action: Action) -> None:
    @ROUTES("POST", f"/{action.name}", action.summary, JOB, ACCEPTED, role=action.role)
    async def act(call: RequestContext[Query, None]) -> web.Response:
        job_id = call.path("job_id")
        job = await find_job(call, job_id)
        if action.command is RunJob:
            check_not_pushed(job, "run")
        command = action.command(
            **job_envelope(call, job_id), expected_revision=expected_revision(call.request.headers)
        )
        return job_response(call, job_id, await send_job_command(call, command), action.message)


for _action in ACTIONS:
    _declare(_action)
