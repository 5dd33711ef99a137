"""Events as they happen, as server-sent events: live from the tail, and from Kafka what a client missed.

An event's id says how far every partition was read, so that a client that comes back loses and repeats nothing. What a
stream leaves out (configurations, cursors) is behind `/v2/job/{id}`: an event says that it is time to look again.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Final

import orjson
from aiohttp import web
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from pydantic import Field

from app.api.http.param_types import Text
from app.api.http.problems import ApiProblem, FieldError, invalid
from app.api.jobs.views import event_view
from app.api.routing.routes import LAST_EVENT_ID, Query, RequestContext, ResponseSpec, Routes
from app.api.services.event_tail import EventSubscription, Positions, TailedEvent, events_consumer
from app.kafka.clients import Cluster
from app.records.events import event_in
from schemas.events import JobEvent
from schemas.topics import JOBS_EVENTS

HEARTBEAT_SECONDS: Final = 15.0
RECONNECT_MS: Final = 2_000
WRITE_SECONDS: Final = 20.0

_ID: Final = re.compile(r"\d{1,4}-\d{1,18}(\.\d{1,4}-\d{1,18})*", re.ASCII)


class EventsQuery(Query):
    """Which events."""

    job_id: Annotated[Text, Field(description="only those of one job")] = ""
    last_event_id: Annotated[Text, Field(description="as the Last-Event-ID header, for clients that can't set one")] = (
        ""
    )


ROUTES: Final = Routes("events", "/v2/events")


@ROUTES(
    "GET",
    "",
    "Follow events as they happen (server-sent events)",
    ResponseSpec("a stream without an end", content_type="text/event-stream"),
    headers=(LAST_EVENT_ID,),
    streams=True,
)
async def follow(call: RequestContext[EventsQuery, None]) -> web.StreamResponse:
    """Send events until the client leaves, or reads too slowly and has to come back."""
    last = call.request.headers.get("Last-Event-ID") or call.query.last_event_id
    seen = parse_id(last) if last else None
    if not call.api.tail.alive:
        raise ApiProblem(
            503, "events_unavailable", "Kafka is not reachable right now; try again", headers={"Retry-After": "2"}
        )
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    response.headers["X-Accel-Buffering"] = "no"
    metrics = call.api.metrics
    metrics.listeners.inc()
    try:
        with call.api.tail.listen() as listener:
            await response.prepare(call.request)
            await _write(response, f"retry: {RECONNECT_MS}\n\n".encode())
            await _send_all(call, response, listener, seen)
            if listener.dropped:
                metrics.listeners_dropped.inc()
    except (ConnectionError, TimeoutError):
        metrics.listeners_dropped.inc()
    finally:
        metrics.listeners.dec()
    return response


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
            found = await asyncio.wait_for(listener.queue.get(), HEARTBEAT_SECONDS)
        except TimeoutError:
            await _write(response, f": still here\nid: {id_of(positions)}\n\n".encode())
            continue
        if found is None:
            return
        await _send(call, response, found, positions)


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
    """Yield what lies between two positions, from Kafka."""
    behind = {number: offset for number, offset in since.items() if offset < until.get(number, 0)}
    if not behind:
        return
    consumer = events_consumer(cluster)
    try:
        await consumer.start()
        consumer.pause(*(each for each in consumer.assignment() if each.partition not in behind))
        for number, offset in behind.items():
            consumer.seek(TopicPartition(JOBS_EVENTS.name, number), offset)
        while behind:
            found = await consumer.getmany(timeout_ms=200)
            for records in found.values():
                for record in records:
                    event = event_in(record.value)
                    if event is not None and record.offset < until[record.partition]:
                        yield TailedEvent(record.partition, record.offset, event)
            for number in tuple(behind):
                # The position moves over transaction markers too, which are no records.
                if await consumer.position(TopicPartition(JOBS_EVENTS.name, number)) >= until[number]:
                    del behind[number]
    except KafkaError as error:
        raise ConnectionError("Kafka went away while a client caught up") from error
    finally:
        await consumer.stop()


def rendered(event: JobEvent, positions: Positions) -> bytes:
    """Return an event as the stream carries it."""
    data = orjson.dumps(event_view(event, None), option=orjson.OPT_UTC_Z)
    return f"id: {id_of(positions)}\nevent: {type(event).__name__}\ndata: ".encode() + data + b"\n\n"


def id_of(positions: Positions) -> str:
    """Return the id of a place in the stream."""
    return ".".join(f"{number}-{offset}" for number, offset in sorted(positions.items()))


def parse_id(text: str) -> dict[int, int]:
    """Return the place that an id stands for.

    Raises:
        Problem: 422, it is none.

    """
    if not _ID.fullmatch(text):
        raise invalid([FieldError("Last-Event-ID", "bad_event_id", "an `id` as the stream gave it is needed")])
    return {int(number): int(offset) for number, offset in (each.split("-") for each in text.split("."))}


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(data)
