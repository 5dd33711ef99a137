"""Findings over HTTP: identities that link unusually many others. A finding changes nothing by itself."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import Field

from app.api.http.problems import ApiProblem
from app.api.profiles.profiles import live_reader
from app.api.routing.responses import View, respond
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.profiles.lookup_client import PartitionUnavailable
from projections.definitions.compiled_rules import identity_of
from projections.profiles.profile_view import shown_key
from schemas.instants import moment


class FindingView(View):
    """An identity that messages link with more others than its type allows for: probably several people share it."""

    type: Literal["fan_in"]
    identity: str
    profile: Annotated[str, Field(description="id of the profile that has it")]
    links: Annotated[int, Field(description="other identities that messages link it with")]
    limit: Annotated[int, Field(description="`fan_in_limit` of the identity type")]
    since: Annotated[datetime, Field(description="event time of the message that exceeded the limit")]
    blocked: Annotated[bool, Field(description="the active rules block it; a rebuild separates the profiles")]


ROUTES: Final = Routes("profiles", "/v2/finding")


@ROUTES(
    "GET",
    "",
    "List identities that link too many others",
    ResponseSpec("the findings, most links first; at most 100 of each partition of the profiles", list[FindingView]),
)
async def list_findings(call: RequestContext[Query, None]) -> web.Response:
    """Return the identities of the live profiles that exceed the limit of their type."""
    return respond(call, await findings_of(call))


async def findings_of(call: RequestContext[Any, Any]) -> list[FindingView]:
    """Return the findings of the live profiles, most links first.

    Raises:
        ApiProblem: 503, a partition of the profiles has no owner.

    """
    reader = await live_reader(call)
    rules = identity_of(call.api.rules.of(reader.generation))
    limits = {kind.kind: kind.fan_in_limit for kind in rules.kinds}
    blocked = {kind.kind: rules.value_rules(kind).blocked for kind in rules.kinds}
    try:
        rows = [row for number in range(call.api.settings.partitions) for row in await reader.fan_in(number, limits)]
    except PartitionUnavailable as error:
        raise ApiProblem(503, "profiles_unreachable", f"{error}; try again", headers={"Retry-After": "1"}) from error
    findings = []
    for row in rows:
        kind, _, value = shown_key(row.key).partition(":")
        view = FindingView(
            type="fan_in",
            identity=shown_key(row.key),
            profile=shown_key(row.root),
            links=row.links,
            limit=limits[kind],
            since=moment(row.since),
            blocked=value in blocked[kind],
        )
        findings.append(view)
    return sorted(findings, key=lambda finding: (-finding.links, finding.identity))
