"""A job in two plain sentences: what it does, how it stands and what comes next. Pure; it knows no present moment."""

from datetime import datetime, timedelta
from typing import Final, assert_never

from projections.jobs.state import Completed, Failed, Job, Killed, Paused, Purged, Running, Sleeping
from projections.views.job_log import SLEEP_REASONS, clock, counts_in_words, duration
from schemas.policies import Cadence

VERBS: Final = {"import": "Imports", "export": "Exports", "enrichment": "Enriches"}


def next_wake(job: Job) -> datetime | None:
    """Return when a job goes on by itself; None when it works, or waits for a person."""
    match job.phase:
        case Sleeping(until=until) | Paused(until=until):
            return until
        case _:
            return None


def summary(job: Job) -> str:
    """Return what a job does, how it stands and what comes next."""
    does = f"{VERBS.get(job.kind, job.kind)} with {job.provider}/{job.job_type}, {cadence_in_words(job.cadence)}."
    return f"{does} {_stands(job)}"


def _stands(job: Job) -> str:  # noqa: PLR0911  # one line for each phase, closed and complete
    phase = job.phase
    match phase:
        case Running():
            done = f": {counts_in_words(job.pass_counts)} in this pass" if job.pass_counts.read else ""
            return f"Running since {clock(phase.since)}{done}{_errors(job)}."
        case Sleeping():
            reason = SLEEP_REASONS.get(phase.reason, phase.reason)
            said = f" ({phase.message})" if phase.message else ""
            return f"Sleeping until {clock(phase.until)}: {reason}{said}{_errors(job)}."
        case Failed():
            return f"Failed at {clock(phase.since)}: {phase.message or phase.code}. It waits for a person to resume it."
        case Paused(draft=True):
            return "A draft: it waits to be started."
        case Paused():
            ends = f"until {clock(phase.until)}" if phase.until else "until a person resumes it"
            return f"Paused since {clock(phase.since)}, {ends}."
        case Completed():
            return f"Completed at {clock(phase.since)}: {counts_in_words(job.total_counts)} in all."
        case Killed():
            return f"Killed at {clock(phase.since)}; it can be restored until it is purged."
        case Purged():
            return f"Purged at {clock(phase.since)}."
        case _:
            assert_never(phase)


def _errors(job: Job) -> str:
    if job.streak is None:
        return ""
    plural = "" if job.streak.consecutive == 1 else "s in a row"
    return f"; {job.streak.consecutive:,} error{plural} since {clock(job.streak.since)}"


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
            often = f"by the cron expression `{cadence.cron}` ({cadence.time_zone})"
        case _:
            assert_never(cadence.kind)
    return f"{often}, with quiet windows" if cadence.quiet else often
