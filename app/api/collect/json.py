"""`POST /collect/json/{stream}`: one or more messages; the response is sent once all replicas have them."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
from aiohttp import web

from app.api.collect.requests import (
    FORMATS,
    CollectedView,
    CollectQuery,
    collected_view,
    dead_letters_path,
    respond_replayed,
    stream_in_path,
    upload_id_of,
)
from app.api.http.problems import ApiProblem, field_error_of, key_reused, problem_of
from app.api.http.request_body import whole_body, wrong_content_type
from app.api.routing.responses import respond
from app.api.routing.routes import CONTENT_ENCODING, IDEMPOTENCY_KEY, RequestContext, ResponseSpec, Routes
from app.api.services.idempotent_writer import InProgressError, ReusedKeyError
from app.api.services.ingest_producer import NotConfirmedError, NotSentError
from app.kafka.producer_record import ProducerRecord
from app.records.message_batches import Origin, message_records, reject_records
from app.store.idempotency import IdempotencyRecord
from connectors.contract import Batch, Reject
from connectors.kit.threads import in_thread
from connectors.providers.collect import PROVIDER
from connectors.text.formats.append_fields import append_fields
from connectors.text.formats.json_body import MAX_MESSAGES, MalformedBody, parse_body
from connectors.text.formats.records import MAX_REJECTS, Parsed
from connectors.text.timestamps import TimestampReader
from schemas.topics import LANES

MAX_BODY_BYTES: Final = 10 * 1024 * 1024
MAX_BRACKETS: Final = 1_000_000  # each is an object in memory
LARGE_BYTES: Final = 256 * 1024  # parsed in a thread, so that other requests continue
USE_BULK: Final = "; /collect/bulk accepts files of any size"
SOURCE: Final = "/collect/json"
UTC_ZONE: Final = ZoneInfo("UTC")
RETRY_SOON: Final = {"Retry-After": "1"}


@dataclass(frozen=True)
class CollectRequest:
    """The messages of one request, and their records."""

    upload_id: str
    at: datetime
    batch: Batch
    partition: int

    @cached_property
    def messages(self) -> tuple[ProducerRecord, ...]:
        """The records of the messages."""
        return tuple(message_records(self._origin, self.batch, self.partition, self.at))

    @cached_property
    def letters(self) -> tuple[ProducerRecord, ...]:
        """The records of the dead letters."""
        return tuple(reject_records(self._origin, self.batch, self.at))

    @property
    def _origin(self) -> Origin:
        return Origin(self.upload_id, run=0, part=1, provider=PROVIDER)

    def view(self) -> CollectedView:
        """Return the counts of its records."""
        rejected = len(self.batch.rejects) + self.batch.rejects_dropped
        view = collected_view(self.upload_id, self.batch.count, rejected, 0, self.batch.rejects[:10])
        letters = dead_letters_path(self.upload_id, self.at) if self.batch.rejects else None
        return view.model_copy(update={"dead_letters": letters})


JSON: Final = frozenset({"application/json", "text/json"})
OBJECT: Final = {"type": "object"}
ROUTES: Final = Routes("collect", "/collect/json")


@ROUTES(
    "POST",
    "/{stream}",
    "Send a message or an array of messages, up to 10 MB; responds once they are replicated",
    ResponseSpec("the counts of the messages", CollectedView),
    content={"application/json": {"oneOf": [OBJECT, {"type": "array", "items": OBJECT}]}},
    headers=(IDEMPOTENCY_KEY, CONTENT_ENCODING),
    problems=(409,),
    quiet=True,
)
async def collect_json(call: RequestContext[CollectQuery, None]) -> web.Response:
    """Ingest a JSON object, or an array of objects."""
    stream = stream_in_path(call)
    compressed = "Content-Encoding" in call.request.headers
    size = call.request.content_length
    with call.api.admission.body(MAX_BODY_BYTES if compressed or size is None else min(size, MAX_BODY_BYTES)):
        body = await _body(call)
        batch = await _batch(call, stream, body)
        if call.query.dryrun:
            rejected = len(batch.rejects) + batch.rejects_dropped
            return respond(call, collected_view(None, batch.count, rejected, 0, batch.rejects[:10]), message="dry run")
        upload_id, repeatable = upload_id_of(call, "json")
        partition = UUID(upload_id).int % call.api.settings.partitions
        request = CollectRequest(upload_id, call.api.clock(), batch, partition)
        if repeatable:
            return await _write_once(call, request, body)
        await _write(call, (*request.messages, *request.letters))
        return respond(call, request.view(), message="success")


async def _body(call: RequestContext[CollectQuery, None]) -> bytes:
    if call.request.content_type not in JSON:
        raise wrong_content_type(call.request, "application/json")
    body = await whole_body(call.request, MAX_BODY_BYTES, USE_BULK)
    if body.count(b"{") + body.count(b"[") > MAX_BRACKETS:
        raise _too_many()
    return body


async def _batch(call: RequestContext[CollectQuery, None], stream: str, body: bytes) -> Batch:
    """Parse the messages in a body.

    Raises:
        ApiProblem: 400, the body is invalid; or 413.

    """
    parsed, payload = await _parsed(call, body)
    if parsed.stop:
        raise _stopped(parsed.stop)
    if parsed.read > MAX_MESSAGES:
        raise _too_many()
    if len(parsed.rejects) > MAX_REJECTS:
        detail = f"{len(parsed.rejects):,} of {parsed.read:,} elements are invalid; nothing was stored"
        raise ApiProblem(400, "too_many_rejects", f"{detail}; at most {MAX_REJECTS:,} dead letters per request")
    return Batch(
        stream=stream,
        lane=call.query.lane or "realtime",
        source=SOURCE,
        payload=payload,
        count=parsed.count,
        timestamps=parsed.timestamps,
        first_row=1,
        read=parsed.read,
        cursor={},
        rejects=parsed.rejects,
        rejects_dropped=parsed.dropped,
    )


async def _parsed(call: RequestContext[CollectQuery, None], body: bytes) -> tuple[Parsed, bytes]:
    """Return the parsed body, and the lines with the appended fields."""
    query, now = call.query, call.api.clock().timestamp()
    on_error, appended = query.error_policy("abort"), query.appended()
    stamps = None
    if query.timestamp_field:
        stamps = TimestampReader(query.timestamp_field, FORMATS, UTC_ZONE, lambda: now)

    def parse() -> tuple[Parsed, bytes]:
        parsed = parse_body(body, on_error, stamps, int(now * 1_000_000))
        return parsed, append_fields(parsed.payload, appended) if parsed.count <= MAX_MESSAGES else b""

    try:
        return parse() if len(body) < LARGE_BYTES else await in_thread(parse)
    except MalformedBody as error:
        raise problem_of(400, error, code="malformed_json") from error


def _stopped(reject: Reject) -> ApiProblem:
    number = reject.position.removeprefix("element ")
    pointer = f"/{int(number) - 1}"
    error = field_error_of(pointer, reject.code, reject.params)
    action = "nothing was imported; correct it, or set `on_error` to `quarantine` or `drop`"
    return ApiProblem(
        400, reject.code, f"{reject.position}: {error.message}; {action}", errors=[error], params=reject.params
    )


def _too_many() -> ApiProblem:
    return ApiProblem(413, "too_many_messages", f"a request is limited to {MAX_MESSAGES:,} messages{USE_BULK}")


async def _write(call: RequestContext[Any, Any], records: tuple[ProducerRecord, ...]) -> None:
    try:
        await call.api.ingest.write(records)
    except (NotSentError, NotConfirmedError) as error:
        raise _unwritten(error) from error


async def _write_once(call: RequestContext[CollectQuery, None], request: CollectRequest, body: bytes) -> web.Response:
    """Write the records unless they are stored; repeated requests get the same response."""
    view = request.view()
    try:
        offset = await call.api.ingest.offset_before(LANES[request.batch.lane].name, request.partition)
        claim = IdempotencyRecord(
            upload_id=request.upload_id,
            digest=_digest(call, body),
            claimed_at=request.at,
            next_offset=offset,
            answer=orjson.dumps(view.model_dump()),
        )
        record = await call.api.idempotency.write(claim, request.messages, request.letters)
    except ReusedKeyError as error:
        raise key_reused("for a different request") from error
    except InProgressError as error:
        detail = "the same request is being processed; repeat it for the response"
        raise ApiProblem(409, "in_progress", detail, headers=RETRY_SOON) from error
    except (NotSentError, NotConfirmedError) as error:
        raise _unwritten(error) from error
    if record is claim:
        return respond(call, view, message="success")
    original = CollectedView.model_validate_json(record.answer)
    replayed = original.model_copy(update={"duplicate_count": original.message_count})
    return respond_replayed(call, replayed)


def _unwritten(error: NotSentError | NotConfirmedError) -> ApiProblem:
    if isinstance(error, NotSentError):
        return ApiProblem(503, "kafka_unreachable", str(error), headers=RETRY_SOON)
    detail = f"{error} Repeat the request with the same Idempotency-Key, if it had one."
    return ApiProblem(503, "not_confirmed", detail, headers=RETRY_SOON)


def _digest(call: RequestContext[CollectQuery, None], body: bytes) -> bytes:
    parameters = orjson.dumps([call.path("stream"), sorted(call.request.query.items())])
    return blake2b(body, digest_size=32, key=blake2b(parameters, digest_size=32).digest()).digest()
