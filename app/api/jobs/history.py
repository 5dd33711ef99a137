"""The history of jobs over HTTP: log, configurations and events; and record counts over time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import BaseModel, Field

from app.api.http.param_types import Duration, Limit, PageCursor, Text, TimestampText
from app.api.jobs.commands import find_job
from app.api.jobs.views import ConfigurationView, configuration_view, event_view
from app.api.routing.responses import View, respond, respond_page
from app.api.routing.routes import Query, RequestContext, ResponseSpec, Routes
from app.sentences.job_log import LogKind, LogLine
from app.store.models import LogFilter, LogOrder, MetricFilter
from projections.views.metrics import Bucket
from schemas.commands import Counts

HOUR: Final = timedelta(hours=1)


class LogQuery(Query):
    """Filter of log lines."""

    kind: Annotated[tuple[LogKind, ...], Field(max_length=17, description="only lines of these kinds")] = ()
    since: Annotated[TimestampText | None, Field(description="inclusive")] = None
    until: Annotated[TimestampText | None, Field(description="exclusive")] = None
    search: Annotated[Text, Field(description="text in the message")] = ""
    order: Annotated[LogOrder, Field(description="order of the lines")] = "newest_first"
    limit: Limit = 50
    cursor: PageCursor | None = None

    def where(self, job_id: str) -> LogFilter:
        """Return the filter for the read store."""
        return LogFilter(
            job_id=job_id, kinds=self.kind, since=self.since, until=self.until, text=self.search, order=self.order
        )


class HistoryQuery(Query):
    """Range of events."""

    after_seq: Annotated[int, Field(ge=0, le=2**62, description="only events after this one")] = 0
    until: Annotated[TimestampText | None, Field(description="inclusive")] = None
    limit: Limit = 100


class MetricQuery(Query):
    """Range and filter of counts; default: the last 24 hours."""

    since: Annotated[TimestampText | None, Field(description="inclusive; default: a day before `until`")] = None
    until: Annotated[TimestampText | None, Field(description="exclusive; default: now")] = None
    interval: Annotated[Duration | None, Field(description="width of a bucket in whole minutes; default 1h")] = None
    job_id: Annotated[Text, Field(description="only counts of this job")] = ""
    provider: Annotated[Text, Field(description="only counts of jobs with this provider")] = ""
    stream: Annotated[Text, Field(description="only counts of this stream")] = ""


class BucketView(View):
    """Counts of the interval that begins at `start`."""

    start: datetime
    counts: Counts


class MetricView(BaseModel):
    """Counts over a range: the total, and by interval."""

    since: datetime
    until: datetime
    interval_seconds: int
    total: Counts
    buckets: list[BucketView]


ROUTES: Final = Routes("history", "/v2/job", problems=(404,))
METRICS: Final = Routes("metrics", "/v2/metric")
LOG: Final = ResponseSpec(data=list[LogLine], headers=("Link",))


@ROUTES("GET", "/{job_id}/logs", "List the log of a job", LOG)
async def job_log(call: RequestContext[LogQuery, None]) -> web.Response:
    """Return a page of a job's log."""
    job = await find_job(call, call.path("job_id"))
    return await _log_page(call, job.job_id)


@ROUTES("GET", "/logs", "List the log of all jobs", LOG)
async def all_logs(call: RequestContext[LogQuery, None]) -> web.Response:
    """Return a page of the log of all jobs."""
    return await _log_page(call, "")


async def _log_page(call: RequestContext[LogQuery, None], job_id: str) -> web.Response:
    lines = await call.api.store.jobs.log(call.query.where(job_id), call.query.limit, call.query.cursor)
    return respond_page(call, lines.items, lines.next_cursor)


@ROUTES(
    "GET",
    "/{job_id}/configurations",
    "List the configurations of a job, newest first",
    ResponseSpec(data=list[ConfigurationView]),
)
async def configurations(call: RequestContext[Query, None]) -> web.Response:
    """Return every configuration of a job, newest first."""
    job = await find_job(call, call.path("job_id"))
    versions = await call.api.store.history.configurations(job.job_id)
    return respond(call, [configuration_view(job.provider, version) for version in reversed(versions)])


@ROUTES(
    "GET",
    "/{job_id}/history",
    "List the events of a job, as on jobs.events",
    ResponseSpec(data=list[dict[str, Any]], headers=("Link",)),
)
async def job_events(call: RequestContext[HistoryQuery, None]) -> web.Response:
    """Return the events of a job in order, after `after_seq`."""
    job, query = await find_job(call, call.path("job_id")), call.query
    records = await call.api.store.history.events(
        job.job_id, after_seq=query.after_seq, until=query.until, limit=query.limit
    )
    headers = {}
    if len(records) == query.limit:
        url = call.request.rel_url.update_query(after_seq=str(records[-1].event.seq))
        headers["Link"] = f'<{url}>; rel="next"'
    return respond(call, [event_view(record.event, job.provider) for record in records], headers=headers)


@METRICS("GET", "", "Record counts over a range", ResponseSpec(data=MetricView))
async def job_metrics(call: RequestContext[MetricQuery, None]) -> web.Response:
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
        buckets=[BucketView.of(bucket) for bucket in buckets],
    )
    return respond(call, view)


def _sum(buckets: Sequence[Bucket]) -> Counts:
    return sum((bucket.counts for bucket in buckets), start=Counts())
