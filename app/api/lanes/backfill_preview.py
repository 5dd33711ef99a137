"""`POST /v2/backfill/preview`: estimates the impact of a backfill by mapping a sample of it. Stores nothing."""

from array import array
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import chain
from typing import Annotated, Any, Final, get_args

import orjson
from aiohttp import web
from pydantic import Field

from app.api.collect.config import BulkQuery, FileOptions, config_of, content_headers
from app.api.collect.requests import collected_view
from app.api.collect.upload_counts import UploadCounts
from app.api.definitions.mapping_preview import FaultCount
from app.api.definitions.rebuild_requests import active_rules
from app.api.http.param_types import TimestampText
from app.api.http.problems import ApiProblem, FieldError, invalid, problem_of
from app.api.http.request_body import RequestSource, too_large
from app.api.lanes.backfill_views import (
    BackfillLaneView,
    BackfillPreview,
    ImpactView,
    SampleView,
    duplicate_warning,
    preview_in_words,
    warning,
    warnings,
)
from app.api.routing.responses import respond
from app.api.routing.routes import CONTENT_ENCODING, STREAM_PATTERN, RequestContext, ResponseSpec, Routes
from app.api.services.evaluator_pool import Evaluator
from app.api.services.lag_monitor import UnknownLagError
from app.profiles.lookup_client import GenerationReader, PartitionUnavailable
from app.sentences.sentence import sentence, sentence_of
from app.store.models import JobFilter, Sort
from app.store.read_store import ReadStore
from connectors.contract import Batch, ConnectorError, Limits
from connectors.providers.collect import PROVIDER, Config, read_upload
from connectors.text.config import FORMAT_TYPES
from projections.definitions.compiled_rules import identity_of, is_forgotten, source_of
from projections.definitions.rules import Rules
from projections.identities.value_rules import BLOCKED
from projections.jobs.state import Job, Status
from projections.mapping.converters import format_example
from projections.mapping.evaluation import MappedSample, map_messages
from projections.mapping.mapper import identity_part
from projections.mapping.raw_messages import UnreadableMessageError
from projections.profiles.identity_node import Node
from projections.profiles.impact import Impact, impact_of
from projections.profiles.updates import Group, MappedMessages
from projections.views.lag import rate_at_work, topic_lag
from schemas.instants import micros, moment
from schemas.topics import FUTURE_BOUND_MS, LANES

LANE: Final = "backfill"
MAX_SAMPLE_BYTES: Final = 4 * 1024 * 1024
MAX_TRIED_MESSAGES: Final = 1_000
MAX_LOOKUP_KEYS: Final = 1_000  # in one request to a partition owner
MAX_CHECKED_UPLOADS: Final = 100  # newest first
BATCH: Final = "preview/1"  # the batch id of the sample's messages
SEND_LESS: Final = ": send a part of it, such as the first thousand lines, and the total number as `messages`"
NEWEST_FIRST: Final = Sort("updated", "descending")
OptionText = Annotated[str, Field(min_length=1, max_length=200)]


class PreviewQuery(FileOptions):
    """The stream, and the known properties of the backfill."""

    stream: Annotated[str, Field(pattern=STREAM_PATTERN, description="name of the stream")]
    messages: Annotated[int | None, Field(ge=1, le=10**12, description="total number of messages")] = None
    since: Annotated[TimestampText | None, Field(description="event time of the oldest message")] = None
    until: Annotated[TimestampText | None, Field(description="event time of the newest message")] = None
    timestamp_field: Annotated[OptionText | None, Field(description="as for /collect/bulk")] = None


@dataclass(slots=True)
class BackfillSample:
    """The counts of a sample, and its first messages with the timestamps of the file."""

    counts: UploadCounts = field(default_factory=UploadCounts)
    lines: list[bytes] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)  # microseconds since 1970 UTC; none without a timestamp field

    def add(self, batch: Batch) -> None:
        """Add a batch."""
        room = MAX_TRIED_MESSAGES - len(self.lines)
        self.counts.add(batch)
        self.lines += batch.payload.splitlines()[:room]
        self.timestamps += array("q", batch.timestamps)[:room]

    def dated_lines(self, now: int) -> list[tuple[bytes, int]]:
        """Return the messages with their default event times."""
        return list(zip(self.lines, self.timestamps or [now] * len(self.lines), strict=True))


@dataclass(slots=True)
class MappingTrial:
    """The mapped messages of a sample. `times` are of the applicable ones, in microseconds since 1970 UTC."""

    mapped: MappedMessages = field(default_factory=MappedMessages)
    times: list[int] = field(default_factory=list)
    undated: int = 0
    without_identity: int = 0
    future: int = 0
    out_of_scope: int = 0
    forgotten: int = 0
    faults: list[tuple[str, str, int, str]] = field(default_factory=list)  # part, code, messages, example


ROUTES: Final = Routes("backfill", "/v2/backfill")


@ROUTES(
    "POST",
    "/preview",
    "Preview the impact of a backfill by a sample of it; nothing is stored",
    ResponseSpec("the preview", BackfillPreview),
    content={kind: {"type": "string"} for kind in FORMAT_TYPES},
    body_required=False,
    headers=(CONTENT_ENCODING,),
    problems=(429,),
)
async def preview_backfill(call: RequestContext[PreviewQuery, None]) -> web.Response:
    """Return the estimated impact of a backfill, by a sample or by the query alone."""
    query, rules = call.query, active_rules(call)
    _check_times(query)
    sample = await _sample(call)
    impact, found_warnings = None, []
    async with call.evaluator() as evaluator:
        trial = await _trial(call, evaluator, sample or BackfillSample(), rules)
        if trial.times:
            try:
                reader = await call.api.profiles_client.reader()
                nodes = await _nodes_of(reader, trial)
                impact = await evaluator.call(impact_of, trial.mapped, nodes, identity_of(rules).max_identities)
            except PartitionUnavailable:
                found_warnings = [warning("profiles_unreachable", "profiles are unreachable; try again")]
    total = query.messages or (sample.counts.accepted if sample else 0)
    preview = _preview(call, total, sample, trial, impact, await _lane(call, total))
    if job := await find_duplicate_upload(call.api.store, query.stream, query.filename, rules.scope.excluded):
        found_warnings.insert(0, duplicate_warning(job))
    all_warnings = [*warnings(preview, rules), *found_warnings]
    return respond(call, preview.model_copy(update={"in_words": preview_in_words(preview), "warnings": all_warnings}))


def _check_times(query: PreviewQuery) -> None:
    if query.since and query.until and query.since > query.until:
        raise invalid([FieldError("?since", "bad_range", "expected a time before `until`")])


async def _sample(call: RequestContext[PreviewQuery, None]) -> BackfillSample | None:
    """Return the sample in the body; None when there is no body, and the query has the number of messages."""
    query, headers = call.query, content_headers(call.request)
    source = RequestSource(call.request, query.filename or "sample")
    if not await source.head(1):
        if query.messages is not None:
            return None
        raise invalid([FieldError("?messages", "missing", "expected a sample in the body, or the number of messages")])
    options = query.model_dump(include={"timestamp_field", *FileOptions.model_fields})
    _, config = config_of(query.stream, BulkQuery.model_validate(options), headers)
    with call.api.admission.upload():
        return await read_sample(config, call.api.limits, source)


async def read_sample(config: Config, limits: Limits, source: RequestSource) -> BackfillSample:
    """Read a sample.

    Raises:
        ApiProblem: it is invalid, or too large.

    """
    sample, size = BackfillSample(), 0
    try:
        async for batch in read_upload(config, {}, limits, source):
            sample.add(batch)
            size += batch.bytes_read
            if size > MAX_SAMPLE_BYTES:
                raise too_large(MAX_SAMPLE_BYTES, SEND_LESS)
    except ConnectorError as error:
        raise problem_of(400, error, provider=PROVIDER) from error
    if not sample.lines:
        rejects = sample.counts.first[:1]
        why = "".join(f"; {reject.position}: {sentence(reject.code, reject.params, PROVIDER)}" for reject in rejects)
        raise ApiProblem(400, "no_messages", f"the sample has no valid message{why}")
    return sample


async def _trial(
    call: RequestContext[PreviewQuery, None], evaluator: Evaluator, sample: BackfillSample, rules: Rules
) -> MappingTrial:
    """Map a sample as if it arrived now; the trial of a stream without a mapping is empty."""
    source, now = source_of(rules, call.query.stream), micros(call.api.clock())
    if source is None:
        return MappingTrial()
    result = await evaluator.call(map_messages, source, sample.dated_lines(now))
    return trial_of(sample, result, rules, call.query.stream, now)


def trial_of(sample: BackfillSample, result: MappedSample, rules: Rules, stream: str, now: int) -> MappingTrial:
    """Select the applicable messages of a mapped sample, and count the others."""
    trial = MappingTrial()
    group = Group(stream, result.columns, 0, [BATCH])
    trial.mapped.groups.append(group)
    for index, mapped in enumerate(result.results):
        if isinstance(mapped, UnreadableMessageError):
            trial.faults.append(("message", mapped.code, 1, sentence_of(mapped)))
            continue
        if mapped is None:
            trial.without_identity += 1
            continue
        key, links, at, values = mapped
        if _is_applicable(trial, rules, (key, *links), at, now):
            trial.times.append(at)
            trial.undated += at == now and not sample.timestamps
            group.rows.append([key, at, 0, index, 0, *values])
            trial.mapped.links += [(link, key, at, BATCH, index) for link in links]
    trial.faults += [(part, code, count, example) for (part, code), (count, example, _) in result.faults.items()]
    blocked = Counter(chain.from_iterable(result.blocked))
    trial.faults += [(identity_part(kind), BLOCKED, n, format_example(value)) for (kind, value), n in blocked.items()]
    return trial


def _is_applicable(trial: MappingTrial, rules: Rules, keys: tuple[str, ...], at: int, now: int) -> bool:
    if at > now + FUTURE_BOUND_MS * 1_000:
        trial.future += 1
    elif not rules.scope.includes(at):
        trial.out_of_scope += 1
    elif is_forgotten(rules.forgotten, keys, at):
        trial.forgotten += 1
    else:
        return True
    return False


async def _nodes_of(reader: GenerationReader, trial: MappingTrial) -> dict[str, Node]:
    """Return the live nodes of all keys in a trial, and those that they point to.

    Raises:
        PartitionUnavailable: they cannot be read now.

    """
    nodes: dict[str, Node] = {}
    pending = sorted({*trial.mapped.target_keys(), *(link[1] for link in trial.mapped.links)})
    requested: set[str] = set()
    while pending:
        batch: list[Any] = []
        for begin in range(0, len(pending), MAX_LOOKUP_KEYS):
            chunk = await reader.nodes(pending[begin : begin + MAX_LOOKUP_KEYS])
            batch += [node for node in chunk if node is not None]
        requested.update(pending)
        nodes |= {node.key: node for node in batch}
        pending = sorted({node.parent for node in batch if node.parent} - requested)
    if any(node.parent and node.parent not in nodes for node in nodes.values()):
        raise PartitionUnavailable("identities are being merged")
    return nodes


async def find_duplicate_upload(
    store: ReadStore, stream: str, filename: str, undone_ids: Collection[str]
) -> Job | None:
    """Return the newest upload of a file of this name to the stream that was not undone."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    if name.partition(".")[0] in {"", "stdin"}:  # the name that the command line gives to standard input
        return None
    uploads = JobFilter(statuses=get_args(Status), provider=PROVIDER, text=name)
    for job in (await store.jobs.page(uploads, NEWEST_FIRST, MAX_CHECKED_UPLOADS)).items:
        configuration = orjson.loads(job.configuration)
        same = (configuration.get("stream"), configuration.get("filename")) == (stream, name)
        if same and job.total_counts.accepted and job.job_id not in undone_ids:
            return job
    return None


async def _lane(call: RequestContext[Any, Any], total: int) -> BackfillLaneView | None:
    topic = LANES[LANE].name
    try:
        samples = await call.api.lanes.samples()
    except UnknownLagError:
        return None
    switch = (await call.api.store.lanes.switches()).get(LANE)
    rate, lag = rate_at_work(samples, LANE, topic), topic_lag(samples, topic)
    return BackfillLaneView(
        paused=switch is not None and switch.paused,
        lag=lag.lag,
        messages_per_second=rate,
        eta_seconds=lag.eta_seconds + total / rate if rate and lag.eta_seconds is not None else None,
    )


def _preview(
    call: RequestContext[PreviewQuery, None],
    total: int,
    sample: BackfillSample | None,
    trial: MappingTrial,
    impact: Impact | None,
    lane: BackfillLaneView | None,
) -> BackfillPreview:
    query, now = call.query, call.api.clock()
    oldest = query.since or (moment(min(trial.times)) if trial.times else None)
    newest = query.until or (moment(max(trial.times)) if trial.times else None)
    return BackfillPreview(
        stream=query.stream,
        messages=total,
        oldest_at=oldest,
        newest_at=newest,
        oldest_age_seconds=(now - oldest) / timedelta(seconds=1) if oldest else None,
        newest_age_seconds=(now - newest) / timedelta(seconds=1) if newest else None,
        needed=bool(impact.added or impact.changed) if impact else None,
        sample=_sample_view(sample, trial) if sample else None,
        profiles=ImpactView.of(impact, merged=impact.joined, older_messages=impact.older) if impact else None,
        lane=lane,
    )


def _sample_view(sample: BackfillSample, trial: MappingTrial) -> SampleView:
    counts = sample.counts
    return SampleView.of(
        trial,
        messages=counts.accepted,
        rejected=counts.rejected,
        first_rejects=collected_view(None, 0, 0, 0, counts.first).first_rejects,
        tried=len(sample.lines),
        applicable=len(trial.times),
        faults=[
            FaultCount(part=part, code=code, messages=count, example=example)
            for part, code, count, example in trial.faults
        ],
    )
