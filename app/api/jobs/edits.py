"""Edits of a job by merge patch, at the revision that was read; a concurrent edit is refused with the changes.

A cursor is replaced as a whole: a mixture of two cursors is not a position.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web

from app.api.http.headers import etag, expected_revision
from app.api.http.problems import ApiProblem, invalid
from app.api.jobs.bodies import (
    CadenceBody,
    PatchBody,
    RetryBody,
    cadence_errors,
    configuration_errors,
    cursor_errors,
    find_job_type,
    merge_patch,
    parse_model,
    policy_json,
)
from app.api.jobs.checks import ValidateQuery, check_with_provider
from app.api.jobs.commands import cadence_hint, check_not_pushed, find_job, job_envelope, job_response, send_job_command
from app.api.jobs.jobs import JOB
from app.api.jobs.sealing import keep_sealed, sealed_configuration
from app.api.jobs.views import allowed, redacted
from app.api.routing.commands import ACCEPTED
from app.api.routing.routes import IF_MATCH, PREFER, RequestContext, Routes
from projections.jobs.evolve import evolve
from projections.jobs.state import Job
from schemas.commands import ConfigureJob, EditCursor, JobCommand, RenameJob
from schemas.json_values import canonical_json
from schemas.policies import Cadence, RetryPolicy

FOLD_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class JobEdit:
    """The editable fields of a job after a patch."""

    name: str
    description: str
    configuration: dict[str, Any]  # with what is given plain, and what is kept sealed
    cadence: Cadence
    retry: RetryPolicy
    cursor: dict[str, Any]


ROUTES: Final = Routes("jobs", "/v2/job")


@ROUTES(
    "PATCH",
    "/{job_id}",
    "Edit a job by merge patch; its cursor is replaced as a whole, only while paused",
    JOB,
    ACCEPTED,
    body_type="application/merge-patch+json",
    headers=(IF_MATCH, PREFER),
    problems=(404, 409, 429),
)
async def patch_job(call: RequestContext[ValidateQuery, PatchBody]) -> web.Response:
    """Apply a patch: the cursor first, since its change may not be allowed in the status of the job."""
    if "If-Match" not in call.request.headers:
        raise ApiProblem(428, "if_match_required", "an edit needs If-Match with the ETag that was read")
    job = await find_job(call, call.path("job_id"))
    expected = expected_revision(call.request.headers)
    if expected is not None and expected != job.revision:
        raise await _conflict(call, job, expected)
    fields = call.body.model_fields_set
    _check_allowed(job, fields)
    edited = _edited(call, job)
    if edited.configuration != orjson.loads(job.configuration):
        await check_with_provider(call, job.provider, find_job_type(job.provider, job.job_type), edited.configuration)
    configuration = await sealed_configuration(call, job.job_id, job.provider, edited.configuration)
    commands = _commands(call, job, edited, configuration, expected)
    after: Job | None = job
    for command in commands:
        try:
            after = await send_job_command(call, command)
        except ApiProblem as problem:
            if problem.code != "revision_mismatch" or expected is None:
                raise
            raise await _conflict(call, await find_job(call, job.job_id), expected) from problem
    message = f"changed{cadence_hint(job, edited.cadence)}" if commands else "nothing to change"
    return job_response(call, job.job_id, after, message)


def _check_allowed(job: Job, fields: set[str]) -> None:
    needed = {"edit_cursor": {"cursor"}, "rename": {"name", "description"}}
    needed["configure"] = {"configuration", "cadence", "retry"}
    for action in (action for action, names in needed.items() if names & fields):
        check_not_pushed(job, action)
    refused = [action for action, names in needed.items() if names & fields and action not in allowed(job)]
    if refused:
        hint = "; pause it first" if refused == ["edit_cursor"] and "pause" in allowed(job) else ""
        what = " and ".join(refused).replace("_", " ")
        raise ApiProblem(
            409,
            "not_allowed",
            f"{what} is not allowed while the job is {job.status}{hint}",
            more={"allowed": allowed(job)},
        )


def _edited(call: RequestContext[ValidateQuery, PatchBody], job: Job) -> JobEdit:
    patch, fields = call.body, call.body.model_fields_set
    stored = orjson.loads(job.configuration)
    shown = merge_patch(redacted(job.provider, job.configuration), patch.configuration)
    configuration = keep_sealed(shown, stored) if "configuration" in fields else stored
    cadence, cadence_invalid = parse_model(
        CadenceBody, merge_patch(policy_json(job.cadence), patch.cadence), "/cadence"
    )
    retry, retry_invalid = parse_model(RetryBody, merge_patch(policy_json(job.retry), patch.retry), "/retry")
    errors = [*cadence_invalid, *retry_invalid]
    job_type = find_job_type(job.provider, job.job_type)
    if "configuration" in fields:
        errors += configuration_errors(job_type, shown, configuration)
    if "cadence" in fields and not cadence_invalid:
        errors += cadence_errors(cadence.to_policy(), call.api.clock())
    cursor = patch.cursor if "cursor" in fields else orjson.loads(job.cursor)
    if "cursor" in fields:
        errors += cursor_errors(job_type, cursor)
    if errors:
        raise invalid(errors)
    return JobEdit(
        name=patch.name if "name" in fields else job.name,
        description=patch.description if "description" in fields else job.description,
        configuration=configuration,
        cadence=cadence.to_policy() if "cadence" in fields else job.cadence,
        retry=retry.to_policy() if "retry" in fields else job.retry,
        cursor=cursor,
    )


def _commands(
    call: RequestContext[ValidateQuery, PatchBody], job: Job, new: JobEdit, configuration: str, expected: int | None
) -> list[JobCommand]:
    """Return a command for each kind of change, each expecting the revision after the previous one."""
    changes: list[tuple[type[JobCommand], dict[str, Any]]] = []
    if new.cursor != orjson.loads(job.cursor):
        changes.append((EditCursor, {"cursor": canonical_json(new.cursor)}))
    if (new.name, new.description) != (job.name, job.description):
        changes.append((RenameJob, {"name": new.name, "description": new.description}))
    if (configuration, new.cadence, new.retry) != (job.configuration, job.cadence, job.retry):
        facts = {"configuration": configuration, "cadence": new.cadence, "retry": new.retry}
        changes.append((ConfigureJob, facts))
    return [
        command(
            **job_envelope(call, job.job_id), expected_revision=None if expected is None else expected + step, **facts
        )
        for step, (command, facts) in enumerate(changes)
    ]


async def _conflict(call: RequestContext[ValidateQuery, PatchBody], job: Job, expected: int) -> ApiProblem:
    """Return the problem for a concurrent modification, with both values of every changed field."""
    base = await _at_revision(call, job.job_id, expected)
    before, now = _shown(base) if base else {}, _shown(job)
    edits = {name: getattr(call.body, name) for name in call.body.model_fields_set}
    changed = {}
    for name, current in now.items():
        if name in before and (before[name] == current or (name == "cursor" and name not in edits)):
            continue  # unchanged, or only advanced by the job itself
        yours = before.get(name)
        if name in edits:
            yours = edits[name] if name == "cursor" else merge_patch(yours, edits[name])
        if name == "configuration" and isinstance(yours, dict):
            yours = redacted(job.provider, canonical_json(yours))
        changed[name] = {"current": current, "yours": yours}
    return ApiProblem(
        412,
        "revision_mismatch",
        f"the job was modified concurrently (revision {job.revision}, not {expected}): {', '.join(changed)}",
        headers=etag(job.revision),
        more={"changed": changed, "revision": job.revision},
    )


async def _at_revision(call: RequestContext[ValidateQuery, PatchBody], job_id: str, revision: int) -> Job | None:
    job: Job | None = None
    while True:
        events = await call.api.store.history.events(job_id, after_seq=job.seq if job else 0, limit=FOLD_PAGE)
        for record in events:
            following = evolve(job, record.event)
            if following and following.revision > revision:
                return job
            job = following
        if len(events) < FOLD_PAGE:
            return job if job and job.revision == revision else None


def _shown(job: Job) -> dict[str, Any]:
    """Return the editable fields, secrets masked."""
    return {
        "name": job.name,
        "description": job.description,
        "configuration": redacted(job.provider, job.configuration),
        "cadence": policy_json(job.cadence),
        "retry": policy_json(job.retry),
        "cursor": orjson.loads(job.cursor),
    }
