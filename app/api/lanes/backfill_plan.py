"""Guidance before history is sent: how much it is, whether it is needed, what it would change, how long it takes."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any, Final

from aiohttp import web
from pydantic import Field

from app.api.collect.config import BY_TYPE, BulkQuery, config_of, content_headers
from app.api.collect.requests import collected_view
from app.api.definitions.definitions import check_loaded
from app.api.definitions.mapping_preview import FaultCount
from app.api.definitions.rebuild_requests import active_rules
from app.api.http.param_types import TimestampText
from app.api.http.problems import FieldError, invalid
from app.api.http.request_body import RequestSource
from app.api.lanes.backfill_sample import BackfillSample, MappingTrial, foreseen, read_sample, tried
from app.api.lanes.backfill_views import (
    BackfillLaneView,
    FilledView,
    ImpactView,
    PlanView,
    SampleView,
    WarningView,
    in_words,
)
from app.api.lanes.duplicate_uploads import sent_before
from app.api.routing.responses import respond
from app.api.routing.routes import CONTENT_ENCODING, STREAM_PATTERN, Query, RequestContext, ResponseSpec, Routes
from app.api.services.lag_monitor import UnknownLagError
from app.profiles.lookup_client import PartitionUnavailable
from projections.definitions.compiled_rules import CompiledRules
from projections.definitions.rules import Rules
from projections.jobs.state import Job
from projections.profiles.impact import Impact
from projections.views.lag import lag_of, rate_at_work
from schemas.instants import micros, moment
from schemas.topics import LANES

LANE: Final = "backfill"
Name = Annotated[str, Field(min_length=1, max_length=200)]


class PlanQuery(Query):
    """Which stream, and what is known of what will be sent."""

    stream: Annotated[str, Field(pattern=STREAM_PATTERN)]
    messages: Annotated[int | None, Field(ge=1, le=10**12, description="how many there will be in all")] = None
    since: Annotated[TimestampText | None, Field(description="the time of the oldest")] = None
    until: Annotated[TimestampText | None, Field(description="the time of the newest")] = None
    timestamp_field: Annotated[Name | None, Field(description="as it will be said to /collect/bulk")] = None
    filename: Annotated[str, Field(max_length=255, description="as it will be said to /collect/bulk")] = ""
    headers: Annotated[Name | None, Field(description="as it will be said to /collect/bulk")] = None
    delimiter: Annotated[Name | None, Field(max_length=3, description="as it will be said to /collect/bulk")] = None


ROUTES: Final = Routes("backfill", "/v2/backfill")


@ROUTES(
    "POST",
    "/preview",
    "What to know before history is sent, by a sample of it; nothing is kept",
    ResponseSpec("the plan", PlanView),
    content={kind: {"type": "string"} for kind in BY_TYPE},
    body_required=False,
    headers=(CONTENT_ENCODING,),
    problems=(429,),
)
async def plan_backfill(call: RequestContext[PlanQuery, None]) -> web.Response:
    """Return what is known before history is sent, by a sample of it, or by what a person says of it."""
    check_loaded(call)
    _check_times(call.query)
    sample = await _sample(call)
    rules, now = active_rules(call), micros(call.api.clock())
    book = CompiledRules(rules, 0)
    found = tried(sample or BackfillSample(), book, call.query.stream, now)
    unreachable = False
    profiles: Impact | None = None
    if found.times:
        try:
            profiles = await foreseen(await call.api.profiles_client.reader(), found, book.identity.max_identities)
        except PartitionUnavailable:
            unreachable = True
    total = call.query.messages or (sample.tally.accepted if sample else 0)
    plan = _plan(call, total, sample, found, profiles, await _lane(call, total))
    warnings = [*_warnings(plan, rules)]
    if before := await sent_before(call.api.store, call.query.stream, call.query.filename, rules.scope.left_out):
        warnings.append(_sent(before))
    if unreachable:
        warnings.append(_warning("profiles_unreachable", "the profiles can't be asked now: ask again in a moment"))
    return respond(call, plan.model_copy(update={"in_words": in_words(plan), "warnings": warnings}))


def _check_times(query: PlanQuery) -> None:
    if query.since and query.until and query.since > query.until:
        raise invalid([FieldError("?since", "bad_range", "the oldest can't be newer than the newest")])


async def _sample(call: RequestContext[PlanQuery, None]) -> BackfillSample | None:
    """Return the sample in the body; None when there is none, and a person has said how many messages there are."""
    query, said = call.query, content_headers(call.request)
    source = RequestSource(call.request, query.filename or "sample")
    if not await source.head(1):
        if query.messages is not None:
            return None
        message = "a sample in the body is needed, or how many messages there are"
        raise invalid([FieldError("?messages", "nothing_said", message)])
    asked = BulkQuery(
        timestamp_field=query.timestamp_field,
        filename=query.filename,
        headers=query.headers,
        delimiter=query.delimiter,
    )
    _, config = config_of(query.stream, asked, said)
    with call.api.admission.upload():
        return await read_sample(config, call.api.limits, source)


async def _lane(call: RequestContext[Any, Any], total: int) -> BackfillLaneView | None:
    topic = LANES[LANE].name
    try:
        samples = await call.api.lanes.look()
    except UnknownLagError:
        return None
    switch = (await call.api.store.lanes.switches()).get(LANE)
    rate, lag = rate_at_work(samples, LANE, topic), lag_of(samples, topic)
    return BackfillLaneView(
        paused=switch is not None and switch.paused,
        records_behind=lag.behind,
        messages_per_second=rate,
        seconds=lag.eta_seconds + total / rate if rate and lag.eta_seconds is not None else None,
    )


def _plan(
    call: RequestContext[PlanQuery, None],
    total: int,
    sample: BackfillSample | None,
    found: MappingTrial,
    profiles: Impact | None,
    lane: BackfillLaneView | None,
) -> PlanView:
    query, now = call.query, call.api.clock()
    oldest = query.since or (moment(min(found.times)) if found.times else None)
    newest = query.until or (moment(max(found.times)) if found.times else None)
    return PlanView(
        stream=query.stream,
        messages=total,
        oldest=oldest,
        newest=newest,
        oldest_age_seconds=(now - oldest) / timedelta(seconds=1) if oldest else None,
        newest_age_seconds=(now - newest) / timedelta(seconds=1) if newest else None,
        needed=bool(profiles.added or profiles.changed) if profiles else None,
        sample=_sample_view(sample, found) if sample else None,
        profiles=_profiles_view(profiles) if profiles else None,
        lane=lane,
    )


def _sample_view(sample: BackfillSample, found: MappingTrial) -> SampleView:
    tally = sample.tally
    return SampleView(
        messages=tally.accepted,
        rejected=tally.rejected,
        first_rejects=collected_view(None, 0, 0, 0, tally.first).first_rejects,
        tried=len(sample.lines),
        counting=len(found.times),
        undated=found.undated,
        nobody=found.nobody,
        future=found.future,
        out_of_scope=found.out_of_scope,
        forgotten=found.forgotten,
        faults=[
            FaultCount(part=part, code=code, messages=count, example=example)
            for part, code, count, example in found.faults
        ],
    )


def _profiles_view(found: Impact) -> ImpactView:
    return ImpactView(
        added=found.added,
        changed=found.changed,
        joined=found.joined,
        unchanged=found.unchanged,
        attributes={name: FilledView(**asdict(each)) for name, each in found.attributes.items()},
        older_messages=found.older,
    )


def _warning(code: str, message: str) -> WarningView:
    return WarningView(code=code, message=message)


def _sent(job: Job) -> WarningView:
    what = f"{job.name} was sent into the stream already: {job.job_id}, {job.updated_at:%Y-%m-%d %H:%M:%S} UTC"
    return _warning("sent_before", f"{what}. What is sent twice counts twice, unless under the same Idempotency-Key")


def _warnings(plan: PlanView, rules: Rules) -> Iterator[WarningView]:
    if plan.stream not in rules.mappings:
        yield _warning("no_mapping", f"{plan.stream} has no mapping, so its messages would say nothing of anybody")
    if plan.lane is None:
        yield _warning("unknown_lag", "it isn't known now how far the lanes are: ask again in a moment")
    elif plan.lane.paused:
        yield _warning("lane_paused", "the backfill lane is paused: what is sent waits until it is resumed")
    sample = plan.sample
    if sample is None:
        yield _warning("no_sample", "without a sample nobody can say what would change")
        return
    of = f"of {sample.tried:,} messages that were tried"
    counts: dict[str, tuple[int, str]] = {
        "rejected": (sample.rejected, f"of {sample.messages + sample.rejected:,} records can't be taken at all"),
        "undated": (sample.undated, f"{of} have no time where the mapping looks for it: they would count as of now"),
        "nobody": (sample.nobody, f"{of} name no identity, so they would say nothing of anybody"),
        "future": (sample.future, f"{of} lie in the future by more than a day, and would be rejected"),
        "out_of_scope": (sample.out_of_scope, f"{of} are about a time that a rebuild has left out: they don't count"),
        "forgotten": (sample.forgotten, f"{of} are about people who were forgotten since: they don't count"),
        "faults": (sum(each.messages for each in sample.faults), f"times a value {of} can't be used: see `faults`"),
    }
    for code, (count, said) in counts.items():
        if count:
            yield _warning(code, f"{count:,} {said}")
