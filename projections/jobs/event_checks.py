"""Decode and check records of `jobs.events` and `definitions.events`, the same way for every reader.

An event that no command can cause is rejected, however well-formed it is: folding it could fail.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast, get_args

from projections.decider import MIN_YEAR, is_plausible_time
from projections.jobs.command_checks import (
    MAX_COUNT,
    MAX_SECONDS,
    check_bytes,
    check_counts,
    check_cursor,
    check_name,
    check_numbers,
    check_settings,
    check_words,
)
from projections.jobs.recorder import MAX_TEXT_CHARACTERS, JobRefusedError
from schemas.coded import (
    MAX_PARAM_CHARACTERS,
    MAX_PARAMS,
    CodedError,
    are_bounded,
    caused_by,
    fit_params,
)
from schemas.commands import MAX_TOTAL, JobCommand
from schemas.definitions import DefinitionEvent
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
    JobPaused,
    JobProgressed,
    JobQueued,
    JobRenamed,
    JobSlept,
    JobStarted,
    JobSynced,
)
from schemas.names import MAX_JOB_ID, MAX_NAME_CHARACTERS, is_job_id, is_stream_name
from schemas.wire.catalog import UnreadableRecordError
from schemas.wire.codec import WireRecord, decode

EVENTS: Final = get_args(JobEvent)
DEFINITION_EVENTS: Final = get_args(DefinitionEvent)
MAX_COMMANDS: Final = len(get_args(JobCommand))


class UnreadableEventError(CodedError):
    """The record holds no event; the projector makes a dead letter of it."""


def read_event(value: bytes | None) -> JobEvent:
    """Return the event in a record.

    Raises:
        UnreadableEventError: the record holds no event, or one that no command can cause.

    """
    record = _decode(value)
    if not isinstance(record, EVENTS):
        raise UnreadableEventError("not_an_event", {"schema": type(record).__name__})
    event = cast("JobEvent", record)
    try:
        _check_envelope(event)
        if check := _CHECKS.get(type(event)):
            check(event)
    except JobRefusedError as error:
        cause = caused_by(error.code, fit_params(error.params))
        raise UnreadableEventError("impossible_event", {"event": type(event).__name__, **cause}) from error
    return event


def read_definition_event(value: bytes | None) -> DefinitionEvent:
    """Return the event in a record of `definitions.events`.

    Raises:
        UnreadableEventError: the record holds no such event.

    """
    record = _decode(value)
    if not isinstance(record, DEFINITION_EVENTS):
        raise UnreadableEventError("not_a_definition_event", {"schema": type(record).__name__})
    return cast("DefinitionEvent", record)


def _decode(value: bytes | None) -> WireRecord:
    try:
        return decode(value or b"")
    except UnreadableRecordError as error:
        raise UnreadableEventError(error.code, error.params, detail=error.detail) from error


def _check_envelope(event: JobEvent) -> None:
    if not is_job_id(event.job_id):
        raise JobRefusedError("bad_job_id", {"max": MAX_JOB_ID})
    check_words(event.event_id, event.command_id, event.actor)
    check_numbers(event.seq, event.command_offset)
    refuses_unknown_job = event.seq == 0 and isinstance(event, CommandRefused)
    if not refuses_unknown_job and (event.seq < 1 or not is_plausible_time(event.occurred_at)):
        raise JobRefusedError("bad_seq", {"seq": event.seq, "year": event.occurred_at.year})


def _created(event: JobCreated) -> None:
    if event.seq != 1:
        raise JobRefusedError("bad_seq", {"seq": event.seq, "year": event.occurred_at.year})
    check_words(event.provider, event.job_type, event.kind)
    check_name(event.name, event.description)
    check_settings(event.configuration, event.cadence, event.retry, event.occurred_at)


def _renamed(event: JobRenamed) -> None:
    check_name(event.name, event.description)


def _configured(event: JobConfigured) -> None:
    check_numbers(event.version, event.reverted_from or 0)
    check_settings(event.configuration, event.cadence, event.retry, event.occurred_at)


def _ran(event: JobStarted | JobQueued | JobDequeued | JobCompleted) -> None:
    check_numbers(event.run)


def _progressed(event: JobProgressed) -> None:
    check_numbers(event.run, event.report)
    check_counts(event.counts, MAX_COUNT)
    check_bytes(event.bytes_read, event.bytes_total or 0)
    check_words(event.lane)
    check_cursor(event.cursor)
    if event.stream and not is_stream_name(event.stream):
        raise JobRefusedError("bad_stream", {"max": MAX_NAME_CHARACTERS})
    if event.imbalance != event.counts.imbalance:
        raise JobRefusedError("bad_imbalance", {"found": event.imbalance, "expected": event.counts.imbalance})


def _synced(event: JobSynced) -> None:
    check_numbers(event.run)
    check_counts(event.counts, MAX_TOTAL)


def _errored(event: JobErrored) -> None:
    check_numbers(event.run, event.consecutive)
    _check_coded(event)
    if len(event.detail) > MAX_TEXT_CHARACTERS:
        raise JobRefusedError("text_too_long", {"max": MAX_TEXT_CHARACTERS})
    _check_time(event.first_error_at)


def _slept(event: JobSlept) -> None:
    _check_coded(event)
    _check_time(event.sleep_until)
    for seconds in (event.backoff_ceiling_seconds, event.retry_after_seconds):
        if seconds is not None and not 0 <= seconds <= MAX_SECONDS:
            raise JobRefusedError("bad_seconds", {"max": MAX_SECONDS})


def _failed(event: JobFailed) -> None:
    _check_coded(event)
    _check_time(event.first_error_at)


def _paused(event: JobPaused) -> None:
    if event.until is not None:
        _check_time(event.until)


def _cursor_edited(event: JobCursorEdited) -> None:
    check_numbers(event.report)
    check_cursor(event.cursor)
    check_cursor(event.previous)


def _refused(event: CommandRefused) -> None:
    check_numbers(event.revision)
    check_words(event.command, *event.allowed)
    if len(event.allowed) > MAX_COMMANDS:
        raise JobRefusedError("bad_list", {"max": MAX_COMMANDS})
    _check_coded(event)


def _check_coded(event: JobErrored | JobSlept | JobFailed | CommandRefused) -> None:
    check_words(event.code)
    if not are_bounded(event.params):
        raise JobRefusedError("bad_params", {"max": MAX_PARAMS, "max_characters": MAX_PARAM_CHARACTERS})


def _check_time(time: datetime) -> None:
    if time.year < MIN_YEAR:
        raise JobRefusedError("bad_time", {"year": time.year})


_CHECKS: Final[Mapping[type, Callable[[Any], None]]] = {
    JobCreated: _created,
    JobRenamed: _renamed,
    JobConfigured: _configured,
    JobStarted: _ran,
    JobQueued: _ran,
    JobDequeued: _ran,
    JobProgressed: _progressed,
    JobSynced: _synced,
    JobErrored: _errored,
    JobSlept: _slept,
    JobFailed: _failed,
    JobPaused: _paused,
    JobCompleted: _ran,
    JobCursorEdited: _cursor_edited,
    CommandRefused: _refused,
}
