"""Streams over HTTP: what was seen of each, what is known of its fields, and a first mapping suggested from that."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from pydantic import BaseModel, Field, JsonValue

from app.api.definitions.definitions import check_known
from app.api.http.problems import ApiProblem, not_found
from app.api.routing.responses import respond
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.store.models import StreamView
from projections.fields.field_stats import FieldFacts, FieldStats
from projections.fields.suggestion import Reason, suggest
from projections.mapping.mapping import NO_IDENTITY, parse_identity
from schemas.definitions import IDENTITY, mapping_of
from schemas.instants import moment


class FieldView(BaseModel):
    """What is known of one field, from the messages that were looked at."""

    name: str
    path: Annotated[list[str], Field(description="the members that lead to it; of a field of the message, its name")]
    fill: Annotated[float, Field(description="the share of messages in which it is neither null nor a blank text")]
    seen: Annotated[int, Field(description="messages that have it")]
    nulls: int
    types: Annotated[dict[str, int], Field(description="how often each JSON type came, null left out")]
    distinct: Annotated[int, Field(description="about how many different texts and numbers there were")]
    looks: Annotated[
        dict[str, int],
        Field(description="what the texts look like, such as email; epoch_s, epoch_ms and epoch_us are of numbers too"),
    ]
    last_seen: Annotated[datetime, Field(description="the newest time of a message that has it")]
    shortest: Annotated[int | None, Field(description="of the texts, in characters")]
    longest: int | None
    smallest: Annotated[int | float | None, Field(description="of the numbers")]
    largest: int | float | None


class StreamDetail(BaseModel):
    """What was seen of a stream, and what is known of its fields. Only some messages are looked at: `looked`."""

    stream: str
    count: int
    bytes: int
    last_message_at: datetime
    last_arrival_at: datetime
    lanes: list[StreamView]
    looked: int
    fields: list[FieldView]
    more_fields: Annotated[int, Field(description="about how many there are beside these")]


class SuggestionView(BaseModel):
    """A mapping to begin with, the identity rules that it needs, and why: by JSON pointers into the mapping."""

    mapping: dict[str, JsonValue]
    identity: dict[str, JsonValue]
    reasons: list[Reason]
    looked: int


ROUTES: Final = Routes("streams", "/v2/stream")


@ROUTES("GET", "", "What was seen of every stream", ResponseSpec(data=list[StreamView]))
async def list_streams(call: RequestContext[Query, None]) -> web.Response:
    """Return what was seen of every stream."""
    return respond(call, await call.api.store.streams.counts())


@ROUTES(
    "GET",
    "/{name}",
    "What was seen of a stream, and what is known of its fields",
    ResponseSpec(data=StreamDetail),
    problems=(404,),
)
async def get_stream(call: RequestContext[Query, None]) -> web.Response:
    """Return what was seen of a stream, and what is known of its fields."""
    lanes = await _lanes(call)
    stats = await call.api.store.streams.fields(lanes[0].stream) or FieldStats()
    view = StreamDetail(
        stream=lanes[0].stream,
        count=sum(each.count for each in lanes),
        bytes=sum(each.bytes for each in lanes),
        last_message_at=max(each.last_message_at for each in lanes),
        last_arrival_at=max(each.last_arrival_at for each in lanes),
        lanes=list(lanes),
        looked=stats.looked,
        fields=[_field_view(each, stats.looked) for each in stats.fields()],
        more_fields=stats.more,
    )
    return respond(call, view)


@ROUTES(
    "GET",
    "/{name}/suggestion",
    "A first mapping of a stream, with reasons",
    ResponseSpec(data=SuggestionView),
    problems=(404,),
)
async def get_suggestion(call: RequestContext[Query, None]) -> web.Response:
    """Return a first mapping, with the kinds of identities that are in force beside its own."""
    check_known(call)
    stream = (await _lanes(call))[0].stream
    stats = await call.api.store.streams.fields(stream)
    if stats is None:
        detail = f"no message of {stream!r} was looked at yet; try again when more of them have come"
        raise ApiProblem(404, "no_fields_known", detail)
    in_force = {
        each.definition_id: orjson.loads(each.applied.body) for each in call.api.catalog.definitions if each.applied
    }
    kinds = in_force.pop(IDENTITY, None)
    in_force.pop(mapping_of(stream), None)
    taken = {attribute["name"] for body in in_force.values() for attribute in body.get("attributes") or ()}
    found = suggest(stream, stats, parse_identity(kinds) if kinds else NO_IDENTITY, taken)
    view = SuggestionView(
        mapping=found.mapping, identity=found.identity, reasons=list(found.reasons), looked=stats.looked
    )
    return respond(call, view)


async def _lanes(call: RequestContext[Any, Any]) -> Sequence[StreamView]:
    name = call.path("name")
    found = await call.api.store.streams.counts(name)
    if not found:
        raise not_found("stream", name)
    return found


def _field_view(facts: FieldFacts, looked: int) -> FieldView:
    return FieldView(
        name=facts.name,
        path=list(facts.path),
        fill=round(facts.given / looked, 4),
        seen=facts.seen,
        nulls=facts.types.get("null", 0),
        types={name: count for name, count in facts.types.items() if name != "null"},
        distinct=facts.distinct,
        looks=dict(facts.looks),
        last_seen=moment(facts.last_seen),
        shortest=facts.shortest,
        longest=facts.longest,
        smallest=facts.smallest,
        largest=facts.largest,
    )
