"""Definition commands: stamped, sent, and answered with the definition or a problem."""

from typing import Any
from urllib.parse import quote
from uuid import uuid4

from aiohttp import web

from app.api.definitions.views import definition_view
from app.api.http.headers import etag
from app.api.http.problems import ApiProblem, field_error_of, invalid, not_found
from app.api.routing.commands import Resource, command_response, submit
from app.api.routing.routes import RequestContext
from app.sentences.sentence import sentence
from projections.definitions.body_checks import InvalidBodyError
from projections.definitions.definition import Definition
from schemas.definitions import DefinitionCommand, DefinitionRefused


def definition_envelope(
    call: RequestContext[Any, Any], definition_id: str, expected_version: int | None
) -> dict[str, Any]:
    """Return the envelope of a command from this caller."""
    return {
        "command_id": str(uuid4()),
        "definition_id": definition_id,
        "issued_at": call.api.clock(),
        "issued_by": f"user:{call.caller.name}",
        "expected_version": expected_version,
    }


async def send_definition_command(call: RequestContext[Any, Any], command: DefinitionCommand) -> bool:
    """Send a command and return whether its result is visible within the time that the client waits.

    Raises:
        ApiProblem: the command was refused, or Kafka is unreachable.

    """
    return await submit(call, command, definition_refusal_problem) is not None


async def respond_changed(call: RequestContext[Any, Any], command: DefinitionCommand, message: str) -> web.Response:
    """Send a command and return the definition after it."""
    visible = await send_definition_command(call, command)
    definition = call.api.catalog.get(command.definition_id) if visible else None
    return definition_response(call, command.definition_id, definition, message)


def definition_response(
    call: RequestContext[Any, Any], definition_id: str, definition: Definition | None, message: str
) -> web.Response:
    """Return the definition after a command."""
    resource = Resource(definition_view(call.api.catalog, definition), definition.version) if definition else None
    href = f"/v2/definition/{quote(definition_id, safe='')}"
    return command_response(call, definition_id, href, resource, message)


def definition_refusal_problem(event: DefinitionRefused) -> ApiProblem:
    """Return the problem for a refusal."""
    errors = [field_error_of(error.pointer, error.code, error.params) for error in event.errors]
    detail = sentence(event.code, event.params)
    match event.code:
        case "no_such_definition":
            return not_found("definition", event.definition_id)
        case "no_such_rebuild" | "no_such_token":
            return not_found(event.code.removeprefix("no_such_"), event.definition_id.partition(":")[2])
        case "version_mismatch":
            return version_conflict(event.version, detail)
        case "invalid_body" | "bad_expiry":
            return invalid(errors)
        case "too_many_forgettings" as code:
            return ApiProblem(429, code, detail, headers={"Retry-After": "5"}, params=event.params)
        case _:
            return ApiProblem(409, event.code, detail, errors=errors, params=event.params)


def invalid_body_problem(error: InvalidBodyError) -> ApiProblem:
    """Return the problem for a body that breaks the rules of definitions."""
    return invalid([field_error_of(detail.pointer, detail.code, detail.params) for detail in error.errors])


def version_conflict(version: int, message: str) -> ApiProblem:
    """Return the problem for a concurrent modification."""
    more = {"changed": {}, "version": version}
    return ApiProblem(412, "version_mismatch", message, headers=etag(version), more=more)
