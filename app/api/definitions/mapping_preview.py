"""Previews of mappings over HTTP: applied to recent messages of their stream, without effect."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from aiohttp import web
from aiokafka.errors import KafkaError
from pydantic import BaseModel, Field

from app.api.definitions.commands import invalid_body_problem
from app.api.definitions.definitions import RulesBody, definition_id_of
from app.api.http.problems import ApiProblem, kafka_unreachable, not_found
from app.api.routing.responses import View, respond
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.api.routing.timestamp_values import timestamp_attributes, timestamp_value
from app.lanes.recent_messages import RecentMessages, recent_messages
from app.sentences.sentence import sentence_of
from projections.definitions.body_checks import InvalidBodyError, check_draft
from projections.definitions.definition import Definition
from projections.definitions.rebuild_spec import VersionedBody
from projections.mapping.evaluation import MappingSource, preview_messages
from projections.mapping.preview import MappingPreview, PreviewFault
from projections.mapping.raw_messages import RawMessage, UnreadableMessageError
from schemas.definitions import IDENTITY, stream_of
from schemas.instants import moment
from schemas.json_values import canonical_json

MAX_MESSAGES: Final = 50
MAX_SHOWN_BYTES: Final = 4 * 1024 * 1024  # of attributes


class FaultView(View):
    """A value that the mapping could not use, with an example."""

    part: Annotated[str, Field(description="of the mapping, such as `attribute age`; or `message`")]
    code: str
    example: str


class MessagePreviewView(View):
    """One mapped message. Without identities it updates no profile, and has no attributes."""

    message_id: str
    timestamp: datetime
    identities: Annotated[list[str], Field(description="best first")]
    attributes: Annotated[dict[str, Any], Field(description="of a profile with this message only")]
    faults: list[FaultView]


class FaultCount(FaultView):
    """The number of messages with a fault, with the newest example."""

    messages: int


class PreviewSummary(BaseModel):
    """Totals over all messages."""

    messages: int
    mapped: Annotated[int, Field(description="messages with an identity")]
    faults: Annotated[list[FaultCount], Field(description="most frequent first")]
    attributes: Annotated[dict[str, int], Field(description="number of messages with a value, by attribute")]
    records: Annotated[int, Field(description="records that were read to find the messages, of any stream")]


class PreviewView(BaseModel):
    """Recent messages of a stream as a mapping maps them, newest first."""

    stream: str
    summary: PreviewSummary
    messages: list[MessagePreviewView]


ROUTES: Final = Routes("definitions", "/v2/definition")


@ROUTES(
    "POST",
    "/{definition_id}/preview",
    "Preview a mapping, or the draft, on recent messages of its stream",
    ResponseSpec("the mapped messages", PreviewView),
    problems=(404, 409, 429),
)
async def preview_mapping(call: RequestContext[Query, RulesBody | None]) -> web.Response:
    """Return recent messages as a mapping maps them; nothing is stored."""
    definition_id = definition_id_of(call)
    stream = stream_of(definition_id)
    if stream is None:
        raise not_found("mapping", definition_id)
    body = canonical_json(call.body.root) if call.body is not None else _stored(call, definition_id).body
    identity = _newest(call.api.catalog.get(IDENTITY))
    source = MappingSource(stream, body, identity.body if identity else "")
    async with call.evaluator() as evaluator:
        try:
            await evaluator.call(check_draft, identity, definition_id, body)
        except InvalidBodyError as error:
            raise invalid_body_problem(error) from error
        recent = await _recent_messages(call, stream)
        messages = recent.newest()
        previews = await evaluator.call(preview_messages, source, messages, MAX_SHOWN_BYTES)
    timestamps = timestamp_attributes([body])
    shown = [_message_view(message, mapped, timestamps) for message, mapped in zip(messages, previews, strict=False)]
    return respond(call, PreviewView(stream=stream, summary=_summary(shown, recent.records), messages=shown))


async def _recent_messages(call: RequestContext[Any, Any], stream: str) -> RecentMessages:
    last_offsets = await call.api.store.streams.last_offsets(stream)
    try:
        return await recent_messages(call.api.kafka, call.api.settings.partitions, stream, MAX_MESSAGES, last_offsets)
    except (KafkaError, OSError) as error:
        raise kafka_unreachable("the messages") from error


def _stored(call: RequestContext[Any, Any], definition_id: str) -> VersionedBody:
    definition = call.api.catalog.get(definition_id)
    if definition is None:
        raise not_found("definition", definition_id)
    newest = _newest(definition)
    if newest is None:
        raise ApiProblem(
            409, "no_draft", "there is no draft or active version; save a draft first", more={"allowed": ["draft"]}
        )
    return newest


def _newest(definition: Definition | None) -> VersionedBody | None:
    """Return the draft of a definition, else its active version."""
    return (definition.draft or definition.applied) if definition else None


def _message_view(
    message: RawMessage, mapped: MappingPreview | UnreadableMessageError, timestamps: frozenset[str]
) -> MessagePreviewView:
    if isinstance(mapped, UnreadableMessageError):
        mapped = MappingPreview(message.at, (), {}, (PreviewFault("message", mapped.code, sentence_of(mapped)),))
    attributes = {
        name: timestamp_value(value) if name in timestamps else value for name, value in mapped.attributes.items()
    }
    at = moment(mapped.at)
    return MessagePreviewView.of(mapped, message_id=message.message_id, timestamp=at, attributes=attributes)


def _summary(shown: Sequence[MessagePreviewView], records: int) -> PreviewSummary:
    counts = Counter((fault.part, fault.code) for message in shown for fault in message.faults)
    examples = {(fault.part, fault.code): fault.example for message in reversed(shown) for fault in message.faults}
    return PreviewSummary(
        messages=len(shown),
        mapped=sum(bool(message.identities) for message in shown),
        faults=[
            FaultCount(part=part, code=code, example=examples[part, code], messages=count)
            for (part, code), count in counts.most_common()
        ],
        attributes=dict(sorted(Counter(name for message in shown for name in message.attributes).items())),
        records=records,
    )
