"""What a person reads in a job's log: one line for each thing that happened, with its numbers. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, assert_never

from projections.jobs.state import Job, JobState
from schemas.commands import Counts
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
)

LogKind = Literal[
    "Started", "Synced", "Error", "Sleeping", "Failed", "Completed", "Created", "Configured", "Renamed", "Described",
    "Paused", "Resumed", "Killed", "Restored", "CursorMoved", "Purged", "Refused",
]  # fmt: skip

START_REASONS: Final = {
    "created": "the job is new",
    "resumed": "it was resumed",
    "run_now": "it was asked to run now",
    "woke": "its time came",
}
SLEEP_REASONS: Final = {
    "cadence": "until its next turn",
    "error_backoff": "waiting after an error",
    "rate_limit": "rate limit",
    "quiet_window": "quiet window",
}
MAX_CURSOR_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line; `message` is for a person, `detail` is what the provider said, if it said more."""

    job_id: str
    seq: int
    at: datetime
    kind: LogKind
    message: str
    by: str
    detail: str = ""


def log_line(event: JobEvent, before: JobState) -> LogLine | None:
    """Return the line of an event in the life of a job as it was before; None for progress, which is counted."""
    told = _told(event, before)
    if told is None:
        return None
    kind, message = told
    return LogLine(
        job_id=event.job_id,
        seq=event.seq,
        at=event.occurred_at,
        kind=kind,
        message=message,
        by=event.actor,
        detail=event.detail if isinstance(event, JobErrored) else "",
    )


def _told(event: JobEvent, before: JobState) -> tuple[LogKind, str] | None:  # noqa: C901, PLR0911, PLR0912  # one line for each event, closed and complete
    match event:
        case JobCreated():
            return "Created", _created(event)
        case JobRenamed():
            return _renamed(event, before)
        case JobConfigured():
            return "Configured", _configured(event)
        case JobStarted():
            return "Started", f"Started run {event.run}: {START_REASONS.get(event.reason, event.reason)}"
        case JobProgressed():
            return None
        case JobSynced():
            return "Synced", f"Synced: {counts_in_words(event.counts)}"
        case JobErrored():
            return "Error", _error(event)
        case JobSlept():
            return "Sleeping", _sleeping(event)
        case JobFailed():
            return "Failed", _failed(event)
        case JobPaused():
            until = f" until {clock(event.until)}" if event.until else ""
            return "Paused", f"Paused{until}"
        case JobResumed():
            return "Resumed", "Resumed"
        case JobCompleted():
            return "Completed", f"Completed in run {event.run}: it did all that it was configured to do"
        case JobKilled():
            return "Killed", "Killed: stopped and put away; it can be restored"
        case JobRestored():
            return "Restored", "Restored: it is paused"
        case JobCursorEdited():
            return "CursorMoved", f"Cursor moved from {_short(event.previous)} to {_short(event.cursor)}"
        case JobPurged():
            return "Purged", "Purged: it rested for 90 days"
        case CommandRefused():
            return "Refused", f"Refused {event.command}: {event.message}"
        case _:
            assert_never(event)


def _created(event: JobCreated) -> str:
    draft = ", as a draft" if event.draft else ""
    return f"Created “{event.name}”: {event.kind} with {event.provider}/{event.job_type}{draft}"


def _renamed(event: JobRenamed, before: JobState) -> tuple[LogKind, str]:
    if isinstance(before, Job) and before.name == event.name:
        return "Described", "Description changed"
    return "Renamed", f"Renamed to “{event.name}”"


def _configured(event: JobConfigured) -> str:
    back = f", which brings back version {event.reverted_from}" if event.reverted_from else ""
    return f"Configured: version {event.version}{back}"


def _error(event: JobErrored) -> str:
    row = f" ({event.consecutive:,} in a row since {clock(event.first_error_at)})"
    return f"Error: {event.message or event.code}{row if event.consecutive > 1 else ''}"


def _sleeping(event: JobSlept) -> str:
    said = f" ({event.message})" if event.message else ""
    reason = SLEEP_REASONS.get(event.reason, event.reason)
    return f"Sleeping until {clock(event.sleep_until)}: {reason}{said}"


def _failed(event: JobFailed) -> str:
    said = event.message or event.code
    if event.reason == "incurable":
        return f"Failed: {said} (no retry can cure it)"
    return f"Failed: errors for {duration(event.occurred_at - event.first_error_at)}; the last: {said}"


def _short(cursor: str) -> str:
    return cursor if len(cursor) <= MAX_CURSOR_CHARACTERS else f"{cursor[:MAX_CURSOR_CHARACTERS]}…"


def counts_in_words(counts: Counts) -> str:
    """Return what became of records: `read` and `accepted`, and of the others what there is."""
    if counts == Counts():
        return "nothing new"
    others = (
        ("rejected", counts.rejected),
        ("duplicate", counts.duplicate),
        ("omitted", counts.omitted),
        ("added", counts.added),
        ("removed", counts.removed),
    )
    parts = [f"{counts.read:,} read", f"{counts.accepted:,} accepted"]
    return ", ".join([*parts, *(f"{count:,} {name}" for name, count in others if count)])


def clock(moment: datetime) -> str:
    """Return a moment for a person, with its day: nobody knows on which one it is read."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def duration(span: timedelta) -> str:
    """Return a length of time in its two largest units."""
    seconds = max(0, int(span.total_seconds()))
    units = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    parts = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
    return " ".join(parts[:2]) or "0 seconds"
