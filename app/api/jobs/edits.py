"""Editing a job by merge patch, at the revision that was read; whoever comes second sees what changed meanwhile.

A cursor is one value and is replaced: half of one place and half of another is no place.
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
    as_kept,
    cadence_errors,
    canonical,
    configuration_errors,
    cursor_errors,
    known_type,
    merged,
    parsed,
    plain,
)
from app.api.jobs.commands import check_not_pushed, find_job, job_response, send, stamped, until_it_begins
from app.api.jobs.jobs import JOB
from app.api.jobs.views import allowed, redacted
from app.api.routing.commands import ACCEPTED
from app.api.routing.routes import IF_MATCH, PREFER, Query, RequestContext, Routes
from projections.jobs.evolve import evolve
from projections.jobs.state import Job, JobState, NoJob
from schemas.commands import ConfigureJob, EditCursor, JobCommand, RenameJob
from schemas.policies import Cadence, RetryPolicy

FOLD_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class JobEdit:
    """A job's editable fields behind a patch."""

    name: str
    description: str
    configuration: dict[str, Any]
    cadence: Cadence
    retry: RetryPolicy
    cursor: dict[str, Any]


ROUTES: Final = Routes("jobs", "/v2/job")


@ROUTES(
    "PATCH",
    "/{job_id}",
    "Edit a job by merge patch; its cursor as a whole, and only while it is paused",
    JOB,
    ACCEPTED,
    body_type="application/merge-patch+json",
    headers=(IF_MATCH, PREFER),
    problems=(404, 409),
)
async def patch_job(call: RequestContext[Query, PatchBody]) -> web.Response:
    """Change what the patch names: the cursor first, as it alone can be refused for the job's status."""
    if "If-Match" not in call.request.headers:
        raise ApiProblem(428, "if_match_required", "an edit needs If-Match with the ETag of the job that was read")
    job = await find_job(call, call.path("job_id"))
    expected = expected_revision(call.request.headers)
    if expected is not None and expected != job.revision:
        raise await _changed(call, job, expected)
    fields = call.body.model_fields_set
    _check_allowed(job, fields)
    edited = _edited(call, job)
    commands = _commands(call, job, edited, expected)
    seen: Job | None = job
    for command in commands:
        try:
            seen = await send(call, command)
        except ApiProblem as problem:
            if problem.code != "revision_mismatch" or expected is None:
                raise
            raise await _changed(call, await find_job(call, job.job_id), expected) from problem
    message = f"changed{until_it_begins(job, edited.cadence)}" if commands else "nothing to change"
    return job_response(call, job.job_id, seen, message)


def _check_allowed(job: Job, fields: set[str]) -> None:
    needed = {"edit_cursor": {"cursor"}, "rename": {"name", "description"}}
    needed["configure"] = {"configuration", "cadence", "retry"}
    for action in (each for each, names in needed.items() if names & fields):
        check_not_pushed(job, action)
    refused = [action for action, names in needed.items() if names & fields and action not in allowed(job)]
    if refused:
        hint = "; pause it first" if refused == ["edit_cursor"] and "pause" in allowed(job) else ""
        what = " and ".join(refused).replace("_", " ")
        raise ApiProblem(
            409,
            "not_allowed",
            f"{what} can't be done while the job is {job.status}{hint}",
            more={"allowed": allowed(job)},
        )


def _edited(call: RequestContext[Query, PatchBody], job: Job) -> JobEdit:
    patch, fields = call.body, call.body.model_fields_set
    kept = orjson.loads(job.configuration)
    configuration = merged(kept, as_kept(patch.configuration, redacted(job.provider, job.configuration), kept))
    cadence, cadence_wrong = parsed(CadenceBody, merged(plain(job.cadence), patch.cadence), "/cadence")
    retry, retry_wrong = parsed(RetryBody, merged(plain(job.retry), patch.retry), "/retry")
    errors = [*cadence_wrong, *retry_wrong]
    kind = known_type(job.provider, job.job_type)
    if "configuration" in fields:
        errors += configuration_errors(kind, configuration)
    if "cadence" in fields and not cadence_wrong:
        errors += cadence_errors(cadence.word(), call.api.clock())
    cursor = patch.cursor if "cursor" in fields else orjson.loads(job.cursor)
    if "cursor" in fields:
        errors += cursor_errors(kind, cursor)
    if errors:
        raise invalid(errors)
    return JobEdit(
        name=patch.name if "name" in fields else job.name,
        description=patch.description if "description" in fields else job.description,
        configuration=configuration,
        cadence=cadence.word() if "cadence" in fields else job.cadence,
        retry=retry.word() if "retry" in fields else job.retry,
        cursor=cursor,
    )


def _commands(call: RequestContext[Query, PatchBody], job: Job, new: JobEdit, expected: int | None) -> list[JobCommand]:
    """Return a command for each kind of change there is, each at the revision that the one before leaves."""
    wanted: list[tuple[type[JobCommand], dict[str, Any]]] = []
    if new.cursor != orjson.loads(job.cursor):
        wanted.append((EditCursor, {"cursor": canonical(new.cursor)}))
    if (new.name, new.description) != (job.name, job.description):
        wanted.append((RenameJob, {"name": new.name, "description": new.description}))
    configuration = canonical(new.configuration)
    if (configuration, new.cadence, new.retry) != (job.configuration, job.cadence, job.retry):
        facts = {"configuration": configuration, "cadence": new.cadence, "retry": new.retry}
        wanted.append((ConfigureJob, facts))
    return [
        command(**stamped(call, job.job_id), expected_revision=None if expected is None else expected + step, **facts)
        for step, (command, facts) in enumerate(wanted)
    ]


async def _changed(call: RequestContext[Query, PatchBody], job: Job, expected: int) -> ApiProblem:
    """Return the problem of an edit that came second: every field that others changed, theirs beside yours."""
    base = await _at_revision(call, job.job_id, expected)
    before, now = _shown(base) if base else {}, _shown(job)
    wanted = {name: getattr(call.body, name) for name in call.body.model_fields_set}
    changed = {}
    for name, current in now.items():
        if name in before and (before[name] == current or (name == "cursor" and name not in wanted)):
            continue  # nobody changed it, or only the job itself by going on
        yours = before.get(name)
        if name in wanted:
            yours = wanted[name] if name == "cursor" else merged(yours, wanted[name])
        if name == "configuration" and isinstance(yours, dict):
            yours = redacted(job.provider, canonical(yours))
        changed[name] = {"current": current, "yours": yours}
    return ApiProblem(
        412,
        "revision_mismatch",
        f"the job is at revision {job.revision}, not {expected}: others changed {', '.join(changed) or 'it'} meanwhile",
        headers=etag(job.revision),
        more={"changed": changed, "revision": job.revision},
    )


async def _at_revision(call: RequestContext[Query, PatchBody], job_id: str, revision: int) -> Job | None:
    state: JobState = NoJob(job_id)
    while True:
        seq = state.seq if isinstance(state, Job) else 0
        events = await call.api.store.history.events(job_id, after_seq=seq, limit=FOLD_PAGE)
        for each in events:
            following = evolve(state, each.event)
            if isinstance(following, Job) and following.revision > revision:
                return state if isinstance(state, Job) else None
            state = following
        if len(events) < FOLD_PAGE:
            return state if isinstance(state, Job) and state.revision == revision else None


def _shown(job: Job) -> dict[str, Any]:
    """Return what people edit, secrets hidden."""
    return {
        "name": job.name,
        "description": job.description,
        "configuration": redacted(job.provider, job.configuration),
        "cadence": plain(job.cadence),
        "retry": plain(job.retry),
        "cursor": orjson.loads(job.cursor),
    }
