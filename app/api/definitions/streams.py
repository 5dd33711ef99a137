"""Streams over HTTP: message counts and statistics of fields."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, Field

from app.api.http.problems import not_found
from app.api.routing.responses import View, respond
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.store.models import BlockedIdentities, StreamView
from projections.fields.field_stats import FieldFacts, summarize
from schemas.instants import moment


class FieldView(View):
    """Statistics of one field, from a sample of the messages."""

    name: str
    path: Annotated[list[str], Field(description="the member names that lead to it from the message")]
    fill: Annotated[float, Field(description="the share of messages in which it is neither null nor blank text")]
    seen: Annotated[int, Field(description="messages that have it")]
    nulls: int
    types: Annotated[dict[str, int], Field(description="how often each JSON type occurred, without null")]
    distinct: Annotated[int, Field(description="approximate number of distinct strings and numbers")]
    patterns: Annotated[
        dict[str, int],
        Field(description="patterns of the strings, such as email; `placeholder` and `epoch_…` also of numbers"),
    ]
    last_seen_at: Annotated[datetime, Field(description="the latest event time of a message that has it")]
    min_length: Annotated[int | None, Field(description="of the strings, in characters")]
    max_length: int | None
    min_value: Annotated[int | float | None, Field(description="of the numbers")]
    max_value: int | float | None


class BlockedView(View):
    """The number of identities that were ignored, as the identity rules block their value."""

    kind: str
    value: Annotated[str, Field(description="in lower case; `0` and `-` also for zeros and for punctuation")]
    count: int


class StreamDetail(BaseModel):
    """The messages of a stream by lane, and statistics of its fields from the `sampled` messages."""

    stream: str
    count: int
    bytes: int
    last_message_at: datetime
    last_arrival_at: datetime
    lanes: list[StreamView]
    sampled: int
    fields: list[FieldView]
    more_fields: Annotated[int, Field(description="approximate number of further fields")]
    blocked: Annotated[list[BlockedView], Field(description="most frequent first")]


ROUTES: Final = Routes("streams", "/v2/stream")


@ROUTES("GET", "", "List stream statistics", ResponseSpec(data=list[StreamView], ids={"name": "/data/0/stream"}))
async def list_streams(call: RequestContext[Query, None]) -> web.Response:
    """Return the statistics of every stream."""
    return respond(call, await call.api.store.streams.counts())


@ROUTES(
    "GET", "/{name}", "Show a stream and its field statistics", ResponseSpec(data=StreamDetail), problems=(404, 429)
)
async def get_stream(call: RequestContext[Query, None]) -> web.Response:
    """Return the statistics of a stream and of its fields."""
    lanes = await lanes_of(call)
    sketches = await call.api.store.streams.sketches(lanes[0].stream)
    async with call.evaluator() as evaluator:
        summary = await evaluator.call(summarize, sketches)
    view = StreamDetail(
        stream=lanes[0].stream,
        count=sum(lane.count for lane in lanes),
        bytes=sum(lane.bytes for lane in lanes),
        last_message_at=max(lane.last_message_at for lane in lanes),
        last_arrival_at=max(lane.last_arrival_at for lane in lanes),
        lanes=list(lanes),
        sampled=summary.sampled,
        fields=[_field_view(facts, summary.sampled) for facts in summary.fields],
        more_fields=summary.excluded_fields,
        blocked=_blocked_views(await call.api.store.streams.blocked(lanes[0].stream)),
    )
    return respond(call, view)


async def lanes_of(call: RequestContext[Any, Any]) -> Sequence[StreamView]:
    """Return the messages of the stream in the path, by lane.

    Raises:
        ApiProblem: 404, it has none.

    """
    name = call.path("name")
    lanes = await call.api.store.streams.counts(name)
    if not lanes:
        raise not_found("stream", name)
    return lanes


def _blocked_views(blocked: Iterable[BlockedIdentities]) -> list[BlockedView]:
    """Return the counts of both lanes together."""
    counts: Counter[tuple[str, str]] = Counter()
    for row in blocked:
        counts[row.kind, row.value] += row.count
    return [BlockedView(kind=kind, value=value, count=count) for (kind, value), count in counts.most_common()]


def _field_view(facts: FieldFacts, sampled: int) -> FieldView:
    return FieldView.of(
        facts,
        fill=round(facts.present / sampled, 4),
        nulls=facts.types.get("null", 0),
        types={name: count for name, count in facts.types.items() if name != "null"},
        last_seen_at=moment(facts.last_seen_at),
    )
