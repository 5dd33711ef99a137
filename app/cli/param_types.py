"""Timestamps and durations as option types of commands."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NoReturn

import click
from typing_extensions import override

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
DURATION_TEXT: Final = re.compile(r"([0-9]{1,9}[smhdw]){1,5}")
_TIMESTAMP: Final = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(\.\d+)? ?([A-Za-z]+|[+-]\d\d(?::?\d\d)?)", re.ASCII
)
TIME_FORMATS: Final = "2026-11-03T14:03:00Z, '2026-11-03 14:03:00 UTC', or 1h (an hour ago)."


def seconds(duration: str) -> int:
    """Return a duration such as `1h30m` in seconds."""
    return sum(int(count) * UNITS[unit] for count, unit in re.findall(r"(\d+)([smhdw])", duration))


class TimestampParam(click.ParamType):
    """A timestamp, converted to RFC 3339 in UTC: RFC 3339, the format of our tables, or a duration relative to now.

    A timestamp without a fraction means the begin or the end of that second: a table shows an event of 14:03:00.7 at
    14:03:00, and `--as-of` with that time must include it.
    """

    name = "time"

    def __init__(self, direction: Literal["ago", "ahead"], second: Literal["begin", "end"] = "begin") -> None:
        self._ahead = direction == "ahead"
        self._second = second

    @override
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Parse a timestamp."""
        try:
            parsed = self._from_now(value) if DURATION_TEXT.fullmatch(value) else self._parsed(value)
            return parsed.astimezone(UTC).isoformat().replace("+00:00", "Z")
        except (ValueError, OverflowError):
            self._refuse(value, param, ctx)

    def _from_now(self, duration: str) -> datetime:
        length = timedelta(seconds=seconds(duration))
        return datetime.now(UTC) + (length if self._ahead else -length)

    def _parsed(self, text: str) -> datetime:
        parts = _TIMESTAMP.fullmatch(text.strip())
        if parts is None:
            raise ValueError(text)
        wall, fraction, zone = parts.groups()
        parsed = _in_zone(datetime.fromisoformat(f"{wall.upper()}{fraction or ''}"), zone)
        if self._second == "end" and fraction is None:
            return parsed + timedelta(microseconds=999_999)
        return parsed

    def _refuse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
        relative = "1h (from now)" if self._ahead else "1h (ago)"
        self.fail(f"invalid timestamp {value!r}; expected RFC 3339 or a relative time such as {relative}", param, ctx)


class DurationParam(click.ParamType):
    """A duration in the format of the API."""

    name = "duration"

    @override
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text if it is valid."""
        if not DURATION_TEXT.fullmatch(value):
            self.fail(f"invalid duration {value!r}; examples: 90s, 15m, 1h30m, 2d, 1w", param, ctx)
        return value


def _in_zone(wall: datetime, zone: str) -> datetime:
    if zone.upper() in {"Z", "UTC", "GMT"}:
        return wall.replace(tzinfo=UTC)
    for fold in (0, 1):  # an hour repeated by daylight saving has two names
        local = wall.replace(fold=fold).astimezone()
        if local.strftime("%Z") == zone:
            return local
    return datetime.fromisoformat(f"{wall.isoformat()}{zone}")  # an offset


PAST: Final = TimestampParam("ago")
AS_OF: Final = TimestampParam("ago", "end")
FUTURE: Final = TimestampParam("ahead")
DURATION: Final = DurationParam()
