"""A job in two sentences: what it does and when, its status and what comes next. Pure, and independent of the time."""

from datetime import timedelta
from typing import assert_never

from app.sentences.job_log import SLEEP_REASONS, clock, counts_in_words, duration
from app.sentences.sentence import counted, sentence
from connectors.catalog import is_pushed
from projections.jobs.cadence import poll_interval
from projections.jobs.state import Completed, Failed, Job, Killed, Paused, Purged, Running, Sleeping, is_polled
from schemas.policies import Cadence


def summary(job: Job) -> str:
    """Return what a job does and when, its status and what comes next."""
    return f"{job.provider}/{job.job_type}, {cadence_in_words(job.cadence)}. {_status(job)}"


def status_label(job: Job) -> str:
    """Return the status for display; it shows whether a completed job rejected records."""
    return "Completed with rejects" if isinstance(job.phase, Completed) and job.total_counts.rejected else job.status


def _status(job: Job) -> str:  # noqa: PLR0911  # one line for each phase, closed and complete
    phase = job.phase
    match phase:
        case Running():
            done = f": {counts_in_words(job.pass_counts)} in this sync" if job.pass_counts.read else ""
            queued = f"; waiting for a free slot since {clock(phase.queued_at)}" if phase.queued_at else ""
            return f"Running since {clock(phase.since)}{done}{queued}{_errors(job)}."
        case Sleeping() if is_polled(job):
            often = duration(poll_interval(job.cadence))
            return f"Caught up since {clock(phase.since)}; checks for new records every {often}."
        case Sleeping():
            reason = SLEEP_REASONS.get(phase.reason, phase.reason)
            cause = f" ({sentence(phase.code, phase.params, job.provider)})" if phase.code else ""
            return f"Sleeping until {clock(phase.until)}: {reason}{cause}{_errors(job)}."
        case Failed():
            cause = sentence(phase.code, phase.params, job.provider)
            remedy = "Repeat the upload" if is_pushed(job.provider, job.job_type) else "Manual resume required"
            return f"Failed at {clock(phase.since)}: {cause}. {remedy}."
        case Paused(draft=True):
            return "Draft; not started yet."
        case Paused():
            ends = f"until {clock(phase.until)}" if phase.until else "until it is resumed"
            return f"Paused since {clock(phase.since)}, {ends}."
        case Completed():
            return f"{status_label(job)} at {clock(phase.since)}: {counts_in_words(job.total_counts)} in total."
        case Killed():
            return f"Killed at {clock(phase.since)}; it can be restored until it is purged."
        case Purged():
            return f"Purged at {clock(phase.since)}."
        case _:
            assert_never(phase)


def _errors(job: Job) -> str:
    if job.streak is None:
        return ""
    return f"; {counted(job.streak.consecutive, 'error', 'errors in a row')} since {clock(job.streak.since)}"


def cadence_in_words(cadence: Cadence) -> str:
    """Return how often a job runs."""
    match cadence.kind:
        case "once":
            often = "once"
        case "continuous":
            often = "continuously"
        case "interval":
            often = f"every {duration(timedelta(seconds=cadence.every_seconds))}"
        case "cron":
            often = f"cron `{cadence.cron}` ({cadence.time_zone})"
        case _:
            assert_never(cadence.kind)
    return f"{often}, with blackout windows" if cadence.blackout_windows else often
