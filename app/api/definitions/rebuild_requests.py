"""Rebuild requests: validated, and resolved to the spec of a rebuild by the active rules. Sends nothing."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, NamedTuple, Self

from aiokafka.errors import KafkaError
from pydantic import Field, model_validator

from app.api.definitions.definitions import body_of, check_loaded
from app.api.definitions.upload_search import unknown_uploads
from app.api.http.param_types import SAFE_TEXT, TimestampText
from app.api.http.problems import ApiProblem, FieldError, invalid, kafka_unreachable
from app.api.jobs.bodies import ITEM_LIMIT
from app.api.routing.routes import Body, RequestContext
from projections.definitions.rebuild_spec import MAX_VERSION, RebuildSpec, Scope, VersionedBody
from projections.definitions.rules import Rules
from projections.jobs.state import Job
from schemas.definitions import IDENTITY, mapping_of
from schemas.instants import micros
from schemas.json_values import json_pointer
from schemas.names import MAX_JOB_ID, is_job_id, is_uuid

MAX_MAPPINGS: Final = 100
MAX_NOTE_CHARACTERS: Final = 1_000
OriginKind = Literal["job", "upload", "no_messages", "no_such_job"]
NO_MESSAGES: Final = "the job has sent no messages, so no profile depends on it"
UNKNOWN_ORIGIN: Final = "no job has this id, and no upload with this id has sent messages"
UNUSABLE: Final[Mapping[OriginKind, str]] = {
    "no_messages": NO_MESSAGES,
    "no_such_job": UNKNOWN_ORIGIN,
}
ALONE: Final = frozenset({"previous", "note"})

StrictVersion = Annotated[int, Field(ge=1, le=MAX_VERSION, strict=True)]
JobId = Annotated[str, Field(min_length=1, max_length=MAX_JOB_ID)]
JobIds = Annotated[tuple[JobId, ...], Field(max_length=100), ITEM_LIMIT]


class MessageOrigin(NamedTuple):
    """The origin of the messages with an id, and the job with that id if there is one."""

    kind: OriginKind
    job: Job | None


NO_ORIGIN: Final = MessageOrigin("no_such_job", None)


class RebuildBody(Body):
    """The rules of a rebuild. A field that is absent keeps the rule of the live profiles."""

    identity: Annotated[StrictVersion | None, Field(description="version of the identity rules; may be a draft")] = None
    mappings: Annotated[
        dict[str, StrictVersion], Field(max_length=MAX_MAPPINGS, description="versions by stream; may be drafts")
    ] = Field(default_factory=dict)
    streams: Annotated[
        tuple[str, ...] | None,
        Field(max_length=MAX_MAPPINGS, description="only these; promotion removes the mappings of all others"),
    ] = None
    since: Annotated[
        TimestampText | None, Field(description="only messages after this event time; null: no lower bound")
    ] = None
    until: Annotated[
        TimestampText | None,
        Field(description="only messages before this event time, and those about the time from now on; null: all"),
    ] = None
    exclude_jobs: Annotated[JobIds, Field(description="jobs and uploads whose messages up to now are excluded")] = ()
    include_jobs: Annotated[JobIds, Field(description="excluded jobs and uploads to include again")] = ()
    previous: Annotated[
        bool, Field(strict=True, description="roll back to the rules before the latest promotion; excludes other rules")
    ] = False
    note: Annotated[str, Field(max_length=MAX_NOTE_CHARACTERS, description="comment"), SAFE_TEXT] = ""

    @model_validator(mode="after")
    def _alone(self) -> Self:
        if self.previous and (others := sorted(self.model_fields_set - ALONE)):
            raise ValueError(f"`previous` restores the previous rules unchanged: omit {', '.join(others)}")
        return self


def active_rules(call: RequestContext[Any, Any]) -> Rules:
    """Return the active rules: those of the same offset as the definitions that this server shows.

    Raises:
        ApiProblem: 503, the definitions are not loaded from Kafka yet.

    """
    check_loaded(call)
    return call.api.rules.rules


async def resolve_spec(call: RequestContext[Any, Any], body: RebuildBody, rules: Rules) -> RebuildSpec:
    """Return the spec of a request: its own rules, else the active ones.

    Raises:
        ApiProblem: 422, with every unknown version, job or stream; or 409, there is nothing to roll back to.

    """
    if body.previous:
        if not rules.generation:
            raise ApiProblem(409, "no_previous", "there is no earlier promotion to roll back to")
        return call.api.rules.of(rules.generation - 1).spec
    errors = [*_stream_errors(body, rules), *await _job_errors(call, body, rules.scope)]
    scope = _scope(body, rules.scope, micros(call.api.clock()))
    if scope.since is not None and scope.until is not None and scope.since >= scope.until:
        errors.append(FieldError("/since", "bad_range", "expected a time before `until`"))
    identity = await _version(call, "/identity", IDENTITY, body.identity, errors) or rules.identity
    requested = {
        stream: await _version(call, json_pointer("mappings", stream), mapping_of(stream), version, errors)
        for stream, version in body.mappings.items()
    }
    if errors:
        raise invalid(errors)
    mappings = {**rules.mappings, **{stream: version for stream, version in requested.items() if version}}
    kept = {stream: version for stream, version in mappings.items() if body.streams is None or stream in body.streams}
    return RebuildSpec(identity, MappingProxyType(kept), scope)


def _scope(body: RebuildBody, live: Scope, now: int) -> Scope:
    kept = {job_id: at for job_id, at in live.excluded.items() if job_id not in body.include_jobs}
    given = body.model_fields_set
    return Scope(
        since=_micros(body.since) if "since" in given else live.since,
        until=_micros(body.until) if "until" in given else live.until,
        until_set_at=now if "until" in given else live.until_set_at,
        excluded={**kept, **dict.fromkeys(body.exclude_jobs, now)},
    )


def _micros(moment: TimestampText | None) -> int | None:
    return None if moment is None else micros(moment)


async def _version(
    call: RequestContext[Any, Any], pointer: str, definition_id: str, version: int | None, errors: list[FieldError]
) -> VersionedBody | None:
    if version is None:
        return None
    records = call.api.catalog.versions(definition_id)
    if version not in records:
        versions = ", ".join(map(str, records)) or "none"
        message = f"{definition_id} has no version {version}; versions: {versions}"
        errors.append(FieldError(pointer, "no_such_version", message))
        return None
    return VersionedBody(version, await body_of(call, definition_id, records[version]))


def _stream_errors(body: RebuildBody, rules: Rules) -> Iterator[FieldError]:
    if body.streams is None:
        return
    for index, stream in enumerate(body.streams):
        if stream not in rules.mappings and stream not in body.mappings:
            message = f"stream {stream} has no active mapping: name a version in `mappings`"
            yield FieldError(f"/streams/{index}", "no_mapping", message)
    for stream in body.mappings:
        if stream not in body.streams:
            yield FieldError(json_pointer("mappings", stream), "other_stream", f"{stream} is not in `streams`")


async def _job_errors(call: RequestContext[Any, Any], body: RebuildBody, live: Scope) -> Iterable[FieldError]:
    origins = await origins_of(call, body.exclude_jobs)
    errors = [
        FieldError(f"/exclude_jobs/{index}", kind, f"{job_id}: {UNUSABLE[kind]}")
        for index, job_id in enumerate(body.exclude_jobs)
        if (kind := origins[job_id].kind) in UNUSABLE
    ]
    excluded: Mapping[str, int] = live.excluded
    return errors + [
        FieldError(f"/include_jobs/{index}", "not_excluded", f"{job_id} is not excluded from the live profiles")
        for index, job_id in enumerate(body.include_jobs)
        if job_id not in excluded
    ]


async def origins_of(call: RequestContext[Any, Any], job_ids: Collection[str]) -> Mapping[str, MessageOrigin]:
    """Return the origin of the messages with each id. An upload of `/collect/json` is not a job: its id is a UUID.

    Raises:
        ApiProblem: 503, Kafka is unreachable.

    """
    origins = {job_id: await _origin_of(call, job_id) for job_id in job_ids}
    uploads = [job_id for job_id, origin in origins.items() if origin.kind == "upload"]
    try:
        unknown = await unknown_uploads(call.api.kafka, uploads, call.api.settings.partitions)
    except (KafkaError, OSError) as error:
        raise kafka_unreachable("the messages") from error
    return {job_id: NO_ORIGIN if job_id in unknown else origin for job_id, origin in origins.items()}


async def _origin_of(call: RequestContext[Any, Any], job_id: str) -> MessageOrigin:
    if not is_job_id(job_id):
        return NO_ORIGIN
    job = await call.api.store.jobs.get(job_id)
    if job is None:
        return MessageOrigin("upload", None) if is_uuid(job_id) else NO_ORIGIN
    has_messages = job.total_counts.accepted or await call.api.store.lanes.mapped(job_id)
    return MessageOrigin("job" if has_messages else "no_messages", job)
