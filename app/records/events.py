"""What a record of `jobs.events` tells, for readers to whom one that tells nothing is no news."""

from projections.jobs.event_checks import UnreadableEventError, read_event
from schemas.events import JobEvent


def decode_event(value: bytes | None) -> JobEvent | None:
    """Return the event in a record; None when there is none: that is told by the projector's dead letter."""
    try:
        return read_event(value)
    except UnreadableEventError:
        return None
