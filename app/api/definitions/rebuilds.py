"""Rebuilds over HTTP: profiles built by other rules or without some messages, compared, promoted or discarded."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from aiohttp import web

from app.api.definitions.commands import definition_envelope, send_definition_command, version_conflict
from app.api.definitions.definitions import active_versions, check_loaded
from app.api.definitions.rebuild_requests import (
    MAX_NOTE_CHARACTERS,
    NO_MESSAGES,
    UNKNOWN_ORIGIN,
    RebuildBody,
    active_rules,
    origins_of,
    resolve_spec,
)
from app.api.definitions.rebuild_views import RebuildItem, RebuildView, public_id, rebuild_item, rebuild_view
from app.api.http.headers import etag, expected_revision
from app.api.http.problems import ApiProblem, not_found
from app.api.routing.commands import ACCEPTED, AcceptedCommand, Resource, command_response
from app.api.routing.responses import respond
from app.api.routing.routes import EDIT, PREFER, Query, RequestContext, ResponseSpec, Routes
from app.definitions.rebuild_catalog import RebuildRecord
from projections.definitions.rebuild_spec import RebuildSpec, spec_text
from projections.definitions.rules import Rules
from projections.definitions.state import basis_hash, basis_of
from schemas.definitions import REBUILD, DefinitionCommand, DiscardRebuild, PromoteRebuild, StartRebuild
from schemas.instants import micros

ENDED: Final = frozenset({"Completed", "Killed", "Purged"})
ROUTES: Final = Routes("rebuilds", "/v2")
REBUILD_ID: Final = {"rebuild_id": "/data/id"}
REBUILT: Final = ResponseSpec("the rebuild", RebuildView, headers=("ETag",))
REBUILDS: Final = ResponseSpec("newest first", list[RebuildItem], ids={"rebuild_id": "/data/0/id"})
STARTED: Final = ResponseSpec(
    "the started rebuild, or its address",
    RebuildView | AcceptedCommand,
    status=202,
    headers=("Location",),
)


@ROUTES("GET", "/rebuild", "List rebuilds", REBUILDS)
async def list_rebuilds(call: RequestContext[Query, None]) -> web.Response:
    """Return the rebuilds that are retained, newest first."""
    check_loaded(call)
    live, active = (await call.api.store.plane.generations()).live, _active_versions(call)
    return respond(call, [rebuild_item(record, active, live) for record in reversed(call.api.catalog.rebuilds.all)])


@ROUTES("GET", "/rebuild/{rebuild_id}", "Show a rebuild", replace(REBUILT, ids=REBUILD_ID), problems=(404,))
async def get_rebuild(call: RequestContext[Query, None]) -> web.Response:
    """Return a rebuild."""
    record = _record(call)
    return respond(call, await _view(call, record), headers=etag(record.rebuild.version))


@ROUTES(
    "POST",
    "/rebuild",
    "Start a rebuild: build profiles from scratch, beside the live ones",
    replace(STARTED, ids=REBUILD_ID),
    headers=(PREFER,),
    problems=(404, 409),
)
async def start_rebuild(call: RequestContext[Query, RebuildBody]) -> web.Response:
    """Start a rebuild."""
    rules = active_rules(call)
    return await _start(call, rules, await resolve_spec(call, call.body, rules), call.body.note, "started")


@ROUTES(
    "POST",
    "/job/{job_id}/undo",
    "Start a rebuild without the messages of a job or an upload",
    STARTED,
    headers=(PREFER,),
    problems=(404, 409),
)
async def undo_job(call: RequestContext[Query, None]) -> web.Response:
    """Start a rebuild by the active rules without the messages that a job or an upload has sent so far."""
    check_loaded(call)
    job_id = call.path("job_id")
    origin, job = (await origins_of(call, (job_id,)))[job_id]
    if origin == "no_such_job":
        raise ApiProblem(404, origin, f"{job_id}: {UNKNOWN_ORIGIN}")
    if origin == "no_messages":
        raise ApiProblem(409, origin, f"{NO_MESSAGES}: there is nothing to undo", more={"allowed": []})
    message = "started"
    if job is not None and job.status not in ENDED:
        message += f"; the job is {job.status}, and its further messages are included: kill it to stop them"
    note = f"without the messages of {job.name if job else job_id}"[:MAX_NOTE_CHARACTERS]
    rules = active_rules(call)
    return await _start(call, rules, rules.spec.without(job_id, micros(call.api.clock())), note, message)


@ROUTES(
    "POST",
    "/rebuild/{rebuild_id}/promote",
    "Promote the rebuild",
    REBUILT,
    ACCEPTED,
    **EDIT,
)
async def promote_rebuild(call: RequestContext[Query, None]) -> web.Response:
    """Make the rebuilt profiles live and activate their rules."""
    record = _record(call)
    command = PromoteRebuild(**definition_envelope(call, record.rebuild.definition_id, _expected(call, record)))
    return await _respond_changed(call, command, "promoted; it goes live once the lanes use its rules")


@ROUTES(
    "POST",
    "/rebuild/{rebuild_id}/discard",
    "Discard the rebuild",
    REBUILT,
    ACCEPTED,
    **EDIT,
)
async def discard_rebuild(call: RequestContext[Query, None]) -> web.Response:
    """Discard the rebuilt profiles; the live ones are unchanged."""
    record = _record(call)
    command = DiscardRebuild(**definition_envelope(call, record.rebuild.definition_id, _expected(call, record)))
    return await _respond_changed(call, command, "discarded")


async def _start(
    call: RequestContext[Any, Any], rules: Rules, spec: RebuildSpec, note: str, message: str
) -> web.Response:
    in_progress = call.api.catalog.rebuilds.under_way
    if in_progress is not None:
        name = public_id(in_progress.rebuild.definition_id)
        detail = f"rebuild {name} is in progress, and only one can run at a time: promote or discard it first"
        raise ApiProblem(409, "busy", detail, more={"allowed": ["promote", "discard"], "rebuild": name})
    definition_id = f"{REBUILD}{uuid4()}"
    command = StartRebuild(
        **definition_envelope(call, definition_id, None),
        spec=spec_text(spec),
        note=note,
        basis=basis_hash(basis_of(rules)),
    )
    return await _respond_changed(call, command, message, status=202)


async def _respond_changed(
    call: RequestContext[Any, Any], command: DefinitionCommand, message: str, status: int = 200
) -> web.Response:
    """Send a command and return the rebuild after it."""
    rebuild_id = public_id(command.definition_id)
    visible = await send_definition_command(call, command)
    record = call.api.catalog.rebuilds.get(command.definition_id) if visible else None
    resource = Resource(await _view(call, record), record.rebuild.version) if record else None
    return command_response(call, rebuild_id, f"/v2/rebuild/{rebuild_id}", resource, message, status)


async def _view(call: RequestContext[Any, Any], record: RebuildRecord) -> RebuildView:
    plane = call.api.store.plane
    progress = await plane.progress(record.rebuild.definition_id)
    forgotten = call.api.rules.rules.forgotten
    return rebuild_view(record, _active_versions(call), (await plane.generations()).live, progress, forgotten)


def _active_versions(call: RequestContext[Any, Any]) -> Mapping[str, int]:
    """Return the active versions by definition id."""
    return {name: active.version for name, active in active_versions(call).items()}


def _record(call: RequestContext[Any, Any]) -> RebuildRecord:
    check_loaded(call)
    rebuild_id = call.path("rebuild_id")
    record: RebuildRecord | None = call.api.catalog.rebuilds.get(f"{REBUILD}{rebuild_id}")
    if record is None:
        raise not_found("rebuild", rebuild_id)
    return record


def _expected(call: RequestContext[Any, Any], record: RebuildRecord) -> int | None:
    """Return the version that the client has read: the number of comparisons."""
    expected, version = expected_revision(call.request.headers), record.rebuild.version
    if expected not in {None, version}:
        raise version_conflict(version, "it was compared again meanwhile: read the report again")
    return expected
