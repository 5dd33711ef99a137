"""Conversion between datetimes and microseconds since 1970 UTC."""

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
EARLIEST: Final = -62_135_596_800_000_000  # microseconds, of the year 1
LATEST: Final = 253_402_300_799_999_999  # of the year 9999


def micros(moment: datetime) -> int:
    """Return the microseconds since 1970 UTC of a datetime."""
    return (moment - EPOCH) // MICROSECOND


def rfc3339(moment: datetime) -> str:
    """Return a moment in UTC as RFC 3339 with microseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment(stored: int) -> datetime:
    """Return the datetime of microseconds since 1970 UTC."""
    return EPOCH + stored * MICROSECOND
