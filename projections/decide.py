"""What a command leads to: events, or a refusal that says why and what would do. Pure and total.

What is allowed when stands in `transitions`; here is what it means.
"""

from datetime import datetime, timedelta
from typing import Final, assert_never

from projections.acceptance import check_command, check_settings
from projections.cadence import next_quiet, next_start, quiet_until
from projections.job_state import Absent, Completed, Failed, Job, JobState, Killed, Paused, Purged, Running, Sleeping
from projections.retry import INCURABLE, GiveUp, Streak, after_error, later
from projections.story import RefusedError, Story
from projections.transitions import allowed_for_people
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

REST: Final = timedelta(days=90)  # how long a job that rests is kept before it is purged


def decide(state: JobState, command: JobCommand, offset: int) -> tuple[JobEvent, ...]:
    """Return what a command, found at `offset` of its partition, leads to; nothing, when it was seen before."""
    if isinstance(state, Job) and (offset <= state.command_offset or command.command_id in state.recent_commands):
        return ()
    story = Story(state, command, offset)
    try:
        check_command(state, command)
        _act(story, command)
    except RefusedError as refusal:
        phase = "Absent" if isinstance(state, Absent) else state.status
        story = Story(state, command, offset)
        story.tell(
            CommandRefused,
            command=type(command).__name__,
            code=refusal.code,
            message=refusal.message,
            allowed=allowed_for_people(phase),
            revision=0 if isinstance(state, Absent) else state.revision,
        )
    return tuple(story.events)


def _act(story: Story, command: JobCommand) -> None:  # noqa: C901, PLR0912  # one line for each command, closed and complete
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
            _purge(story)
        case ReportProgress():
            _progress(story, command)
        case ReportError():
            _error(story, command)
        case ReportRateLimit():
            _rate_limit(story, command)
        case _:
            assert_never(command)


def _create(story: Story, command: CreateJob) -> None:
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


def _configure(story: Story, command: ConfigureJob) -> None:
    check_settings(command.configuration, command.cadence, command.retry, story.at)
    story.tell(
        JobConfigured,
        version=story.job.configuration_version + 1,
        configuration=command.configuration,
        cadence=command.cadence,
        retry=command.retry,
        reverted_from=command.reverted_from,
    )


def _pause(story: Story, command: PauseJob) -> None:
    if command.until is not None and command.until <= story.at:
        raise RefusedError("until_in_the_past", f"the pause would have ended at {command.until.isoformat()}")
    story.tell(JobPaused, until=command.until)


def _resume(story: Story) -> None:
    story.tell(JobResumed)
    _start_unless_quiet(story, "resumed")


def _start(story: Story, reason: StartReason) -> None:
    story.tell(JobStarted, run=story.job.run + 1, reason=reason)


def _start_unless_quiet(story: Story, reason: StartReason) -> None:
    until = quiet_until(story.job.cadence, story.at)
    if until is None:
        _start(story, reason)
    else:
        story.tell(JobSlept, reason="quiet_window", sleep_until=until)


def _wake(story: Story) -> None:
    phase = story.job.phase
    match phase:
        case Sleeping() if story.at >= phase.until:
            _start_unless_quiet(story, "woke")
        case Paused(until=until) if until is not None and story.at >= until:
            _resume(story)
        case Running() if (until := quiet_until(story.job.cadence, story.at)) is not None:
            story.tell(JobSlept, reason="quiet_window", sleep_until=until)
        case _:
            raise RefusedError("not_due", f"nothing was due for the job at {story.at.isoformat()}")


def _purge(story: Story) -> None:
    if story.at < story.job.phase.since + REST:
        raise RefusedError("not_due", f"the job rests since {story.job.phase.since.isoformat()}, not for 90 days yet")
    story.tell(JobPurged)


def _progress(story: Story, report: ReportProgress) -> None:
    """Take a report in whatever phase and run: its records are on the topic already, and must never come twice."""
    if report.report != story.job.report + 1:
        raise RefusedError(
            "report_out_of_order", f"report {report.report} came where report {story.job.report + 1} was due"
        )
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


def _finish_pass(story: Story) -> None:
    job = story.job
    started = job.pass_started_at or story.at
    story.tell(JobSynced, run=job.run, counts=job.pass_counts)
    again = next_start(job.cadence, started, story.at)
    if again is None:
        story.tell(JobCompleted, run=job.run)
    else:
        story.tell(JobSlept, reason="cadence", sleep_until=again)


def _error(story: Story, report: ReportError) -> None:
    _check_run(story, report.run)
    job = story.job
    streak = Streak(
        consecutive=1 + (job.streak.consecutive if job.streak else 0),
        since=job.streak.since if job.streak else story.at,
    )
    story.tell(
        JobErrored,
        run=report.run,
        fault=report.fault,
        advice=report.advice,
        code=report.code,
        message=report.message,
        detail=report.detail,
        consecutive=streak.consecutive,
        first_error_at=streak.since,
    )
    failed = {"code": report.code, "message": report.message, "first_error_at": streak.since}
    if report.advice in INCURABLE:
        story.tell(JobFailed, reason="incurable", **failed)
        return
    outcome = after_error(job.retry, streak, story.at, story.seed, report.retry_after_seconds)
    if isinstance(outcome, GiveUp):
        story.tell(JobFailed, reason="errors_too_long", **failed)
    else:
        story.tell(
            JobSlept,
            reason="error_backoff",
            sleep_until=outcome.at,
            message=report.message,
            backoff_ceiling_seconds=outcome.ceiling_seconds,
            retry_after_seconds=report.retry_after_seconds,
        )


def _rate_limit(story: Story, report: ReportRateLimit) -> None:
    _check_run(story, report.run)
    story.tell(
        JobSlept,
        reason="rate_limit",
        sleep_until=later(story.at, report.retry_after_seconds),
        message=report.message,
        retry_after_seconds=report.retry_after_seconds,
    )


def _check_run(story: Story, run: int) -> None:
    if run != story.job.run:
        raise RefusedError("stale_run", f"run {run} is over; the job is in run {story.job.run}")


def next_look(state: JobState) -> tuple[datetime, type[WakeJob | PurgeJob]] | None:
    """Return when the clock has to look at a job next, and with which command; None: never."""
    if isinstance(state, Absent):
        return None
    phase = state.phase
    match phase:
        case Running():
            quiet = next_quiet(state.cadence, phase.since)
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
