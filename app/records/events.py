"""Decode records of `jobs.events`, for readers that skip invalid ones."""

from projections.jobs.event_checks import UnreadableEventError, read_event
from schemas.events import JobEvent


def decode_event(value: bytes | None) -> JobEvent | None:
    """Return the event; None when the record is invalid, which the projector reports as a dead letter."""
    try:
        return read_event(value)
    except UnreadableEventError:
        return None
