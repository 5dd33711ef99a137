"""How jobs and events look in JSON. Secrets in configurations are hidden here, by the connector's own rule."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, Field

from app.store.models import ConfigurationVersion
from connectors.catalog import connector, is_pushed
from projections.jobs.state import Failed, Job, Paused, Sleeping
from projections.jobs.transitions import allowed_for_people
from projections.views.job_summary import next_wake, summary
from schemas.commands import Counts
from schemas.events import JobEvent
from schemas.policies import Cadence, RetryPolicy

ACTIONS: Final[Mapping[str, str]] = {
    "PauseJob": "pause",
    "ResumeJob": "resume",
    "RunJob": "run",
    "KillJob": "kill",
    "RestoreJob": "restore",
    "RenameJob": "rename",
    "ConfigureJob": "configure",
    "EditCursor": "edit_cursor",
}
HIDDEN: Final = "…hidden…"
# What makes no sense for a job whose data comes with a request: it goes on when that is sent again.
NOT_FOR_PUSHED: Final = frozenset({"run", "configure", "edit_cursor"})


class PassProgress(BaseModel):
    """How far the pass is; `ratio` from 0 to 1 when the whole is known."""

    bytes_read: int
    bytes_total: int | None
    ratio: float | None


class Errors(BaseModel):
    """Errors since the last success."""

    consecutive: int
    since: datetime


class JobItem(BaseModel):
    """A job in the list."""

    id: str
    name: str
    description: str
    provider: str
    job_type: str
    kind: str
    status: str
    draft: bool
    reason: str
    sleep_until: datetime | None
    since: datetime
    summary: str
    run: int
    progress: PassProgress
    pass_counts: Counts
    total_counts: Counts
    errors: Errors | None
    synced_at: datetime | None
    next_at: datetime | None
    created_at: datetime
    updated_at: datetime
    revision: int
    seq: int
    allowed: list[str]


class JobView(JobItem):
    """A job with all that is known of it."""

    configuration: dict[str, Any]
    configuration_version: int
    cadence: Cadence
    retry: RetryPolicy
    cursor: dict[str, Any]


class IngestProgress(BaseModel):
    """How far a job's messages are on their way into the profiles."""

    written: Annotated[int, Field(description="by all its runs")]
    mapped: Annotated[int, Field(description="of them, that their lane is through with")]
    complete: Annotated[bool, Field(description="all of them are in the profiles")]
    unmapped_stream: Annotated[
        str | None,
        Field(description="the job's stream, when it has no mapping: then its messages are only kept"),
    ]
    excluded_before: Annotated[
        datetime | None, Field(description="what came in before is undone: kept, and in no profile; null: nothing is")
    ]


class JobDetail(JobView):
    """One job, and where its messages are. `profiles` is null in looks into the past, and for what writes none."""

    profiles: IngestProgress | None


class ConfigurationView(BaseModel):
    """One configuration that a job has or had."""

    version: int
    configuration: dict[str, Any]
    cadence: Cadence
    retry: RetryPolicy
    at: datetime
    by: str
    reverted_from: int | None


def _common(job: Job) -> dict[str, Any]:
    phase = job.phase
    return {
        **{name: getattr(job, name) for name in JobItem.model_fields if hasattr(job, name)},
        "id": job.job_id,
        "draft": isinstance(phase, Paused) and phase.draft,
        "reason": reason(job),
        "sleep_until": phase.until if isinstance(phase, Sleeping | Paused) else None,
        "since": phase.since,
        "summary": summary(job),
        "progress": progress(job),
        "errors": Errors(consecutive=job.streak.consecutive, since=job.streak.since) if job.streak else None,
        "next_at": next_wake(job),
        "allowed": allowed(job),
    }


def job_item(job: Job) -> JobItem:
    """Return a job for a list."""
    return JobItem(**_common(job))


def job_view(job: Job) -> JobView:
    """Return a job with all that is known of it, secrets hidden."""
    return JobView(**_all(job))


def job_detail(job: Job, profiles: IngestProgress | None) -> JobDetail:
    """Return a job, and how far its messages are."""
    return JobDetail(**_all(job), profiles=profiles)


def _all(job: Job) -> dict[str, Any]:
    return {
        **_common(job),
        "configuration": redacted(job.provider, job.configuration),
        "configuration_version": job.configuration_version,
        "cadence": job.cadence,
        "retry": job.retry,
        "cursor": orjson.loads(job.cursor),
    }


def progress(job: Job) -> PassProgress:
    """Return how far the pass is."""
    ratio = min(1.0, job.bytes_read / job.bytes_total) if job.bytes_total else None
    return PassProgress(bytes_read=job.bytes_read, bytes_total=job.bytes_total, ratio=ratio)


def reason(job: Job) -> str:
    """Return why the job is in its phase, as a stable word; "" when the phase says it."""
    match job.phase:
        case Sleeping(reason=why):
            return why
        case Failed(code=code):
            return code
        case Paused(draft=True):
            return "draft"
        case _:
            return ""


def allowed(job: Job) -> list[str]:
    """Return what a person may do with the job now."""
    actions = [ACTIONS[each] for each in allowed_for_people(job.status)]
    if is_pushed(job.provider, job.job_type):
        refused = NOT_FOR_PUSHED | ({"resume"} if isinstance(job.phase, Failed) else set())
        actions = [each for each in actions if each not in refused]
    return actions


def configuration_view(provider: str, found: ConfigurationVersion) -> ConfigurationView:
    """Return a configuration of a job with that provider, secrets hidden."""
    values = {each.name: getattr(found, each.name) for each in fields(found)}
    return ConfigurationView(**values | {"configuration": redacted(provider, found.configuration)})


def redacted(provider: str, configuration: str) -> dict[str, Any]:
    """Return a configuration without its secrets; when its provider is gone, no value is shown."""
    found: dict[str, Any] = orjson.loads(configuration)
    known = connector(provider)
    return dict(known.redact(found)) if known else dict.fromkeys(found, HIDDEN)


def event_view(event: JobEvent, provider: str | None) -> dict[str, Any]:
    """Return an event; without a provider, its configuration and cursor are left out."""
    view = {"type": type(event).__name__, **{each.name: getattr(event, each.name) for each in fields(event)}}
    for name in ("configuration", "cursor", "previous"):
        if name in view:
            if provider is None:
                del view[name]
            else:
                view[name] = redacted(provider, view[name]) if name == "configuration" else orjson.loads(view[name])
    return view
