"""Decide commands of jobs: the events that a command causes, or its refusal. Pure and total.

`transitions` says which command is allowed in which phase.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from projections.decider import RefusedError, is_handled
from projections.jobs.cadence import (
    blackout_until,
    is_frequent,
    next_blackout,
    next_scheduled,
    next_start,
    poll_interval,
)
from projections.jobs.command_checks import check_command, check_settings
from projections.jobs.recorder import MAX_TEXT_CHARACTERS, EventRecorder, JobRefusedError
from projections.jobs.retry import INCURABLE, GiveUp, Retry, Streak, after_error, after_rate_limit, clamp_retry_after
from projections.jobs.state import Completed, Failed, Job, Killed, Paused, Purged, Running, Sleeping, phase_of
from projections.jobs.transitions import allowed_user_commands
from schemas.coded import fit_params, truncate
from schemas.commands import (
    ConfigureJob,
    CreateJob,
    EditCursor,
    JobCommand,
    KillJob,
    PauseJob,
    PurgeJob,
    RenameJob,
    ReportError,
    ReportProgress,
    ReportQueued,
    ReportRateLimit,
    RestoreJob,
    ResumeJob,
    RunJob,
    WakeJob,
)
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
    StartReason,
)
from schemas.instants import rfc3339

RETENTION: Final = timedelta(days=90)  # of a job that is failed, paused, completed or killed, until it is purged


def handle(job: Job | None, command: JobCommand, offset: int) -> tuple[Job | None, tuple[JobEvent, ...]]:
    """Decide the command at `offset` of its partition. Return the next state and the events; none if handled before."""
    if is_handled(job, command, offset):
        return job, ()
    recorder = EventRecorder(job, command, offset)
    try:
        check_command(job, command)
        _act(recorder, command)
    except RefusedError as refusal:
        recorder = EventRecorder(job, command, offset)
        recorder.record(
            CommandRefused,
            command=type(command).__name__,
            code=refusal.code,
            params=fit_params(refusal.params),
            allowed=allowed_user_commands(phase_of(job)),
            revision=job.revision if job else 0,
        )
    return recorder.state, tuple(recorder.events)


def _act(recorder: EventRecorder, command: JobCommand) -> None:  # noqa: C901, PLR0912  # one line a command, complete
    match command:
        case CreateJob():
            _create(recorder, command)
        case RenameJob():
            recorder.record(JobRenamed, name=command.name, description=command.description)
        case ConfigureJob():
            _configure(recorder, command)
        case PauseJob():
            _pause(recorder, command)
        case ResumeJob():
            _resume(recorder, run_now=command.run_now)
        case RunJob():
            _start(recorder, "run_now")
        case KillJob():
            recorder.record(JobKilled)
        case RestoreJob():
            recorder.record(JobRestored)
        case EditCursor():
            recorder.record(
                JobCursorEdited, cursor=command.cursor, previous=recorder.job.cursor, report=recorder.job.report + 1
            )
        case WakeJob():
            _wake(recorder)
        case PurgeJob():
            _check_due(recorder, PurgeJob)
            recorder.record(JobPurged)
        case ReportProgress():
            _progress(recorder, command)
        case ReportError():
            _error(recorder, command)
        case ReportRateLimit():
            _rate_limit(recorder, command)
        case ReportQueued():
            _check_run(recorder, command.run)
            recorder.record(JobQueued if command.queued else JobDequeued, run=command.run)
        case _:
            assert_never(command)


def _create(recorder: EventRecorder, command: CreateJob) -> None:
    check_settings(command.configuration, command.cadence, command.retry, recorder.at)
    recorder.record(
        JobCreated,
        provider=command.provider,
        job_type=command.job_type,
        kind=command.kind,
        name=command.name,
        description=command.description,
        configuration=command.configuration,
        cadence=command.cadence,
        retry=command.retry,
        draft=not command.start,
    )
    if command.start:
        _enter_schedule(recorder, "created", run_now=command.run_now)


def _configure(recorder: EventRecorder, command: ConfigureJob) -> None:
    """Replace the settings. A job that waits for its next scheduled run follows a changed schedule at once."""
    before = recorder.job
    check_settings(command.configuration, command.cadence, command.retry, recorder.at)
    recorder.record(
        JobConfigured,
        version=recorder.job.configuration_version + 1,
        configuration=command.configuration,
        cadence=command.cadence,
        retry=command.retry,
        reverted_from=command.reverted_from,
    )
    waits = isinstance(before.phase, Sleeping) and before.phase.reason == "cadence"
    if waits and command.cadence != before.cadence and command.cadence.kind != "once":
        recorder.record(JobSlept, reason="cadence", sleep_until=_next_scheduled(recorder) or recorder.at)


def _pause(recorder: EventRecorder, command: PauseJob) -> None:
    if command.until is not None and command.until <= recorder.at:
        raise JobRefusedError("until_in_the_past", {"until": rfc3339(command.until)})
    recorder.record(JobPaused, until=command.until)


def _resume(recorder: EventRecorder, *, run_now: bool = False) -> None:
    recorder.record(JobResumed)
    _enter_schedule(recorder, "resumed", run_now=run_now)


def _enter_schedule(recorder: EventRecorder, reason: StartReason, *, run_now: bool) -> None:
    """Start a job, or make it wait for its next scheduled run."""
    scheduled = _next_scheduled(recorder)
    if run_now:
        _start(recorder, "run_now")
    elif scheduled is None:
        _start_unless_blackout(recorder, reason)
    else:
        recorder.record(JobSlept, reason="cadence", sleep_until=scheduled)


def _next_scheduled(recorder: EventRecorder) -> datetime | None:
    job = recorder.job
    return next_scheduled(job.cadence, job.last_pass_started_at or job.created_at, recorder.at)


def _start(recorder: EventRecorder, reason: StartReason) -> None:
    recorder.record(JobStarted, run=recorder.job.run + 1, reason=reason)


def _start_unless_blackout(recorder: EventRecorder, reason: StartReason) -> None:
    until = blackout_until(recorder.job.cadence, recorder.at)
    if until is None:
        _start(recorder, reason)
    else:
        recorder.record(JobSlept, reason="blackout_window", sleep_until=until)


def _wake(recorder: EventRecorder) -> None:
    _check_due(recorder, WakeJob)
    if isinstance(recorder.job.phase, Paused):
        _resume(recorder)
    else:
        _start_unless_blackout(recorder, "woke")


def _check_due(recorder: EventRecorder, command: type[WakeJob | PurgeJob]) -> None:
    timer = _timer(recorder.job, recorder.at)
    if timer is None or timer[1] is not command or recorder.at < timer[0]:
        due = {"due": timer[1].__name__, "due_at": rfc3339(timer[0])} if timer else {}
        raise JobRefusedError("not_due", {"at": rfc3339(recorder.at), **due})


def _progress(recorder: EventRecorder, report: ReportProgress) -> None:
    """Accept a report in any phase and run: its records are committed already and must not be read again."""
    if report.report != recorder.job.report + 1:
        raise JobRefusedError("report_out_of_order", {"report": report.report, "expected": recorder.job.report + 1})
    recorder.record(
        JobProgressed,
        run=report.run,
        report=report.report,
        cursor=report.cursor,
        counts=report.counts,
        imbalance=report.counts.imbalance,
        stream=report.stream,
        lane=report.lane,
        bytes_read=report.bytes_read,
        bytes_total=report.bytes_total,
    )
    if report.pass_done and report.run == recorder.job.run and isinstance(recorder.job.phase, Running):
        _finish_pass(recorder)


def _finish_pass(recorder: EventRecorder) -> None:
    job = recorder.job
    started = job.pass_started_at or recorder.at
    recorder.record(JobSynced, run=job.run, counts=job.pass_counts)
    next_pass = next_start(job.cadence, started, recorder.at)
    if next_pass is None:
        recorder.record(JobCompleted, run=job.run)
    else:
        recorder.record(JobSlept, reason="cadence", sleep_until=next_pass)


def _error(recorder: EventRecorder, report: ReportError) -> None:
    _check_run(recorder, report.run)
    job = recorder.job
    streak = Streak(
        consecutive=1 + (job.streak.consecutive if job.streak else 0),
        since=job.streak.since if job.streak else recorder.at,
    )
    cause = {"code": report.code, "params": fit_params(report.params)}
    recorder.record(
        JobErrored,
        run=report.run,
        fault=report.fault,
        advice=report.advice,
        **cause,
        detail=truncate(report.detail, MAX_TEXT_CHARACTERS),
        consecutive=streak.consecutive,
        first_error_at=streak.since,
    )
    outlasts = report.advice == "restore_source" and job.cadence.kind != "once"
    if report.advice in INCURABLE and not outlasts:
        recorder.record(JobFailed, reason="incurable", **cause, first_error_at=streak.since)
        return
    retry_after = clamp_retry_after(report.retry_after_seconds)
    policy = job.retry
    if outlasts and is_frequent(job.cadence):
        policy = replace(policy, base_seconds=int(poll_interval(job.cadence).total_seconds()))
    outcome = after_error(policy, streak, recorder.at, recorder.seed, retry_after)
    if outlasts:
        outcome = _within_schedule(recorder, outcome)
    if isinstance(outcome, GiveUp):
        recorder.record(JobFailed, reason="errors_too_long", **cause, first_error_at=streak.since)
    else:
        recorder.record(
            JobSlept,
            reason="error_backoff",
            sleep_until=outcome.at,
            **cause,
            backoff_ceiling_seconds=outcome.ceiling_seconds,
            retry_after_seconds=retry_after,
        )


def _within_schedule(recorder: EventRecorder, outcome: Retry | GiveUp) -> Retry:
    """Return the retry of a recurring job whose source is unavailable: at its next scheduled run at the latest.

    It never gives up. A continuous job has no schedule: after the time for retries it continues with the longest delay.
    """
    cap = recorder.job.retry.cap_seconds
    scheduled = _next_scheduled(recorder)
    if isinstance(outcome, GiveUp):
        return Retry(scheduled or recorder.at + timedelta(seconds=cap), cap)
    return replace(outcome, at=min(outcome.at, scheduled)) if scheduled else outcome


def _rate_limit(recorder: EventRecorder, report: ReportRateLimit) -> None:
    _check_run(recorder, report.run)
    retry_after = clamp_retry_after(report.retry_after_seconds)
    recorder.record(
        JobSlept,
        reason="rate_limit",
        sleep_until=after_rate_limit(recorder.job.retry, recorder.at, retry_after),
        code=report.code,
        params=fit_params(report.params),
        retry_after_seconds=retry_after,
    )


def _check_run(recorder: EventRecorder, run: int) -> None:
    if run != recorder.job.run:
        raise JobRefusedError("stale_run", {"run": run, "current": recorder.job.run})


def next_timer(job: Job | None) -> tuple[datetime, type[WakeJob | PurgeJob]] | None:
    """Return the next time at which the scheduler has to issue a command for a job, and which; None: never."""
    return None if job is None else _timer(job, job.updated_at)


def _timer(job: Job, now: datetime) -> tuple[datetime, type[WakeJob | PurgeJob]] | None:
    phase = job.phase
    match phase:
        case Running():
            blackout = next_blackout(job.cadence, phase.since, now)
            return (blackout, WakeJob) if blackout else None
        case Sleeping():
            return phase.until, WakeJob
        case Paused(until=until) if until is not None:
            return until, WakeJob
        case Failed() | Paused() | Completed() | Killed():
            return phase.since + RETENTION, PurgeJob
        case Purged():
            return None
        case _:
            assert_never(phase)
