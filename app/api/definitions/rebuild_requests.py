"""What somebody wants profiles to be made by, and the recipe that it comes to by the rules in force. Sends nothing."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import Field, field_validator, model_validator

from app.api.definitions.definitions import body_of, check_known
from app.api.http.param_types import TimestampText
from app.api.http.problems import ApiProblem, FieldError, invalid
from app.api.jobs.bodies import FEW
from app.api.routing.routes import Body, RequestContext
from projections.definitions.rebuild_spec import NEWEST_VERSION, AppliedBody, RebuildSpec, Scope
from projections.definitions.rules import Rules
from schemas.definitions import IDENTITY, mapping_of
from schemas.instants import micros
from schemas.json_pointer import json_pointer
from schemas.names import MAX_JOB_ID, is_job_id

MAX_MAPPINGS: Final = 100
MAX_NOTE_CHARACTERS: Final = 1_000
Origin = Literal["job", "upload", "no_messages", "no_such_job"]
WHY_NOT: Final[Mapping[Origin, str]] = {
    "no_messages": "the job has brought no messages, so no profile says anything of it",
    "no_such_job": "there is no such job, and no upload has such an id",
}
ALONE: Final = frozenset({"former", "note"})

Version = Annotated[int, Field(ge=1, le=NEWEST_VERSION, strict=True)]
JobId = Annotated[str, Field(min_length=1, max_length=MAX_JOB_ID)]
JobIds = Annotated[tuple[JobId, ...], Field(max_length=100), FEW]


class RebuildBody(Body):
    """What to build by. Whatever is left out is as it is for the profiles that are live."""

    identity: Annotated[Version | None, Field(description="a version of the identity rules, also a draft")] = None
    mappings: Annotated[
        dict[str, Version], Field(max_length=MAX_MAPPINGS, description="versions by stream, also of drafts")
    ] = Field(default_factory=dict)
    streams: Annotated[
        tuple[str, ...] | None,
        Field(max_length=MAX_MAPPINGS, description="only these: once it is promoted, no other stream has a mapping"),
    ] = None
    since: Annotated[
        TimestampText | None, Field(description="no message about what was before; null: from the first on")
    ] = None
    until: Annotated[
        TimestampText | None,
        Field(description="no message about what was from then up to now; what happens from now on counts. null: all"),
    ] = None
    without: Annotated[JobIds, Field(description="jobs and uploads: what they brought up to now doesn't count")] = ()
    with_: Annotated[
        JobIds, Field(alias="with", description="jobs and uploads that were left out, to count again")
    ] = ()
    former: Annotated[
        bool, Field(strict=True, description="the way back: as it was before the latest promotion; needs to be alone")
    ] = False
    note: Annotated[str, Field(max_length=MAX_NOTE_CHARACTERS, description="why, for people")] = ""

    @field_validator("note")
    @classmethod
    def _no_nul(cls, value: str) -> str:
        if "\x00" in value:
            raise ValueError("a NUL character can't be kept")
        return value

    @model_validator(mode="after")
    def _alone(self) -> Self:
        if self.former and (others := sorted(self.model_fields_set - ALONE)):
            raise ValueError(f"the way back takes the former rules as they were: leave out {', '.join(others)}")
        return self


def live_rules(call: RequestContext[Any, Any]) -> Rules:
    """Return the active rules: those of the same offset as the definitions that this server shows.

    Raises:
        ApiProblem: 503, the definitions were not read from Kafka yet.

    """
    check_known(call)
    return call.api.rules.rules


async def wished(call: RequestContext[Any, Any], body: RebuildBody, rules: Rules) -> RebuildSpec:
    """Return the recipe that a body comes to by the rules in force.

    Raises:
        Problem: there are no such versions, jobs or times; with every field that is wrong.

    """
    if body.former:
        if not rules.generation:
            raise ApiProblem(409, "no_former", "no rebuild was promoted yet, so there is no way back to go")
        return call.api.rules.of(rules.generation - 1).recipe
    wrong = [*_wrong_streams(body, rules), *await _unknown_jobs(call, body, rules.scope)]
    scope = _scope(body, rules.scope, micros(call.api.clock()))
    if scope.since is not None and scope.until is not None and scope.since >= scope.until:
        wrong.append(FieldError("/since", "bad_range", "it has to be before `until`: nothing would be left"))
    identity = await _version(call, "/identity", IDENTITY, body.identity, wrong) or rules.identity
    asked = {
        stream: await _version(call, json_pointer("mappings", stream), mapping_of(stream), version, wrong)
        for stream, version in body.mappings.items()
    }
    if wrong:
        raise invalid(wrong)
    found = {**rules.mappings, **{stream: each for stream, each in asked.items() if each}}
    kept = {stream: each for stream, each in found.items() if body.streams is None or stream in body.streams}
    return RebuildSpec(identity, MappingProxyType(kept), scope)


def _scope(body: RebuildBody, live: Scope, now: int) -> Scope:
    kept = {job: moment for job, moment in live.left_out.items() if job not in body.with_}
    said = body.model_fields_set
    return Scope(
        since=_micros(body.since) if "since" in said else live.since,
        until=_micros(body.until) if "until" in said else live.until,
        began=now if "until" in said else live.began,
        left_out={**kept, **dict.fromkeys(body.without, now)},
    )


def _micros(moment: TimestampText | None) -> int | None:
    return None if moment is None else micros(moment)


async def _version(
    call: RequestContext[Any, Any], pointer: str, definition_id: str, version: int | None, wrong: list[FieldError]
) -> AppliedBody | None:
    if version is None:
        return None
    known = call.api.catalog.versions(definition_id)
    if version not in known:
        there = f"; there are {', '.join(map(str, known))}" if known else ", nor any other"
        wrong.append(FieldError(pointer, "no_such_version", f"{definition_id} has no version {version}{there}"))
        return None
    return AppliedBody(version, await body_of(call, definition_id, known[version]))


def _wrong_streams(body: RebuildBody, rules: Rules) -> Iterator[FieldError]:
    if body.streams is None:
        return
    for number, stream in enumerate(body.streams):
        if stream not in rules.mappings and stream not in body.mappings:
            message = f"no mapping of {stream} is in force: name a version in `mappings`"
            yield FieldError(f"/streams/{number}", "no_mapping", message)
    for stream in body.mappings:
        if stream not in body.streams:
            message = f"{stream} isn't among `streams`"
            yield FieldError(json_pointer("mappings", stream), "other_stream", message)


async def _unknown_jobs(call: RequestContext[Any, Any], body: RebuildBody, live: Scope) -> Iterable[FieldError]:
    found = [await what_brought(call, job) for job in body.without]
    wrong = [
        FieldError(f"/without/{number}", found[number], f"{job}: {WHY_NOT[found[number]]}")
        for number, job in enumerate(body.without)
        if found[number] in WHY_NOT
    ]
    left_out: Mapping[str, int] = live.left_out
    return wrong + [
        FieldError(f"/with/{number}", "not_left_out", f"{job} isn't left out of the profiles that are live")
        for number, job in enumerate(body.with_)
        if job not in left_out
    ]


async def what_brought(call: RequestContext[Any, Any], job_id: str) -> Origin:
    """Tell what has brought messages under an id. Uploads that were taken at once are no jobs: none is remembered."""
    if not is_job_id(job_id):
        return "no_such_job"
    job = await call.api.store.jobs.get(job_id)
    if job is None:
        return "upload" if _is_upload_id(job_id) else "no_such_job"
    return "job" if job.total_counts.accepted or await call.api.store.lanes.mapped(job_id) else "no_messages"


def _is_upload_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
