"""Suggested mappings over HTTP: from the statistics of a stream, the active rules, and findings of live profiles."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from aiohttp import web
from pydantic import BaseModel, JsonValue

from app.api.definitions.definitions import active_versions, check_loaded
from app.api.definitions.streams import lanes_of
from app.api.http.problems import ApiProblem
from app.api.profiles.findings import findings_of
from app.api.routing.responses import respond
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from projections.fields.suggestion import Reason, suggest_beside

NO_FINDINGS: Final = Reason("/identities", "profiles are unavailable, so values that link too many others are unknown")


class SuggestionView(BaseModel):
    """A suggested mapping, the identity rules that it needs, and the reasons by JSON pointers into the mapping."""

    mapping: dict[str, JsonValue]
    identity: dict[str, JsonValue]
    reasons: list[Reason]
    sampled: int


ROUTES: Final = Routes("streams", "/v2/stream")


@ROUTES(
    "GET",
    "/{name}/suggestion",
    "Suggest a mapping for a stream, with reasons",
    ResponseSpec(data=SuggestionView),
    problems=(404, 429),
)
async def get_suggestion(call: RequestContext[Query, None]) -> web.Response:
    """Return a suggested mapping, and the active identity types together with its own."""
    check_loaded(call)
    stream = (await lanes_of(call))[0].stream
    sketches = await call.api.store.streams.sketches(stream)
    if not sketches:
        detail = f"no field statistics of stream {stream!r} yet; try again when it has more messages"
        raise ApiProblem(404, "no_fields_known", detail)
    bodies = {name: version.body for name, version in active_versions(call).items()}
    shared = await _shared_values(call)
    async with call.evaluator() as evaluator:
        suggestion = await evaluator.call(suggest_beside, stream, sketches, bodies, shared or {})
    view = SuggestionView(
        mapping=suggestion.mapping,
        identity=suggestion.identity,
        reasons=[*suggestion.reasons, *([] if shared is not None else [NO_FINDINGS])],
        sampled=suggestion.sampled,
    )
    return respond(call, view)


async def _shared_values(call: RequestContext[Query, None]) -> Mapping[str, Sequence[str]] | None:
    """Return the values, by kind, that link too many others and are not blocked; None if the profiles don't respond."""
    shared = defaultdict[str, list[str]](list)
    try:
        for finding in await findings_of(call):
            kind, _, value = finding.identity.partition(":")
            if not finding.blocked:
                shared[kind].append(value)
    except ApiProblem:
        return None
    return shared
