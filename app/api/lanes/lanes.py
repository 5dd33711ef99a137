"""Lanes over HTTP: how far each is behind, how fast it is, and pausing history. What happens now is never paused."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, Field

from app.api.context import Services
from app.api.http.problems import ApiProblem, not_found
from app.api.routing.responses import respond
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.api.services.lag_monitor import UnknownLagError
from app.lanes.pause import PAUSABLE
from app.store.models import LaneSwitch
from projections.views.lag import Lag, LagSample, lag_of, messages_per_second
from schemas.topics import LANES, UPDATES

NEVER_PAUSED: Final = (
    "real time can't be paused: what happens now would be missing in every answer. "
    "To stop what comes in, pause the jobs that send it"
)


class StepView(BaseModel):
    """How far the readers of one topic are behind. A record holds one message, or up to some thousands of them."""

    topic: str
    behind: Annotated[int, Field(description="records that wait, by offsets")]
    records_per_second: Annotated[float | None, Field(description="over the last minute")]
    eta_seconds: Annotated[float | None, Field(description="until nothing waits; null: unknown, or it doesn't move")]
    waiting_since: Annotated[datetime | None, Field(description="when the oldest that waits came in")]


class PartitionView(BaseModel):
    """How far the reader of one partition is behind. Position and end are offsets."""

    partition: int
    position: int
    end: int
    behind: int
    waiting_since: datetime | None


class StepDetail(StepView):
    """The same, with its partitions."""

    partitions: list[PartitionView]


class LaneView(BaseModel):
    """One lane: raw messages are mapped first, and what they say is taken up by the profiles then."""

    name: str
    paused: bool
    switched_by: Annotated[str | None, Field(description="who paused it last, or let it go on")]
    switched_at: datetime | None
    messages_per_second: Annotated[float | None, Field(description="that are mapped, over the last minute")]
    mapping: StepView
    profiles: StepView


class LaneDetail(LaneView):
    """One lane, with its partitions."""

    mapping: StepDetail
    profiles: StepDetail


ROUTES: Final = Routes("lanes", "/v2/lane")
LANE: Final = ResponseSpec("how it is", LaneView)


@ROUTES("GET", "", "How far each lane is behind, and how fast it is", ResponseSpec("how it is", list[LaneView]))
async def list_lanes(call: RequestContext[Query, None]) -> web.Response:
    """Return how every lane is."""
    samples, switches = await _samples(call.api), await call.api.store.lanes.switches()
    return respond(call, [LaneView(**_lane(name, samples, switches)) for name in LANES])


@ROUTES(
    "GET", "/{lane}", "How far a lane is behind, by partition", ResponseSpec("how it is", LaneDetail), problems=(404,)
)
async def get_lane(call: RequestContext[Query, None]) -> web.Response:
    """Return how a lane is, by partition."""
    name = _known(call)
    samples, switches = await _samples(call.api), await call.api.store.lanes.switches()
    return respond(call, LaneDetail(**_lane(name, samples, switches)))


@ROUTES("POST", "/{lane}/pause", "Pause the backfill lane", LANE, problems=(404, 409))
async def pause_lane(call: RequestContext[Query, None]) -> web.Response:
    """Pause a lane; it stops within two seconds, wherever it runs, and stays paused until it is resumed."""
    return await _switched(call, paused=True)


@ROUTES("POST", "/{lane}/resume", "Let the backfill lane go on", LANE, problems=(404, 409))
async def resume_lane(call: RequestContext[Query, None]) -> web.Response:
    """Let a lane go on."""
    return await _switched(call, paused=False)


async def _switched(call: RequestContext[Query, None], *, paused: bool) -> web.Response:
    name = _known(call)
    if name not in PAUSABLE:
        raise ApiProblem(409, "never_paused", NEVER_PAUSED, more={"allowed": []})
    store = call.api.store.lanes
    await store.switch(name, LaneSwitch(paused, f"user:{call.caller.name}", call.api.clock()))
    samples, switches = await _samples(call.api), await store.switches()
    return respond(call, LaneView(**_lane(name, samples, switches)), message="paused" if paused else "resumed")


def _known(call: RequestContext[Any, Any]) -> str:
    name = call.path("lane")
    if name not in LANES:
        raise not_found("lane", name, f"; there are {' and '.join(LANES)}")
    return name


async def _samples(api: Services) -> Sequence[LagSample]:
    try:
        return await api.lanes.look()
    except UnknownLagError as error:
        raise ApiProblem(503, "unknown_lag", str(error), headers={"Retry-After": "2"}) from error


def _lane(name: str, samples: Sequence[LagSample], switches: Mapping[str, LaneSwitch]) -> dict[str, Any]:
    switch = switches.get(name)
    paused = switch is not None and switch.paused
    mapping, profiles = LANES[name].name, UPDATES[name].name
    step = _step(mapping, lag_of(samples, mapping))
    return {
        "name": name,
        "paused": paused,
        "switched_by": switch and switch.by,
        "switched_at": switch and switch.at,
        "messages_per_second": messages_per_second(samples, name),
        "mapping": step | {"eta_seconds": None} if paused and step["behind"] else step,
        "profiles": _step(profiles, lag_of(samples, profiles)),
    }


def _step(topic: str, lag: Lag) -> dict[str, Any]:
    return {"topic": topic, **asdict(lag)}


def set_lane_metrics(api: Services, samples: Sequence[LagSample], switches: Mapping[str, LaneSwitch]) -> None:
    """Set what Prometheus reads of the lanes."""
    metrics, now = api.metrics, api.clock()
    for name in LANES:
        lane = _lane(name, samples, switches)
        metrics.lane_paused.labels(name).set(lane["paused"])
        for step in ("mapping", "profiles"):
            since = lane[step]["waiting_since"]
            metrics.lane_behind.labels(name, step).set(lane[step]["behind"])
            metrics.lane_waiting.labels(name, step).set(max(0.0, (now - since).total_seconds()) if since else 0)
