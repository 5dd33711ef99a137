"""Apply events to the state of a job. Pure and total: every event applies, and the input is not changed."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import assert_never

from projections.decider import state_envelope
from projections.jobs.retry import Streak
from projections.jobs.state import Completed, Failed, Job, Killed, Paused, Purged, Running, Sleeping
from schemas.commands import MAX_TOTAL, Counts
from schemas.events import (
    CommandRefused,
    JobCompleted,
    JobConfigured,
    JobCreated,
    JobCursorEdited,
    JobDequeued,
    JobErrored,
    JobEvent,
    JobFailed,
    JobKilled,
    JobPaused,
    JobProgressed,
    JobPurged,
    JobQueued,
    JobRenamed,
    JobRestored,
    JobResumed,
    JobSlept,
    JobStarted,
    JobSynced,
)


def evolve(job: Job | None, event: JobEvent) -> Job | None:
    """Return the state after an event; None before the job is created. An event that is not the next one is ignored."""
    if job is None:
        return _created(event) if isinstance(event, JobCreated) else None
    if event.seq != job.seq + 1:
        return job
    return replace(_applied(job, event), **state_envelope(job, event))


def _created(event: JobCreated) -> Job:
    at = event.occurred_at
    return Job(
        job_id=event.job_id,
        seq=event.seq,
        command_offset=event.command_offset,
        phase=Paused(since=at, draft=True) if event.draft else Running(since=at),
        provider=event.provider,
        job_type=event.job_type,
        kind=event.kind,
        name=event.name,
        description=event.description,
        created_at=at,
        updated_at=at,
        configuration=event.configuration,
        cadence=event.cadence,
        retry=event.retry,
        recent_commands=(event.command_id,),
    )


def _applied(job: Job, event: JobEvent) -> Job:  # noqa: C901, PLR0911, PLR0912  # one line an event, complete
    at = event.occurred_at
    match event:
        case JobRenamed():
            return replace(job, name=event.name, description=event.description, revision=job.revision + 1)
        case JobConfigured():
            return _configured(job, event)
        case JobStarted():
            return _started(job, event)
        case JobProgressed():
            return _progressed(job, event)
        case JobQueued() | JobDequeued():
            return _queued(job, at if isinstance(event, JobQueued) else None)
        case JobSynced():
            return replace(job, synced_at=at, pass_started_at=None, streak=None, bytes_read=0, bytes_total=None)
        case JobErrored():
            return replace(job, streak=Streak(consecutive=event.consecutive, since=event.first_error_at))
        case JobSlept():
            return _slept(job, event)
        case JobFailed():
            return replace(job, phase=Failed(since=at, code=event.code, params=event.params))
        case JobPaused():
            draft = isinstance(job.phase, Paused) and job.phase.draft
            return replace(job, phase=Paused(since=at, until=event.until, draft=draft))
        case JobResumed():
            return replace(job, phase=Running(since=at), streak=None)
        case JobCompleted():
            return replace(job, phase=Completed(since=at))
        case JobKilled():
            return replace(job, phase=Killed(since=at))
        case JobRestored():
            return replace(job, phase=Paused(since=at))
        case JobCursorEdited():
            return replace(job, cursor=event.cursor, report=event.report, revision=job.revision + 1)
        case JobPurged():
            return replace(job, phase=Purged(since=at), configuration="{}", cursor="{}", description="")
        case JobCreated() | CommandRefused():
            return job
        case _:
            assert_never(event)


def _configured(job: Job, event: JobConfigured) -> Job:
    return replace(
        job,
        configuration=event.configuration,
        cadence=event.cadence,
        retry=event.retry,
        configuration_version=event.version,
        revision=job.revision + 1,
    )


def _started(job: Job, event: JobStarted) -> Job:
    return replace(
        job,
        phase=Running(since=event.occurred_at),
        run=event.run,
        streak=_streak_at(job, event.occurred_at),
        pass_started_at=job.pass_started_at or event.occurred_at,
        last_pass_started_at=job.last_pass_started_at if job.pass_started_at else event.occurred_at,
        pass_counts=job.pass_counts if job.pass_started_at else Counts(),
    )


def _queued(job: Job, at: datetime | None) -> Job:
    return replace(job, phase=replace(job.phase, queued_at=at)) if isinstance(job.phase, Running) else job


def _streak_at(job: Job, at: datetime) -> Streak | None:
    """Return the streak at the end of a phase. Time in a rate limit or a blackout window does not count as failing."""
    phase, streak = job.phase, job.streak
    if streak is None or not isinstance(phase, Sleeping) or phase.reason == "error_backoff":
        return streak
    failing = max(phase.since - streak.since, timedelta())
    return replace(streak, since=max(at, phase.since) - failing)


def _slept(job: Job, event: JobSlept) -> Job:
    at = event.occurred_at
    phase = Sleeping(since=at, reason=event.reason, until=event.sleep_until, code=event.code, params=event.params)
    return replace(job, phase=phase, streak=_streak_at(job, at))


def _progressed(job: Job, event: JobProgressed) -> Job:
    return replace(
        job,
        report=event.report,
        cursor=event.cursor,
        pass_counts=job.pass_counts + event.counts,
        total_counts=job.total_counts + event.counts,
        streak=None if event.counts.accepted else job.streak,
        bytes_read=min(job.bytes_read + event.bytes_read, MAX_TOTAL),
        bytes_total=event.bytes_total,
    )
