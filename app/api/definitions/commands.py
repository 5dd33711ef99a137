"""The one way to change definitions: stamp a command, send it, and turn what comes of it into an answer."""

import asyncio
import time
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from aiohttp import web

from app.api.definitions.views import definition_view
from app.api.http.headers import etag, patience, traceparent
from app.api.http.problems import ApiProblem, FieldError, invalid, not_found
from app.api.jobs.commands import AcceptedCommand
from app.api.routing.responses import answer
from app.api.routing.routes import RequestContext
from projections.definitions.definition import Definition
from schemas.definitions import PARTITION, REBUILD, DefinitionCommand, DefinitionEvent, DefinitionRefused
from schemas.topics import DEFINITIONS_COMMANDS


def envelope(call: RequestContext[Any, Any], definition_id: str, expected_version: int | None) -> dict[str, Any]:
    """Return the envelope of a command of this caller."""
    return {
        "command_id": str(uuid4()),
        "definition_id": definition_id,
        "issued_at": call.api.clock(),
        "issued_by": f"user:{call.caller.name}",
        "expected_version": expected_version,
    }


async def submit(call: RequestContext[Any, Any], command: DefinitionCommand) -> Definition | None:
    """Send a command and return the definition behind it; None when that is not visible within the time given.

    Raises:
        Problem: it was refused, or Kafka could not be reached.

    """
    event = await outcome(call, command)
    return None if event is None else call.api.catalog.get(command.definition_id)


async def outcome(call: RequestContext[Any, Any], command: DefinitionCommand) -> DefinitionEvent | None:
    """Send a command and return what it led to; None when that is not known within the time given.

    Raises:
        Problem: it was refused, or Kafka could not be reached.

    """
    headers, api, kind = call.request.headers, call.api, type(command).__name__
    started = time.perf_counter()
    with api.catalog.expect(command.command_id) as future:
        await api.gateway.deliver(
            DEFINITIONS_COMMANDS.name, command, command.definition_id, PARTITION, traceparent(headers)
        )
        left = max(0.0, started + patience(headers) - time.perf_counter())
        try:
            (event,) = await asyncio.wait_for(asyncio.shield(future), left)
        except TimeoutError:
            api.metrics.commands.labels(kind, "sent").inc()
            return None
    if isinstance(event, DefinitionRefused):
        api.metrics.commands.labels(kind, "refused").inc()
        raise refused(event)
    api.metrics.commands.labels(kind, "done").inc()
    api.metrics.visible_seconds.observe(time.perf_counter() - started)
    return event


def written(call: RequestContext[Any, Any], definition_id: str, found: Definition | None, message: str) -> web.Response:
    """Return the definition behind a write; or 202 with where to look when it is not visible yet."""
    if found is not None:
        view = definition_view(call.api.catalog, found)
        return answer(call, view, message=message, headers=etag(found.version))
    there = f"/v2/definition/{quote(definition_id, safe='')}"
    said = "accepted; it will be visible at the address given"
    return answer(
        call, AcceptedCommand(id=definition_id, href=there), status=202, message=said, headers={"Location": there}
    )


def refused(event: DefinitionRefused) -> ApiProblem:
    """Return the problem that a refusal is."""
    errors = [FieldError(each.pointer, event.code, each.message) for each in event.errors]
    match event.code:
        case "no_such_definition":
            return not_found("definition", event.definition_id)
        case "no_such_rebuild":
            return not_found("rebuild", event.definition_id.removeprefix(REBUILD))
        case "version_mismatch":
            return overtaken(event.version, event.message)
        case "invalid_body":
            return invalid(errors)
        case _:
            return ApiProblem(409, event.code, event.message.removeprefix("/: "), errors=errors)


def overtaken(version: int, message: str) -> ApiProblem:
    """Return the problem of a change that came second."""
    more = {"changed": {}, "version": version}
    return ApiProblem(412, "version_mismatch", message, headers=etag(version), more=more)
