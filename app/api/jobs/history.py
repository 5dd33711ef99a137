"""What lies behind a job: its log (or everyone's), its configurations, its events; and counts by time."""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, Field

from app.api.http.param_types import Duration, Limit, PageCursor, Text, TimestampText
from app.api.jobs.commands import find_job
from app.api.jobs.views import ConfigurationView, configuration_view, event_view
from app.api.routing.responses import respond, respond_page
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.store.models import LogFilter, LogOrder, MetricFilter
from projections.views.job_log import LogKind, LogLine
from projections.views.metrics import Bucket
from schemas.commands import Counts

HOUR: Final = timedelta(hours=1)


class LogQuery(Query):
    """Which lines; `since` included, `until` not."""

    kind: Annotated[tuple[LogKind, ...], Field(max_length=17)] = ()
    since: TimestampText | None = None
    until: TimestampText | None = None
    search: Text = ""
    order: LogOrder = "newest_first"
    limit: Limit = 50
    cursor: PageCursor | None = None

    def where(self, job_id: str) -> LogFilter:
        """Return the filter as the read store takes it."""
        return LogFilter(
            job_id=job_id, kinds=self.kind, since=self.since, until=self.until, text=self.search, order=self.order
        )


class HistoryQuery(Query):
    """Which events."""

    after_seq: Annotated[int, Field(ge=0, le=2**62)] = 0
    until: TimestampText | None = None
    limit: Limit = 100


class MetricQuery(Query):
    """Which counts: the last 24 hours by default."""

    since: TimestampText | None = None
    until: TimestampText | None = None
    interval: Annotated[Duration | None, Field(description="the width of a bucket: whole minutes; 1h by default")] = (
        None
    )
    job_id: Text = ""
    provider: Text = ""
    stream: Text = ""


class BucketView(BaseModel):
    """Counts from `start` for one interval."""

    start: datetime
    counts: Counts


class MetricView(BaseModel):
    """Counts over a range: the sum, and its buckets."""

    since: datetime
    until: datetime
    interval_seconds: int
    total: Counts
    buckets: list[BucketView]


ROUTES: Final = Routes("history", "/v2/job", problems=(404,))
METRICS: Final = Routes("metrics", "/v2/metric")
LOG: Final = ResponseSpec(data=list[LogLine], headers=("Link",))


@ROUTES("GET", "/{job_id}/logs", "The log of a job", LOG)
async def job_log(call: RequestContext[LogQuery, None]) -> web.Response:
    """Return a page of a job's log."""
    job = await find_job(call, call.path("job_id"))
    return await _log_page(call, job.job_id)


@ROUTES("GET", "/logs", "The log of all jobs", LOG)
async def all_logs(call: RequestContext[LogQuery, None]) -> web.Response:
    """Return a page of the log of all jobs."""
    return await _log_page(call, "")


async def _log_page(call: RequestContext[LogQuery, None], job_id: str) -> web.Response:
    found = await call.api.store.jobs.log(call.query.where(job_id), call.query.limit, call.query.cursor)
    return respond_page(call, found.items, found.next_cursor)


@ROUTES(
    "GET",
    "/{job_id}/configurations",
    "A job's configurations, newest first",
    ResponseSpec(data=list[ConfigurationView]),
)
async def configurations(call: RequestContext[Query, None]) -> web.Response:
    """Return every configuration a job has or had, the newest first."""
    job = await find_job(call, call.path("job_id"))
    found = await call.api.store.history.configurations(job.job_id)
    return respond(call, [configuration_view(job.provider, each) for each in reversed(found)])


@ROUTES(
    "GET",
    "/{job_id}/history",
    "A job's events as they are on jobs.events",
    ResponseSpec(data=list[dict[str, Any]], headers=("Link",)),
)
async def job_events(call: RequestContext[HistoryQuery, None]) -> web.Response:
    """Return a job's events in order, from behind `after_seq`."""
    job, query = await find_job(call, call.path("job_id")), call.query
    found = await call.api.store.history.events(
        job.job_id, after_seq=query.after_seq, until=query.until, limit=query.limit
    )
    headers = {}
    if len(found) == query.limit:
        there = call.request.rel_url.update_query(after_seq=str(found[-1].event.seq))
        headers["Link"] = f'<{there}>; rel="next"'
    return respond(call, [event_view(each.event, job.provider) for each in found], headers=headers)


@METRICS("GET", "", "Counts over a range", ResponseSpec(data=MetricView))
async def metrics(call: RequestContext[MetricQuery, None]) -> web.Response:
    """Return counts over a range."""
    query = call.query
    until = query.until or call.api.clock()
    interval = query.interval or HOUR
    since = query.since or until - timedelta(days=1)
    where = MetricFilter(since=since, until=until, job_id=query.job_id, provider=query.provider, stream=query.stream)
    buckets = await call.api.store.history.metrics(where, interval)
    seconds = int(interval.total_seconds())
    view = MetricView(
        since=since,
        until=until,
        interval_seconds=seconds,
        total=_sum(buckets),
        buckets=[_bucket(each) for each in buckets],
    )
    return respond(call, view)


def _bucket(bucket: Bucket) -> BucketView:
    return BucketView(**{each.name: getattr(bucket, each.name) for each in fields(bucket)})


def _sum(buckets: Sequence[Bucket]) -> Counts:
    return sum((each.counts for each in buckets), start=Counts())
