"""What a command leads to: events, or a refusal that says why and what would do. Pure and total.

What is allowed when stands in `transitions`; here is what it means.
"""

from datetime import datetime, timedelta
from typing import Final, assert_never

from projections.jobs.cadence import next_quiet, next_start, quiet_until
from projections.jobs.command_checks import check_command, check_settings
from projections.jobs.recorder import MAX_TEXT_CHARACTERS, EventRecorder, JobRefusedError
from projections.jobs.retry import INCURABLE, GiveUp, Streak, after_error, after_rate_limit, asked
from projections.jobs.state import Completed, Failed, Job, JobState, Killed, NoJob, Paused, Purged, Running, Sleeping
from projections.jobs.transitions import allowed_for_people
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
    JobErrored,
    JobEvent,
    JobFailed,
    JobKilled,
    JobPaused,
    JobProgressed,
    JobPurged,
    JobRenamed,
    JobRestored,
    JobResumed,
    JobSlept,
    JobStarted,
    JobSynced,
    StartReason,
)
from schemas.instants import rfc3339

REST: Final = timedelta(days=90)  # how long a job that rests is kept before it is purged


def handle(state: JobState, command: JobCommand, offset: int) -> tuple[JobState, tuple[JobEvent, ...]]:
    """Decide the command at `offset` of its partition. Return the next state and the events; none if handled before."""
    if isinstance(state, Job) and (offset <= state.command_offset or command.command_id in state.recent_commands):
        return state, ()
    story = EventRecorder(state, command, offset)
    try:
        check_command(state, command)
        _act(story, command)
    except JobRefusedError as refusal:
        phase = "Absent" if isinstance(state, NoJob) else state.status
        story = EventRecorder(state, command, offset)
        story.tell(
            CommandRefused,
            command=type(command).__name__,
            code=refusal.code,
            params=fit_params(refusal.params),
            allowed=allowed_for_people(phase),
            revision=0 if isinstance(state, NoJob) else state.revision,
        )
    return story.state, tuple(story.events)


def _act(story: EventRecorder, command: JobCommand) -> None:  # noqa: C901, PLR0912  # one line for each command, closed and complete
    match command:
        case CreateJob():
            _create(story, command)
        case RenameJob():
            story.tell(JobRenamed, name=command.name, description=command.description)
        case ConfigureJob():
            _configure(story, command)
        case PauseJob():
            _pause(story, command)
        case ResumeJob():
            _resume(story)
        case RunJob():
            _start(story, "run_now")
        case KillJob():
            story.tell(JobKilled)
        case RestoreJob():
            story.tell(JobRestored)
        case EditCursor():
            story.tell(JobCursorEdited, cursor=command.cursor, previous=story.job.cursor, report=story.job.report + 1)
        case WakeJob():
            _wake(story)
        case PurgeJob():
            _check_due(story, PurgeJob)
            story.tell(JobPurged)
        case ReportProgress():
            _progress(story, command)
        case ReportError():
            _error(story, command)
        case ReportRateLimit():
            _rate_limit(story, command)
        case _:
            assert_never(command)


def _create(story: EventRecorder, command: CreateJob) -> None:
    check_settings(command.configuration, command.cadence, command.retry, story.at)
    story.tell(
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
        _start_unless_quiet(story, "created")


def _configure(story: EventRecorder, command: ConfigureJob) -> None:
    check_settings(command.configuration, command.cadence, command.retry, story.at)
    story.tell(
        JobConfigured,
        version=story.job.configuration_version + 1,
        configuration=command.configuration,
        cadence=command.cadence,
        retry=command.retry,
        reverted_from=command.reverted_from,
    )


def _pause(story: EventRecorder, command: PauseJob) -> None:
    if command.until is not None and command.until <= story.at:
        raise JobRefusedError("until_in_the_past", {"until": rfc3339(command.until)})
    story.tell(JobPaused, until=command.until)


def _resume(story: EventRecorder) -> None:
    story.tell(JobResumed)
    _start_unless_quiet(story, "resumed")


def _start(story: EventRecorder, reason: StartReason) -> None:
    story.tell(JobStarted, run=story.job.run + 1, reason=reason)


def _start_unless_quiet(story: EventRecorder, reason: StartReason) -> None:
    until = quiet_until(story.job.cadence, story.at)
    if until is None:
        _start(story, reason)
    else:
        story.tell(JobSlept, reason="quiet_window", sleep_until=until)


def _wake(story: EventRecorder) -> None:
    _check_due(story, WakeJob)
    if isinstance(story.job.phase, Paused):
        _resume(story)
    else:
        _start_unless_quiet(story, "woke")


def _check_due(story: EventRecorder, command: type[WakeJob | PurgeJob]) -> None:
    look = _look(story.job, story.at)
    if look is None or look[1] is not command or story.at < look[0]:
        due = {"due": look[1].__name__, "due_at": rfc3339(look[0])} if look else {}
        raise JobRefusedError("not_due", {"at": rfc3339(story.at), **due})


def _progress(story: EventRecorder, report: ReportProgress) -> None:
    """Take a report in whatever phase and run: its records are on the topic already, and must never come twice."""
    if report.report != story.job.report + 1:
        raise JobRefusedError("report_out_of_order", {"report": report.report, "expected": story.job.report + 1})
    story.tell(
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
    if report.pass_done and report.run == story.job.run and isinstance(story.job.phase, Running):
        _finish_pass(story)


def _finish_pass(story: EventRecorder) -> None:
    job = story.job
    started = job.pass_started_at or story.at
    story.tell(JobSynced, run=job.run, counts=job.pass_counts)
    again = next_start(job.cadence, started, story.at)
    if again is None:
        story.tell(JobCompleted, run=job.run)
    else:
        story.tell(JobSlept, reason="cadence", sleep_until=again)


def _error(story: EventRecorder, report: ReportError) -> None:
    _check_run(story, report.run)
    job = story.job
    streak = Streak(
        consecutive=1 + (job.streak.consecutive if job.streak else 0),
        since=job.streak.since if job.streak else story.at,
    )
    cause = {"code": report.code, "params": fit_params(report.params)}
    story.tell(
        JobErrored,
        run=report.run,
        fault=report.fault,
        advice=report.advice,
        **cause,
        detail=truncate(report.detail, MAX_TEXT_CHARACTERS),
        consecutive=streak.consecutive,
        first_error_at=streak.since,
    )
    if report.advice in INCURABLE:
        story.tell(JobFailed, reason="incurable", **cause, first_error_at=streak.since)
        return
    asked_seconds = asked(report.retry_after_seconds)
    outcome = after_error(job.retry, streak, story.at, story.seed, asked_seconds)
    if isinstance(outcome, GiveUp):
        story.tell(JobFailed, reason="errors_too_long", **cause, first_error_at=streak.since)
    else:
        story.tell(
            JobSlept,
            reason="error_backoff",
            sleep_until=outcome.at,
            **cause,
            backoff_ceiling_seconds=outcome.ceiling_seconds,
            retry_after_seconds=asked_seconds,
        )


def _rate_limit(story: EventRecorder, report: ReportRateLimit) -> None:
    _check_run(story, report.run)
    asked_seconds = asked(report.retry_after_seconds)
    story.tell(
        JobSlept,
        reason="rate_limit",
        sleep_until=after_rate_limit(story.job.retry, story.at, asked_seconds),
        code=report.code,
        params=fit_params(report.params),
        retry_after_seconds=asked_seconds,
    )


def _check_run(story: EventRecorder, run: int) -> None:
    if run != story.job.run:
        raise JobRefusedError("stale_run", {"run": run, "current": story.job.run})


def next_timer(state: JobState) -> tuple[datetime, type[WakeJob | PurgeJob]] | None:
    """Return when the clock has to look at a job next, and with which command; None: never."""
    return None if isinstance(state, NoJob) else _look(state, state.updated_at)


def _look(job: Job, now: datetime) -> tuple[datetime, type[WakeJob | PurgeJob]] | None:
    phase = job.phase
    match phase:
        case Running():
            quiet = next_quiet(job.cadence, phase.since, now)
            return (quiet, WakeJob) if quiet else None
        case Sleeping():
            return phase.until, WakeJob
        case Paused(until=until) if until is not None:
            return until, WakeJob
        case Failed() | Paused() | Completed() | Killed():
            return phase.since + REST, PurgeJob
        case Purged():
            return None
        case _:
            assert_never(phase)
