"""The log of a job: one line for each event, with its numbers. Pure."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, assert_never

from app.sentences.codes import ACTIONS
from app.sentences.sentence import counted, sentence
from projections.jobs.state import Job, Sleeping
from schemas.coded import Params, truncate
from schemas.commands import Counts
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

LogKind = Literal[
    "Started", "Synced", "Error", "Sleeping", "Failed", "Completed", "Created", "Configured", "Renamed", "Described",
    "Paused", "Resumed", "Killed", "Restored", "CursorMoved", "Purged", "Refused", "Queued",
]  # fmt: skip

START_REASONS: Final = {
    "created": "new job",
    "resumed": "resumed",
    "run_now": "triggered manually",
    "woke": "schedule triggered",
}
WAKE_REASONS: Final = {
    "error_backoff": "retry after an error",
    "rate_limit": "retry after the rate limit",
    "blackout_window": "the blackout window ended",
}
SLEEP_REASONS: Final = {
    "cadence": "until the next scheduled run",
    "error_backoff": "waiting after an error",
    "rate_limit": "rate limit",
    "blackout_window": "blackout window",
}
MAX_CURSOR_CHARACTERS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line; `code` and `params` are those of an error or a refusal, `detail` has the provider's own words."""

    job_id: str
    seq: int
    at: datetime
    kind: LogKind
    message: str
    by: str
    detail: str = ""
    code: str = ""
    params: Params = field(default_factory=dict, hash=False)


def log_line(event: JobEvent, before: Job | None) -> LogLine | None:
    """Return the line of an event, given the job before it; None for progress and for the end of a wait."""
    line = _line(event, before)
    if line is None:
        return None
    kind, message = line
    code, params = _coded(event)
    return LogLine(
        job_id=event.job_id,
        seq=event.seq,
        at=event.occurred_at,
        kind=kind,
        message=message,
        by=event.actor,
        detail=event.detail if isinstance(event, JobErrored) else "",
        code=code,
        params=params,
    )


def _coded(event: JobEvent) -> tuple[str, Params]:
    match event:
        case JobErrored() | JobSlept() | JobFailed() | CommandRefused():
            return event.code, event.params
        case _:
            return "", {}


def _line(event: JobEvent, before: Job | None) -> tuple[LogKind, str] | None:  # noqa: C901, PLR0911, PLR0912  # one line for each event, closed and complete
    match event:
        case JobCreated():
            return "Created", _created(event)
        case JobRenamed():
            return _renamed(event, before)
        case JobConfigured():
            return "Configured", _configured(event)
        case JobStarted():
            return "Started", _started(event, before)
        case JobQueued():
            return "Queued", f"Queued: run {event.run} waits for a free slot"
        case JobProgressed() | JobDequeued():
            return None
        case JobSynced():
            return "Synced", f"Synced: {counts_in_words(event.counts)}"
        case JobErrored():
            return "Error", _error(event, before)
        case JobSlept():
            return "Sleeping", _sleeping(event, before)
        case JobFailed():
            return "Failed", _failed(event)
        case JobPaused():
            return "Paused", f"Paused until {clock(event.until)}" if event.until else "Paused"
        case JobResumed():
            return "Resumed", "Resumed"
        case JobCompleted():
            return "Completed", f"Completed after {counted(event.run, 'run')}"
        case JobKilled():
            return "Killed", "Killed: archived; it can be restored for 90 days"
        case JobRestored():
            return "Restored", "Restored, paused"
        case JobCursorEdited():
            return "CursorMoved", _cursor_edited(event)
        case JobPurged():
            return "Purged", "Purged: the retention of 90 days expired"
        case CommandRefused():
            return "Refused", _refused(event)
        case _:
            assert_never(event)


def _created(event: JobCreated) -> str:
    draft = " (draft)" if event.draft else ""
    return f"Created “{event.name}”: {event.kind} with {event.provider}/{event.job_type}{draft}"


def _started(event: JobStarted, before: Job | None) -> str:
    reason = START_REASONS.get(event.reason, event.reason)
    if event.reason == "woke" and before and isinstance(before.phase, Sleeping):
        reason = WAKE_REASONS.get(before.phase.reason, reason)
    return f"Started run {event.run}: {reason}"


def _renamed(event: JobRenamed, before: Job | None) -> tuple[LogKind, str]:
    if before and before.name == event.name:
        return "Described", "Description changed"
    return "Renamed", f"Renamed to “{event.name}”"


def _configured(event: JobConfigured) -> str:
    back = f", reverted to version {event.reverted_from}" if event.reverted_from else ""
    return f"Configured: version {event.version}{back}"


def _cursor_edited(event: JobCursorEdited) -> str:
    before, after = (truncate(text, MAX_CURSOR_CHARACTERS) for text in (event.previous, event.cursor))
    return f"Cursor moved from {before} to {after}"


def _refused(event: CommandRefused) -> str:
    pointer = event.params.get("pointer")
    where = f"{pointer}: " if pointer else ""
    command = ACTIONS.get(event.command, event.command)
    return f"Refused {command}: {where}{sentence(event.code, event.params)}"


def _error(event: JobErrored, before: Job | None) -> str:
    streak = f" ({event.consecutive:,} in a row since {clock(event.first_error_at)})"
    return f"Error: {_cause(event, before)}{streak if event.consecutive > 1 else ''}"


def _sleeping(event: JobSlept, before: Job | None) -> str:
    """Return the reason; the cause of a back-off is in the line of the error before it."""
    cause = f" ({_cause(event, before)})" if event.code and event.reason != "error_backoff" else ""
    reason = SLEEP_REASONS.get(event.reason, event.reason)
    return f"Sleeping until {clock(event.sleep_until)}: {reason}{cause}"


def _failed(event: JobFailed) -> str:
    """Return why it is not retried; the cause is in the line of the error before it."""
    if event.reason == "incurable":
        return "Failed: permanent error, not retried"
    return f"Failed: only errors for {duration(event.occurred_at - event.first_error_at)}"


def _cause(event: JobErrored | JobSlept, before: Job | None) -> str:
    return sentence(event.code, event.params, before.provider if before else "")


def counts_in_words(counts: Counts) -> str:
    """Return the counts of records: `read` and `accepted`, and the others that are not 0."""
    if counts == Counts():
        return "no new records"
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
    """Return a moment with its date, to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def duration(span: timedelta) -> str:
    """Return a duration in its two largest units."""
    seconds = max(0, int(span.total_seconds()))
    units = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
    parts = []
    for name, size in units:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(counted(count, name))
    return " ".join(parts[:2]) or "0 seconds"
