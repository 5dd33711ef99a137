"""JSON views of jobs and events. Masks secrets of configurations by the rules of their connectors."""

from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, Field

from app.api.routing.responses import View
from app.sentences.codes import ACTIONS
from app.sentences.job_summary import status_label, summary
from app.store.models import ConfigurationVersion
from app.vault.sealed_json import shown_form
from connectors.catalog import connector, is_pushed
from connectors.redaction import MASK
from projections.jobs.cadence import blackout_until
from projections.jobs.state import Failed, Job, Paused, Running, Sleeping, next_wake
from projections.jobs.transitions import allowed_user_commands
from schemas.commands import Counts
from schemas.events import JobEvent
from schemas.policies import Cadence, RetryPolicy

# Not allowed for a job whose data comes with requests: repeating the request resumes it.
NOT_FOR_PUSHED: Final = frozenset({"run", "configure", "edit_cursor"})


class PassProgress(BaseModel):
    """The progress of the current pass; `ratio` from 0 to 1 when the total is known."""

    bytes_read: int
    bytes_total: int | None
    ratio: float | None


class Errors(BaseModel):
    """Errors since the last success."""

    consecutive: int
    since: Annotated[datetime, Field(description="time of the first one, without rate limits and blackout windows")]


class JobItem(View):
    """A job in a list."""

    id: str
    name: str
    description: str
    provider: str
    job_type: str
    kind: Annotated[str, Field(description="import, export or enrichment")]
    status: str
    status_label: Annotated[
        str, Field(description="the status for display: `Completed with rejects` when records were rejected")
    ]
    draft: Annotated[bool, Field(description="created but never started")]
    reason: Annotated[str, Field(description="why it is sleeping, waiting for a slot, paused or failed: a code")]
    sleep_until: Annotated[
        datetime | None, Field(description="null when nothing is scheduled, or when its source is checked continuously")
    ]
    since: Annotated[datetime, Field(description="when it entered its status")]
    summary: Annotated[str, Field(description="its type, schedule and status as sentences")]
    run: Annotated[int, Field(description="number of the latest run; 0 before the first")]
    progress: PassProgress
    pass_counts: Counts
    total_counts: Counts
    errors: Errors | None
    synced_at: Annotated[datetime | None, Field(description="end of the latest complete pass")]
    next_at: Annotated[datetime | None, Field(description="when it runs next, or is resumed, after blackout windows")]
    created_at: datetime
    updated_at: datetime
    revision: Annotated[int, Field(description="incremented by every edit; the ETag")]
    seq: Annotated[int, Field(description="of its latest event")]
    allowed: Annotated[list[str], Field(description="the actions that are allowed now")]


class JobView(JobItem):
    """A job with its configuration, policies and cursor."""

    configuration: dict[str, Any]
    configuration_version: int
    cadence: Cadence
    retry: RetryPolicy
    cursor: dict[str, Any]


class IngestProgress(BaseModel):
    """The progress of a job's messages into the profiles."""

    written: Annotated[int, Field(description="messages stored by all its runs")]
    mapped: Annotated[int, Field(description="of them, messages processed by their lane")]
    complete: Annotated[bool, Field(description="whether all of them are applied to profiles")]
    unmapped_stream: Annotated[
        str | None,
        Field(description="the stream of the job, if it has no mapping: its messages update no profiles"),
    ]
    excluded_before: Annotated[
        datetime | None,
        Field(description="messages that arrived before are undone: stored, but in no profile"),
    ]


class JobDetail(JobView):
    """A job with the progress of its messages; `profiles` is null in the past, and for jobs other than imports."""

    profiles: IngestProgress | None


class ConfigurationView(View):
    """One configuration version of a job."""

    version: int
    configuration: dict[str, Any]
    cadence: Cadence
    retry: RetryPolicy
    at: datetime
    by: str
    reverted_from: int | None


def job_item(job: Job) -> JobItem:
    """Return a job for a list."""
    return JobItem.of(job, **_computed(job))


def job_view(job: Job) -> JobView:
    """Return a job with its configuration, secrets masked."""
    return JobView.of(job, **_computed(job), **_details(job))


def job_detail(job: Job, profiles: IngestProgress | None) -> JobDetail:
    """Return a job with the progress of its messages."""
    return JobDetail.of(job, **_computed(job), **_details(job), profiles=profiles)


def _computed(job: Job) -> dict[str, Any]:
    phase = job.phase
    return {
        "id": job.job_id,
        "draft": isinstance(phase, Paused) and phase.draft,
        "reason": reason(job),
        "sleep_until": next_wake(job),
        "since": phase.since,
        "status_label": status_label(job),
        "summary": summary(job),
        "progress": progress(job),
        "errors": Errors(consecutive=job.streak.consecutive, since=job.streak.since) if job.streak else None,
        "next_at": next_run_at(job),
        "allowed": allowed(job),
    }


def next_run_at(job: Job) -> datetime | None:
    """Return when a job runs next, or is resumed. A slot of its schedule within a blackout waits for its end."""
    wake = next_wake(job)
    if wake is None or not isinstance(job.phase, Sleeping):
        return wake
    return blackout_until(job.cadence, wake) or wake


def _details(job: Job) -> dict[str, Any]:
    return {"configuration": redacted(job.provider, job.configuration), "cursor": orjson.loads(job.cursor)}


def progress(job: Job) -> PassProgress:
    """Return the progress of the current pass."""
    ratio = min(1.0, job.bytes_read / job.bytes_total) if job.bytes_total else None
    return PassProgress(bytes_read=job.bytes_read, bytes_total=job.bytes_total, ratio=ratio)


def reason(job: Job) -> str:
    """Return the reason code of the job's phase; "" when the phase needs none."""
    match job.phase:
        case Sleeping(reason=why):
            return why
        case Failed(code=code):
            return code
        case Paused(draft=True):
            return "draft"
        case Running(queued_at=at) if at is not None:
            return "no_free_slot"
        case _:
            return ""


def allowed(job: Job) -> list[str]:
    """Return the actions that are allowed now."""
    actions = [ACTIONS[command] for command in allowed_user_commands(job.status)]
    if is_pushed(job.provider, job.job_type):
        excluded = NOT_FOR_PUSHED | ({"resume"} if isinstance(job.phase, Failed) else set())
        actions = [action for action in actions if action not in excluded]
    return actions


def configuration_view(provider: str, version: ConfigurationVersion) -> ConfigurationView:
    """Return a configuration version of a job with that provider, secrets masked."""
    return ConfigurationView.of(version, configuration=redacted(provider, version.configuration))


def redacted(provider: str, configuration: str) -> dict[str, Any]:
    """Return a configuration with its secrets masked; all values, when its provider is unknown."""
    values: dict[str, Any] = shown_form(orjson.loads(configuration))
    plugin = connector(provider)
    return dict(plugin.redact(values)) if plugin else dict.fromkeys(values, MASK)


def event_view(event: JobEvent, provider: str | None) -> dict[str, Any]:
    """Return an event; without a provider, it lacks configuration and cursor."""
    view = {"type": type(event).__name__, **{field.name: getattr(event, field.name) for field in fields(event)}}
    for name in ("configuration", "cursor", "previous"):
        if name in view:
            if provider is None:
                del view[name]
            else:
                view[name] = redacted(provider, view[name]) if name == "configuration" else orjson.loads(view[name])
    return view
