"""What a record of `jobs.events` tells. Every reader has to see every record alike."""

from typing import Final, cast, get_args

from schemas.catalog import UnknownSchemaError
from schemas.events import JobEvent
from schemas.wire import MalformedRecordError, decode

EVENTS: Final = get_args(JobEvent)


class UnreadableEventError(ValueError):
    """The record tells nothing; the projector makes a dead letter of it. The message says what was found."""


def read_event(value: bytes | None) -> JobEvent:
    """Return the event in a record.

    Raises:
        UnreadableEventError: there is none.

    """
    try:
        word = decode(value or b"")
    except (MalformedRecordError, UnknownSchemaError) as error:
        raise UnreadableEventError(str(error)) from error
    if not isinstance(word, EVENTS):
        raise UnreadableEventError(f"a {type(word).__name__} is not an event")
    return cast("JobEvent", word)


def event_in(value: bytes | None) -> JobEvent | None:
    """Return the event in a record; None when there is none: that is told by the projector's dead letter."""
    try:
        return read_event(value)
    except UnreadableEventError:
        return None
