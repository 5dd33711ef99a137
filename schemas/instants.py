"""Microseconds since 1970 UTC, and datetimes: one conversion for everybody."""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


MICROSECOND: Final = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """Return a moment as the tables keep it."""
    return (moment - EPOCH) // MICROSECOND


def moment(stored: int) -> datetime:
    """Return the moment that the tables keep."""
    return EPOCH + stored * MICROSECOND
