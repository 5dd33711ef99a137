"""Rebuilds over HTTP: profiles made anew by other rules or without some messages, looked at, promoted or discarded."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from aiohttp import web

from app.api.definitions.commands import envelope, overtaken, send
from app.api.definitions.definitions import check_known
from app.api.definitions.rebuild_requests import (
    MAX_NOTE_CHARACTERS,
    WHY_NOT,
    RebuildBody,
    live_rules,
    what_brought,
    wished,
)
from app.api.definitions.rebuild_views import RebuildItem, RebuildView, public_id, rebuild_item, rebuild_view
from app.api.http.headers import etag, expected_revision
from app.api.http.problems import ApiProblem, not_found
from app.api.routing.commands import ACCEPTED, AcceptedCommand, Resource, command_response
from app.api.routing.responses import respond
from app.api.routing.routes import MAY_MATCH, PREFER, Query, RequestContext, ResponseSpec, Routes
from app.definitions.rebuild_catalog import RebuildRecord
from projections.definitions.rebuild_spec import recipe_text
from projections.definitions.spec_summary import IDENTITY_RULES
from projections.definitions.state import basis_of, basis_text
from schemas.definitions import REBUILD, DefinitionCommand, DiscardRebuild, PromoteRebuild, StartRebuild, stream_of

ENDED: Final = frozenset({"Completed", "Killed", "Purged"})


ROUTES: Final = Routes("rebuilds", "/v2")
REBUILT: Final = ResponseSpec("the rebuild", RebuildView, headers=("ETag",))
STARTED: Final = ResponseSpec(
    "the rebuild, which goes on by itself; or where it will be",
    RebuildView | AcceptedCommand,
    status=202,
    headers=("Location",),
)


@ROUTES("GET", "/rebuild", "List rebuilds", ResponseSpec("the newest first", list[RebuildItem]))
async def list_rebuilds(call: RequestContext[Query, None]) -> web.Response:
    """Return the rebuilds that are remembered, the newest first."""
    check_known(call)
    live, in_force = (await call.api.store.plane.stage()).live, _in_force(call)
    return respond(call, [rebuild_item(each, in_force, live) for each in reversed(call.api.catalog.rebuilds.all)])


@ROUTES("GET", "/rebuild/{rebuild_id}", "Look at a rebuild", REBUILT, problems=(404,))
async def get_rebuild(call: RequestContext[Query, None]) -> web.Response:
    """Return a rebuild."""
    mark = _found(call)
    return respond(call, await _view(call, mark), headers=etag(mark.rebuild.version))


@ROUTES(
    "POST",
    "/rebuild",
    "Build profiles anew, beside those that are live",
    STARTED,
    headers=(PREFER,),
    problems=(404, 409),
)
async def start_rebuild(call: RequestContext[Query, RebuildBody]) -> web.Response:
    """Start a rebuild."""
    check_known(call)
    return await _start(call, call.body, call.body.note, "started")


@ROUTES(
    "POST",
    "/job/{job_id}/undo",
    "Build profiles anew without what a job or an upload has brought",
    STARTED,
    headers=(PREFER,),
    problems=(404, 409),
)
async def undo_job(call: RequestContext[Query, None]) -> web.Response:
    """Start a rebuild by the rules in force without what a job or an upload has brought up to now."""
    check_known(call)
    job_id = call.path("job_id")
    brought, job = await what_brought(call, job_id), await call.api.store.jobs.get(job_id)
    if brought == "no_such_job":
        raise not_found("job", job_id)
    if brought == "no_messages":
        raise ApiProblem(409, brought, f"{WHY_NOT[brought]}: there is nothing to undo", more={"allowed": []})
    said = "started"
    if job is None:
        said += "; no job has that id: if an upload has, what it brought is left out, and the report will tell"
    elif job.status not in ENDED:
        said += f"; the job is {job.status}, and what it brings from now on counts: kill it if that is wrong, too"
    note = f"without what {job.name if job else job_id} has brought"[:MAX_NOTE_CHARACTERS]
    return await _start(call, RebuildBody(without=(job_id,)), note, said)


@ROUTES(
    "POST",
    "/rebuild/{rebuild_id}/promote",
    "Let it be what is live",
    REBUILT,
    ACCEPTED,
    headers=(MAY_MATCH, PREFER),
    problems=(404, 409),
)
async def promote_rebuild(call: RequestContext[Query, None]) -> web.Response:
    """Let what was built be what is live."""
    mark = _found(call)
    command = PromoteRebuild(**envelope(call, mark.rebuild.definition_id, _expected(call, mark)))
    return await _respond_changed(call, command, "promoted; it goes live as soon as the lanes have changed over")


@ROUTES(
    "POST",
    "/rebuild/{rebuild_id}/discard",
    "Drop what was built",
    REBUILT,
    ACCEPTED,
    headers=(MAY_MATCH, PREFER),
    problems=(404, 409),
)
async def discard_rebuild(call: RequestContext[Query, None]) -> web.Response:
    """Drop what was built; what is live stays as it is."""
    mark = _found(call)
    command = DiscardRebuild(**envelope(call, mark.rebuild.definition_id, _expected(call, mark)))
    return await _respond_changed(call, command, "discarded")


async def _start(call: RequestContext[Any, Any], body: RebuildBody, note: str, said: str) -> web.Response:
    rules = live_rules(call)
    recipe, basis = await wished(call, body, rules), basis_text(basis_of(rules))
    busy = call.api.catalog.rebuilds.under_way
    if busy is not None:
        name = public_id(busy.rebuild.definition_id)
        detail = f"rebuild {name} is under way, and there can be one at a time: promote or discard it first"
        raise ApiProblem(409, "busy", detail, more={"allowed": ["promote", "discard"], "rebuild": name})
    definition_id = f"{REBUILD}{uuid4()}"
    command = StartRebuild(**envelope(call, definition_id, None), recipe=recipe_text(recipe), note=note, basis=basis)
    return await _respond_changed(call, command, said, status=202)


async def _respond_changed(
    call: RequestContext[Any, Any], command: DefinitionCommand, message: str, status: int = 200
) -> web.Response:
    """Send a command and return the rebuild after it."""
    rebuild_id = public_id(command.definition_id)
    visible = await send(call, command)
    record = call.api.catalog.rebuilds.get(command.definition_id) if visible else None
    resource = Resource(await _view(call, record), record.rebuild.version) if record else None
    return command_response(call, rebuild_id, f"/v2/rebuild/{rebuild_id}", resource, message, status)


async def _view(call: RequestContext[Any, Any], mark: RebuildRecord) -> RebuildView:
    plane = call.api.store.plane
    progress = await plane.progress(mark.rebuild.definition_id)
    forgotten = call.api.rules.rules.forgotten
    return rebuild_view(mark, _in_force(call), (await plane.stage()).live, progress, forgotten)


def _in_force(call: RequestContext[Any, Any]) -> Mapping[str, int]:
    """Return the versions in force by stream, and those of the identity rules."""
    return {
        stream_of(each.definition_id) or IDENTITY_RULES: each.applied.version
        for each in call.api.catalog.definitions
        if each.applied
    }


def _found(call: RequestContext[Any, Any]) -> RebuildRecord:
    check_known(call)
    name = call.path("rebuild_id")
    found: RebuildRecord | None = call.api.catalog.rebuilds.get(f"{REBUILD}{name}")
    if found is None:
        raise not_found("rebuild", name)
    return found


def _expected(call: RequestContext[Any, Any], mark: RebuildRecord) -> int | None:
    """Return the version that the client has read: how often it was reported to be ready."""
    expected, version = expected_revision(call.request.headers), mark.rebuild.version
    if expected not in {None, version}:
        raise overtaken(version, "it was compared again meanwhile: look at the report again")
    return expected
