"""Findings over HTTP: identities that link unusually many others. A finding changes nothing by itself."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from aiohttp import web
from pydantic import Field

from app.api.http.problems import ApiProblem
from app.api.profiles.profiles import live_reader
from app.api.routing.responses import View, respond
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.profiles.lookup_client import PartitionUnavailable
from projections.definitions.compiled_rules import identity_of
from projections.mapping.mapping import IdentityRules
from projections.profiles.profile_view import shown_key


class FindingView(View):
    """An identity that messages link with more others than its type allows for: probably several people share it."""

    type: Literal["fan_in"]
    identity: str
    profile: Annotated[str, Field(description="id of the profile that has it")]
    links: Annotated[int, Field(description="other identities that messages link it with")]
    limit: Annotated[int, Field(description="`fan_in_limit` of the identity type")]
    blocked: Annotated[bool, Field(description="the active rules block it; a rebuild separates the profiles")]


ROUTES: Final = Routes("profiles", "/v2/finding")


@ROUTES(
    "GET",
    "",
    "List identities that link too many others",
    ResponseSpec("the findings, most links first", list[FindingView]),
)
async def list_findings(call: RequestContext[Query, None]) -> web.Response:
    """Return the identities of the live profiles that exceed the limit of their type."""
    reader = await live_reader(call)
    live = identity_of(call.api.rules.of(reader.generation))
    findings: list[FindingView] = []
    try:
        for number in range(call.api.settings.partitions):
            findings += _findings(await reader.fan_in(number), live)
    except PartitionUnavailable as error:
        raise ApiProblem(503, "profiles_unreachable", f"{error}; try again", headers={"Retry-After": "1"}) from error
    return respond(call, sorted(findings, key=lambda finding: (-finding.links, finding.identity)))


def _findings(profiles: Mapping[str, Mapping[str, int]], rules: IdentityRules) -> Iterator[FindingView]:
    for kind in rules.kinds:
        blocked = rules.value_rules(kind).blocked
        for profile, links in profiles.items():
            for identity, count in ((shown_key(key), count) for key, count in links.items()):
                name, _, value = identity.partition(":")
                if name == kind.kind and count > kind.fan_in_limit:
                    yield FindingView(
                        type="fan_in",
                        identity=identity,
                        profile=shown_key(profile),
                        links=count,
                        limit=kind.fan_in_limit,
                        blocked=value in blocked,
                    )
