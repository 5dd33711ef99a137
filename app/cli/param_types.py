"""Moments and lengths of time as people type them, for the options of commands. Asks only the clock."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NoReturn

import click
from typing_extensions import override


def seconds(span: str) -> int:
    """Return a length of time such as `1h30m` in seconds."""
    return sum(int(count) * UNITS[unit] for count, unit in re.findall(r"(\d+)([smhdw])", span))


UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


SPAN_TEXT: Final = re.compile(r"([0-9]{1,9}[smhdw]){1,5}")
_MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(\.\d+)? ?([A-Za-z]+|[+-]\d\d(?::?\d\d)?)", re.ASCII)


class Moment(click.ParamType):
    """A moment, to RFC 3339 in UTC: as the API writes it, as our tables show it, or a length of time from now.

    A moment that is given to the second begins that second, or ends it: what a table shows at 14:03:00 has happened
    by then, also when it was at 14:03:00.7.
    """

    name = "moment"

    def __init__(self, direction: Literal["ago", "ahead"], second: Literal["begin", "end"] = "begin") -> None:
        self._ahead = direction == "ahead"
        self._second = second

    @override
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the moment that a text stands for."""
        try:
            found = self._from_now(value) if SPAN_TEXT.fullmatch(value) else self._parsed(value)
            return found.astimezone(UTC).isoformat().replace("+00:00", "Z")
        except (ValueError, OverflowError):
            self._refuse(value, param, ctx)

    def _from_now(self, span: str) -> datetime:
        length = timedelta(seconds=seconds(span))
        return datetime.now(UTC) + (length if self._ahead else -length)

    def _parsed(self, text: str) -> datetime:
        parts = _MOMENT.fullmatch(text.strip())
        if parts is None:
            raise ValueError(text)
        wall, fraction, zone = parts.groups()
        found = _in_zone(datetime.fromisoformat(f"{wall.upper()}{fraction or ''}"), zone)
        if self._second == "end" and fraction is None:
            return found + timedelta(microseconds=999_999)
        return found

    def _refuse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
        relative = "1h for an hour from now" if self._ahead else "1h for an hour ago"
        self.fail(
            f"{value!r} is no moment: 2026-11-03T14:03:00Z is one, '2026-11-03 14:03:00 UTC', or {relative}", param, ctx
        )


class Span(click.ParamType):
    """A length of time, as the API takes it."""

    name = "span"

    @override
    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text when it is one."""
        if not SPAN_TEXT.fullmatch(value):
            self.fail(f"{value!r} is no length of time: 90s is one, 15m, 1h30m, 2d or 1w", param, ctx)
        return value


def _in_zone(wall: datetime, zone: str) -> datetime:
    if zone.upper() in {"Z", "UTC", "GMT"}:
        return wall.replace(tzinfo=UTC)
    for fold in (0, 1):  # an hour that comes twice has two names
        local = wall.replace(fold=fold).astimezone()
        if local.strftime("%Z") == zone:
            return local
    return datetime.fromisoformat(f"{wall.isoformat()}{zone}")  # an offset


PAST: Final = Moment("ago")
AS_OF: Final = Moment("ago", "end")
FUTURE: Final = Moment("ahead")
SPAN: Final = Span()
MOMENTS: Final = "such as 2026-11-03T14:03:00Z, '2026-11-03 14:03:00 UTC', or 1h for an hour ago."
