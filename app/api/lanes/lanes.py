"""Lanes over HTTP: lag and throughput; pausing backfill. The real-time lane is never paused."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final, TypeVar

from aiohttp import web
from pydantic import Field

from app.api.context import Services
from app.api.http.problems import ApiProblem, not_found
from app.api.routing.responses import View, respond
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.api.services.lag_monitor import UnknownLagError
from app.lanes.pause import PAUSABLE_LANES
from app.store.models import LaneSwitch
from projections.views.lag import LagSample, messages_per_second, topic_lag
from schemas.topics import LANES, UPDATES

NEVER_PAUSED: Final = (
    "the real-time lane cannot be paused: every response would lack the newest messages. "
    "To stop incoming messages, pause the jobs that send them"
)


class StepView(View):
    """The lag of the consumers of one topic. A record holds one message, or a batch of up to some thousands."""

    topic: str
    lag: Annotated[int, Field(description="lag in records, by offsets")]
    records_per_second: Annotated[float | None, Field(description="over the last minute")]
    eta_seconds: Annotated[float | None, Field(description="until caught up; null: unknown, or no progress")]
    oldest_pending_at: Annotated[datetime | None, Field(description="arrival of the oldest unprocessed record")]


class PartitionView(View):
    """The lag of the consumer of one partition. Position and end are offsets."""

    partition: int
    position: int
    end: int
    lag: int
    oldest_pending_at: datetime | None


class StepDetail(StepView):
    """The lag of the consumers of one topic, with its partitions."""

    partitions: list[PartitionView]


class LaneView(View):
    """One lane: raw messages are mapped, then applied to profiles."""

    name: str
    paused: bool
    switched_by: Annotated[str | None, Field(description="user who paused or resumed it last")]
    switched_at: datetime | None
    messages_per_second: Annotated[float | None, Field(description="messages mapped, over the last minute")]
    mapping: StepView
    profiles: StepView


class LaneDetail(LaneView):
    """One lane, with its partitions."""

    mapping: StepDetail
    profiles: StepDetail


L = TypeVar("L", bound=LaneView)

ROUTES: Final = Routes("lanes", "/v2/lane")
LANE: Final = ResponseSpec("the lane", LaneView)


@ROUTES(
    "GET",
    "",
    "List the lag and throughput of each lane",
    ResponseSpec("every lane", list[LaneView], ids={"lane": "/data/0/name"}),
)
async def list_lanes(call: RequestContext[Query, None]) -> web.Response:
    """Return every lane."""
    samples, switches = await _samples(call.api), await call.api.store.lanes.switches()
    return respond(call, [_lane(LaneView, name, samples, switches) for name in LANES])


@ROUTES("GET", "/{lane}", "Show the lag of a lane, by partition", ResponseSpec("the lane", LaneDetail), problems=(404,))
async def get_lane(call: RequestContext[Query, None]) -> web.Response:
    """Return a lane, by partition."""
    name = _lane_name(call)
    samples, switches = await _samples(call.api), await call.api.store.lanes.switches()
    return respond(call, _lane(LaneDetail, name, samples, switches))


@ROUTES("POST", "/{lane}/pause", "Pause the backfill lane", LANE, problems=(404, 409))
async def pause_lane(call: RequestContext[Query, None]) -> web.Response:
    """Pause a lane in every process within two seconds, until it is resumed."""
    return await _switch(call, paused=True)


@ROUTES("POST", "/{lane}/resume", "Resume the backfill lane", LANE, problems=(404, 409))
async def resume_lane(call: RequestContext[Query, None]) -> web.Response:
    """Resume a lane."""
    return await _switch(call, paused=False)


async def _switch(call: RequestContext[Query, None], *, paused: bool) -> web.Response:
    name = _lane_name(call)
    if name not in PAUSABLE_LANES:
        raise ApiProblem(409, "never_paused", NEVER_PAUSED, more={"allowed": []})
    store = call.api.store.lanes
    await store.switch(name, LaneSwitch(paused, f"user:{call.caller.name}", call.api.clock()))
    lane = _lane(LaneView, name, await _samples(call.api), await store.switches())
    return respond(call, lane, message="paused" if paused else "resumed")


def _lane_name(call: RequestContext[Any, Any]) -> str:
    name = call.path("lane")
    if name not in LANES:
        raise not_found("lane", name, f"; lanes: {', '.join(LANES)}")
    return name


async def _samples(api: Services) -> Sequence[LagSample]:
    try:
        return await api.lanes.samples()
    except UnknownLagError as error:
        raise ApiProblem(503, "unknown_lag", str(error), headers={"Retry-After": "2"}) from error


def _lane(view: type[L], name: str, samples: Sequence[LagSample], switches: Mapping[str, LaneSwitch]) -> L:
    switch = switches.get(name)
    paused = switch is not None and switch.paused
    mapping, profiles = _step(samples, LANES[name].name), _step(samples, UPDATES[name].name)
    return view.model_validate(
        {
            "name": name,
            "paused": paused,
            "switched_by": switch and switch.by,
            "switched_at": switch and switch.at,
            "messages_per_second": messages_per_second(samples, name),
            "mapping": mapping | {"eta_seconds": None} if paused and mapping["lag"] else mapping,
            "profiles": profiles,
        }
    )


def _step(samples: Sequence[LagSample], topic: str) -> dict[str, Any]:
    return {"topic": topic, **asdict(topic_lag(samples, topic))}


def set_lane_metrics(api: Services, samples: Sequence[LagSample], switches: Mapping[str, LaneSwitch]) -> None:
    """Set the lane metrics for Prometheus."""
    metrics, now = api.metrics, api.clock()
    metrics.dead_letters.set(samples[-1].dead_letters)
    for name in LANES:
        lane = _lane(LaneView, name, samples, switches)
        metrics.lane_paused.labels(name).set(lane.paused)
        for title, step in (("mapping", lane.mapping), ("profiles", lane.profiles)):
            lag_seconds = max(0.0, (now - step.oldest_pending_at).total_seconds()) if step.oldest_pending_at else 0
            metrics.lane_lag_records.labels(name, title).set(step.lag)
            metrics.lane_lag_seconds.labels(name, title).set(lag_seconds)
