"""Send the command of a request, and respond with its result. Independent of resources."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel

from app.api.http.headers import etag, traceparent, wait_seconds
from app.api.http.problems import ApiProblem
from app.api.routing.responses import respond
from app.api.routing.routes import RequestContext, ResponseSpec
from app.api.services.command_gateway import Refused
from schemas.commands import JobCommand
from schemas.definitions import DefinitionCommand


class AcceptedCommand(BaseModel):
    """A command that is stored and whose result is not visible yet."""

    id: str
    href: str


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource after a command: its view, and the revision for its `ETag`."""

    view: BaseModel
    revision: int


ACCEPTED: Final = ResponseSpec("accepted, and not visible yet", AcceptedCommand, status=202, headers=("Location",))


async def submit(
    call: RequestContext[Any, Any], command: JobCommand | DefinitionCommand, problem_of: Callable[[Any], ApiProblem]
) -> tuple[Any, ...] | None:
    """Send a command and return its events; None when they are not visible within the time that the client waits.

    Raises:
        ApiProblem: `problem_of` the refusal, or 503 when Kafka is unreachable.

    """
    headers = call.request.headers
    try:
        return await call.api.gateway.submit(command, wait_seconds(headers), traceparent(headers))
    except Refused as refusal:
        raise problem_of(refusal.event) from refusal


def command_response(
    call: RequestContext[Any, Any],
    resource_id: str,
    href: str,
    resource: Resource | None,
    message: str,
    status: int = 200,
) -> web.Response:
    """Return the resource after a command; 202 with its address when it is not visible yet."""
    if resource is None:
        accepted = AcceptedCommand(id=resource_id, href=href)
        later = "accepted; not visible yet, see `href`"
        return respond(call, accepted, status=202, message=later, headers={"Location": href})
    headers = etag(resource.revision) | ({"Location": href} if status != 200 else {})
    return respond(call, resource.view, status=status, message=message, headers=headers)
