"""Mappings tried over HTTP, on the most recent messages of their stream, before they are applied."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from aiohttp import web
from aiokafka.errors import KafkaError
from pydantic import BaseModel, Field, JsonValue

from app.api.definitions.definitions import RulesBody, known_id
from app.api.http.problems import ApiProblem, FieldError, invalid, not_found
from app.api.jobs.bodies import canonical
from app.api.routing.responses import respond
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.lanes.recent_messages import RecentMessage, recent_messages
from projections.definitions.body_checks import InvalidBodyError, check_applied, check_body
from projections.definitions.definition import Definition
from projections.definitions.rebuild_spec import AppliedBody
from projections.definitions.rules import Rules
from projections.mapping.mapper import Mapper, make_mapper
from projections.mapping.mapping import NO_IDENTITY, parse_identity, parse_mapping
from projections.mapping.preview import MappingPreview, PreviewFault, preview
from projections.mapping.raw_messages import UnreadableMessageError, parse
from schemas.definitions import IDENTITY, stream_of
from schemas.instants import moment
from schemas.topics import FUTURE_BOUND_MS

MAX_MESSAGES: Final = 50
MAX_SHOWN_BYTES: Final = 4 * 1024 * 1024  # of attributes
_ONE_AT_A_TIME: Final = asyncio.Semaphore(1)  # of a process: what is read is held in memory


class FaultView(BaseModel):
    """What the mapping could not use, and how it looks."""

    part: Annotated[str, Field(description="of the mapping, such as `attribute age`; or `message`")]
    code: str
    example: str


class MessagePreviewView(BaseModel):
    """One message, and what the mapping makes of it. Without identities it is nobody's, and has no attributes."""

    message_id: str
    timestamp: datetime
    identities: Annotated[list[str], Field(description="best first")]
    attributes: Annotated[dict[str, JsonValue], Field(description="of a profile that knows this message only")]
    faults: list[FaultView]


class FaultCount(FaultView):
    """How many messages had such a fault, with the example of the newest."""

    messages: int


class PreviewSummary(BaseModel):
    """All messages together."""

    messages: int
    mapped: Annotated[int, Field(description="messages that name somebody")]
    faults: Annotated[list[FaultCount], Field(description="the most frequent first")]
    attributes: Annotated[dict[str, int], Field(description="how many messages say something of each")]
    records: Annotated[int, Field(description="records that were read to find them, of any stream")]


class PreviewView(BaseModel):
    """What a mapping makes of the most recent messages of its stream, newest first."""

    stream: str
    summary: PreviewSummary
    messages: list[MessagePreviewView]


ROUTES: Final = Routes("definitions", "/v2/definition")


@ROUTES(
    "POST",
    "/{definition_id}/preview",
    "Try a mapping, or the draft, on the most recent messages of its stream",
    ResponseSpec("what it makes of them", PreviewView),
    problems=(404, 409),
)
async def preview_mapping(call: RequestContext[Query, RulesBody | None]) -> web.Response:
    """Return what a mapping makes of recent messages; nothing is kept of it."""
    definition_id = known_id(call)
    stream = stream_of(definition_id)
    if stream is None:
        raise not_found("mapping", definition_id)
    mapper = _mapper(call, definition_id, stream)
    settings = call.api.settings
    try:
        async with _ONE_AT_A_TIME:
            recent = await recent_messages(call.api.kafka, settings.partitions, stream, MAX_MESSAGES)
    except (KafkaError, OSError) as error:
        raise ApiProblem(503, "kafka_unreachable", "Kafka, which has the messages, is not reachable") from error
    shown, size = [], 0
    for each in recent.newest():
        view = _previewed(mapper, each)
        size += len(orjson.dumps(view.attributes))
        if size > MAX_SHOWN_BYTES:
            break
        shown.append(view)
    return respond(call, PreviewView(stream=stream, summary=_summary(shown, recent.records), messages=shown))


def _mapper(call: RequestContext[Query, RulesBody | None], definition_id: str, stream: str) -> Mapper:
    """Return the mapping to try, with the identity rules that it would be applied with: drafts, where there are."""
    body = canonical(call.body.root) if call.body is not None else _kept(call, definition_id).body
    identity = _newest(call.api.catalog.get(IDENTITY))
    try:
        check_body(definition_id, body)
        check_applied(Rules(identity), definition_id, body)
    except InvalidBodyError as error:
        raise invalid([FieldError(each.pointer, "invalid_body", each.message) for each in error.errors]) from error
    kinds = parse_identity(orjson.loads(identity.body)) if identity else NO_IDENTITY
    return make_mapper(stream, parse_mapping(orjson.loads(body)), kinds)


def _kept(call: RequestContext[Any, Any], definition_id: str) -> AppliedBody:
    known = call.api.catalog.get(definition_id)
    if known is None:
        raise not_found("definition", definition_id)
    found = _newest(known)
    if found is None:
        raise ApiProblem(409, "no_draft", "there is no draft, and nothing in force", more={"allowed": ["draft"]})
    return found


def _newest(known: Definition | None) -> AppliedBody | None:
    """Return the draft of a definition, else what is in force."""
    return (known.draft or known.applied) if known else None


def _previewed(mapper: Mapper, recent: RecentMessage) -> MessagePreviewView:
    try:
        found = preview(mapper, parse(recent.line), recent.at, recent.batch, recent.index)
    except UnreadableMessageError as error:
        found = MappingPreview(recent.at, (), {}, (PreviewFault("message", error.code, str(error)),))
    faults = [FaultView(**asdict(each)) for each in found.faults]
    if found.at > recent.arrived + FUTURE_BOUND_MS * 1_000:
        example = moment(found.at).isoformat()
        faults.append(FaultView(part="timestamp", code="future_timestamp", example=example))
        found = MappingPreview(found.at, (), {}, ())
    return MessagePreviewView(
        message_id=recent.message_id,
        timestamp=moment(found.at),
        identities=list(found.identities),
        attributes=dict(found.attributes),
        faults=faults,
    )


def _summary(shown: Sequence[MessagePreviewView], records: int) -> PreviewSummary:
    counts = Counter((fault.part, fault.code) for each in shown for fault in each.faults)
    examples = {(fault.part, fault.code): fault.example for each in reversed(shown) for fault in each.faults}
    return PreviewSummary(
        messages=len(shown),
        mapped=sum(bool(each.identities) for each in shown),
        faults=[
            FaultCount(part=part, code=code, example=examples[part, code], messages=count)
            for (part, code), count in counts.most_common()
        ],
        attributes=dict(sorted(Counter(name for each in shown for name in each.attributes).items())),
        records=records,
    )
