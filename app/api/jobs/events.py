"""Job events as server-sent events: live from the tail; missed ones from Kafka.

The id of an event has the position in every partition, so that a client that reconnects loses and repeats nothing.
Events omit configurations and cursors: read them from `/v2/job/{id}`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Annotated, Final

import orjson
from aiohttp import web
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from pydantic import Field

from app.api.http.param_types import Text
from app.api.http.problems import FieldError, invalid, kafka_unreachable
from app.api.jobs.views import event_view
from app.api.routing.routes import LAST_EVENT_ID, Query, RequestContext, ResponseSpec, Routes
from app.api.services.event_tail import EventSubscription, Positions, TailedEvent, events_consumer
from app.kafka.clients import Cluster
from app.records.events import decode_event
from app.tasks import cancel_all
from schemas.events import JobEvent
from schemas.topics import JOBS_EVENTS

HEARTBEAT_INTERVAL_SECONDS: Final = 15.0
ACCESS_INTERVAL_SECONDS: Final = 0.5  # a revoked token ends its streams within a second
RECONNECT_MS: Final = 2_000
WRITE_TIMEOUT_SECONDS: Final = 20.0

_ID: Final = re.compile(r"\d{1,4}-\d{1,18}(\.\d{1,4}-\d{1,18})*", re.ASCII)


class EventsQuery(Query):
    """Filter and start of the stream."""

    job_id: Annotated[Text, Field(description="only events of this job")] = ""
    last_event_id: Annotated[Text, Field(description="alternative to the Last-Event-ID header")] = ""


ROUTES: Final = Routes("events", "/v2/events")


@ROUTES(
    "GET",
    "",
    "Stream events (server-sent events)",
    ResponseSpec("an endless stream", content_type="text/event-stream"),
    headers=(LAST_EVENT_ID,),
    streams=True,
)
async def stream_events(call: RequestContext[EventsQuery, None]) -> web.StreamResponse:
    """Send events until the client disconnects; a slow client is disconnected."""
    last = call.request.headers.get("Last-Event-ID") or call.query.last_event_id
    seen = parse_id(last) if last else None
    if not call.api.tail.alive:
        raise kafka_unreachable("the events")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    response.headers["X-Accel-Buffering"] = "no"
    metrics = call.api.metrics
    metrics.listeners.inc()
    try:
        with call.api.tail.listen() as listener:
            await response.prepare(call.request)
            await _write(response, f"retry: {RECONNECT_MS}\n\n".encode())
            await _while_valid(call, _send_all(call, response, listener, seen))
            if listener.dropped:
                metrics.listeners_dropped.inc()
    except (ConnectionError, TimeoutError):
        metrics.listeners_dropped.inc()
    finally:
        metrics.listeners.dec()
    return response


async def _while_valid(call: RequestContext[EventsQuery, None], sending: Coroutine[None, None, None]) -> None:
    """Send until the end, or until the token or session of the caller ends, or can't be checked any more."""

    async def watch() -> None:
        while call.api.access.accepts(call.caller):  # noqa: ASYNC110  # nothing signals an expiry
            await asyncio.sleep(ACCESS_INTERVAL_SECONDS)

    tasks = (asyncio.create_task(sending), asyncio.create_task(watch()))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancel_all(*tasks)


async def _send_all(
    call: RequestContext[EventsQuery, None],
    response: web.StreamResponse,
    listener: EventSubscription,
    seen: Positions | None,
) -> None:
    positions = dict(listener.start)
    if seen is not None:
        positions |= {number: offset for number, offset in seen.items() if offset < positions.get(number, 0)}
        async for tailed in missed(call.api.kafka, positions, listener.start):
            await _send(call, response, tailed, positions)
    await _write(response, f"id: {id_of(positions)}\nevent: ready\ndata: {{}}\n\n".encode())
    while True:
        try:
            received = await asyncio.wait_for(listener.queue.get(), HEARTBEAT_INTERVAL_SECONDS)
        except TimeoutError:
            await _write(response, f": heartbeat\nid: {id_of(positions)}\n\n".encode())
            continue
        if received is None:
            return
        await _send(call, response, received, positions)


async def _send(
    call: RequestContext[EventsQuery, None],
    response: web.StreamResponse,
    tailed: TailedEvent,
    positions: dict[int, int],
) -> None:
    if tailed.offset < positions.get(tailed.partition, 0):
        return
    positions[tailed.partition] = tailed.offset + 1
    if call.query.job_id in {"", tailed.event.job_id}:
        await _write(response, rendered(tailed.event, positions))


async def missed(cluster: Cluster, since: Mapping[int, int], until: Positions) -> AsyncIterator[TailedEvent]:
    """Yield the events between two positions, from Kafka."""
    behind = {number: offset for number, offset in since.items() if offset < until.get(number, 0)}
    if not behind:
        return
    consumer = events_consumer(cluster)
    try:
        await consumer.start()
        consumer.pause(*(source for source in consumer.assignment() if source.partition not in behind))
        for number, offset in behind.items():
            consumer.seek(TopicPartition(JOBS_EVENTS.name, number), offset)
        while behind:
            batches = await consumer.getmany(timeout_ms=200)
            for records in batches.values():
                for record in records:
                    event = decode_event(record.value)
                    if event is not None and record.offset < until[record.partition]:
                        yield TailedEvent(record.partition, record.offset, event)
            for number in tuple(behind):
                # The position also passes transaction markers, which are not records.
                if await consumer.position(TopicPartition(JOBS_EVENTS.name, number)) >= until[number]:
                    del behind[number]
    except KafkaError as error:
        raise ConnectionError("Kafka became unreachable while a client caught up") from error
    finally:
        await consumer.stop()


def rendered(event: JobEvent, positions: Positions) -> bytes:
    """Return an event in the format of the stream."""
    data = orjson.dumps(event_view(event, None), option=orjson.OPT_UTC_Z)
    return f"id: {id_of(positions)}\nevent: {type(event).__name__}\ndata: ".encode() + data + b"\n\n"


def id_of(positions: Positions) -> str:
    """Return the event id of a position."""
    return ".".join(f"{number}-{offset}" for number, offset in sorted(positions.items()))


def parse_id(text: str) -> dict[int, int]:
    """Return the position of an event id.

    Raises:
        ApiProblem: 422, it is malformed.

    """
    if not _ID.fullmatch(text):
        raise invalid([FieldError("Last-Event-ID", "bad_event_id", "expected an `id` of the stream")])
    return {int(number): int(offset) for number, offset in (part.split("-") for part in text.split("."))}


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_TIMEOUT_SECONDS):
        await response.write(data)
