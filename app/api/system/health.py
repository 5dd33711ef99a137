"""Liveness, readiness and Prometheus metrics. Needs no token."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from app.api.context import Services
from app.api.http.problems import ApiProblem
from app.api.lanes.lanes import set_lane_metrics
from app.api.routing.responses import respond
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.api.services.lag_monitor import UnknownLagError
from app.store.models import JobFilter
from projections.jobs.state import VISIBLE_STATUSES

CHECK_TIMEOUT_SECONDS: Final = 3.0


class Ready(BaseModel):
    """The state of each dependency: `ok`, or the problem."""

    parts: dict[str, str]


ROUTES: Final = Routes("health", role=None)


@ROUTES("GET", "/livez", "Liveness probe", ResponseSpec())
async def livez(call: RequestContext[Query, None]) -> web.Response:
    """Respond: the process is running."""
    return respond(call, None, message="live")


@ROUTES("GET", "/readyz", "Readiness probe", ResponseSpec(data=Ready))
async def readyz(call: RequestContext[Query, None]) -> web.Response:
    """Report whether requests and commands can be processed."""
    parts = await call.api.cluster.parts(call.api.tail.positions)
    parts["events"] = "ok" if call.api.tail.alive else "not up to date with jobs.events"
    parts["definitions"] = "ok" if call.api.catalog.alive else "not up to date with definitions.events"
    parts["access"] = _access(call.api)
    parts["commands"] = "ok" if call.api.gateway.connected else "the producer is not connected yet"
    parts["store"] = await _store(call.api)
    if wrong := [name for name, state in parts.items() if state != "ok"]:
        raise ApiProblem(503, "not_ready", f"not ready: {', '.join(wrong)}", more={"parts": parts})
    return respond(call, Ready(parts=parts), message="ready")


def _access(api: Services) -> str:
    if not api.access.is_current:
        return "not up to date with access.sessions or definitions.events"
    return "ok" if api.access.admin_token.is_settled else "the admin token is not valid yet"


async def _store(api: Services) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            await api.store.jobs.count()
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        return f"unreachable ({type(error).__name__})"
    return "ok"


@ROUTES("GET", "/metrics", "Prometheus metrics", ResponseSpec(content_type="text/plain"))
async def prometheus_metrics(call: RequestContext[Query, None]) -> web.Response:
    """Return the metrics in the Prometheus format."""
    for status in VISIBLE_STATUSES:
        count = await call.api.store.jobs.count(JobFilter(statuses=(status,)))
        call.api.metrics.jobs.labels(status).set(count)
    with suppress(UnknownLagError):  # the last known values remain
        set_lane_metrics(call.api, await call.api.lanes.samples(), await call.api.store.lanes.switches())
    await _set_blocked(call.api)
    call.api.metrics.totals.totals = await call.api.store.history.totals()
    call.api.metrics.totals.rejected = await call.api.store.lanes.rejected()
    body = generate_latest(call.api.metrics.registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _set_blocked(api: Services) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for row in await api.store.streams.blocked():
        counts[row.lane, row.kind] += row.count
    for labels, count in counts.items():
        api.metrics.blocked_identities.labels(*labels).set(count)
