"""What a record of `jobs.events` tells. Every reader has to see every record alike: the views, the runner, the proof.

An event that follows from no command at all is no event, however well it is written: nobody who folds it could go on.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast, get_args

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
from projections.jobs.recorder import FIRST_YEAR, MAX_TEXT_CHARACTERS, JobRefusedError, is_sane
from schemas.commands import MAX_TOTAL, JobCommand
from schemas.definitions import DefinitionEvent
from schemas.events import (
    CommandRefused,
    JobCompleted,
    JobConfigured,
    JobCreated,
    JobCursorEdited,
    JobErrored,
    JobEvent,
    JobFailed,
    JobPaused,
    JobProgressed,
    JobRenamed,
    JobSlept,
    JobStarted,
    JobSynced,
)
from schemas.names import JOB_ID, STREAM_NAME, is_job_id, is_stream_name
from schemas.wire.catalog import UnknownSchemaError
from schemas.wire.codec import MalformedRecordError, Word, decode

EVENTS: Final = get_args(JobEvent)
DEFINITION_EVENTS: Final = get_args(DefinitionEvent)
MAX_COMMANDS: Final = len(get_args(JobCommand))


class UnreadableEventError(ValueError):
    """The record tells nothing; the projector makes a dead letter of it. The message says what was found."""


def read_event(value: bytes | None) -> JobEvent:
    """Return the event in a record.

    Raises:
        UnreadableEventError: there is none, or one that no command leads to.

    """
    word = _word(value)
    if not isinstance(word, EVENTS):
        raise UnreadableEventError(f"a {type(word).__name__} is not an event")
    event = cast("JobEvent", word)
    try:
        _check_envelope(event)
        if check := _CHECKS.get(type(event)):
            check(event)
    except JobRefusedError as error:
        raise UnreadableEventError(f"no command leads to this {type(event).__name__}: {error}") from error
    return event


def read_definition_event(value: bytes | None) -> DefinitionEvent:
    """Return the event in a record of `definitions.events`.

    Raises:
        UnreadableEventError: there is none.

    """
    word = _word(value)
    if not isinstance(word, DEFINITION_EVENTS):
        raise UnreadableEventError(f"a {type(word).__name__} is not an event of a definition")
    return cast("DefinitionEvent", word)


def _word(value: bytes | None) -> Word:
    try:
        return decode(value or b"")
    except (MalformedRecordError, UnknownSchemaError) as error:
        raise UnreadableEventError(str(error)) from error


def _check_envelope(event: JobEvent) -> None:
    if not is_job_id(event.job_id):
        raise JobRefusedError("bad_id", JOB_ID)
    check_words(event.event_id, event.command_id, event.actor)
    check_numbers(event.seq, event.command_offset)
    refusal_of_nothing = event.seq == 0 and isinstance(event, CommandRefused)
    if not refusal_of_nothing and (event.seq < 1 or not is_sane(event.occurred_at)):
        raise JobRefusedError("bad_time", f"it is the job's event {event.seq}, of the year {event.occurred_at.year}")


def _created(event: JobCreated) -> None:
    if event.seq != 1:
        raise JobRefusedError("bad_seq", f"it is the job's event {event.seq}")
    check_words(event.provider, event.job_type, event.kind)
    check_name(event.name, event.description)
    check_settings(event.configuration, event.cadence, event.retry, event.occurred_at)


def _renamed(event: JobRenamed) -> None:
    check_name(event.name, event.description)


def _configured(event: JobConfigured) -> None:
    check_numbers(event.version, event.reverted_from or 0)
    check_settings(event.configuration, event.cadence, event.retry, event.occurred_at)


def _ran(event: JobStarted | JobCompleted) -> None:
    check_numbers(event.run)


def _progressed(event: JobProgressed) -> None:
    check_numbers(event.run, event.report)
    check_counts(event.counts, MAX_COUNT)
    check_bytes(event.bytes_read, event.bytes_total or 0)
    check_words(event.lane)
    check_cursor(event.cursor)
    if event.stream and not is_stream_name(event.stream):
        raise JobRefusedError("bad_stream", STREAM_NAME)
    if event.imbalance != event.counts.imbalance:
        raise JobRefusedError(
            "bad_counts", f"its counts don't add up by {event.counts.imbalance}, not {event.imbalance}"
        )


def _synced(event: JobSynced) -> None:
    check_numbers(event.run)
    check_counts(event.counts, MAX_TOTAL)


def _errored(event: JobErrored) -> None:
    check_numbers(event.run, event.consecutive)
    check_words(event.code)
    _check_texts(event.message, event.detail)
    _check_moment(event.first_error_at)


def _slept(event: JobSlept) -> None:
    _check_texts(event.message)
    _check_moment(event.sleep_until)
    for seconds in (event.backoff_ceiling_seconds, event.retry_after_seconds):
        if seconds is not None and not 0 <= seconds <= MAX_SECONDS:
            raise JobRefusedError("bad_seconds", f"it waits for {seconds} seconds")


def _failed(event: JobFailed) -> None:
    check_words(event.code)
    _check_texts(event.message)
    _check_moment(event.first_error_at)


def _paused(event: JobPaused) -> None:
    if event.until is not None:
        _check_moment(event.until)


def _cursor_edited(event: JobCursorEdited) -> None:
    check_numbers(event.report)
    check_cursor(event.cursor)
    check_cursor(event.previous)


def _refused(event: CommandRefused) -> None:
    check_numbers(event.revision)
    check_words(event.command, event.code, *event.allowed)
    if len(event.allowed) > MAX_COMMANDS:
        raise JobRefusedError("bad_list", f"it allows {len(event.allowed)} commands")
    _check_texts(event.message)


def _check_texts(*texts: str) -> None:
    if any(len(each) > MAX_TEXT_CHARACTERS for each in texts):
        raise JobRefusedError("bad_text", f"a text of it has more than {MAX_TEXT_CHARACTERS} characters")


def _check_moment(moment: datetime) -> None:
    if moment.year < FIRST_YEAR:
        raise JobRefusedError("bad_time", f"it names a moment of the year {moment.year}")


_CHECKS: Final[Mapping[type, Callable[[Any], None]]] = {
    JobCreated: _created,
    JobRenamed: _renamed,
    JobConfigured: _configured,
    JobStarted: _ran,
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
