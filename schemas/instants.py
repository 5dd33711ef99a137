"""Conversion between datetimes and microseconds since 1970 UTC, and parsing of timestamps of messages to the latter.

Formats: `auto` (ISO 8601), `epoch` (seconds, milliseconds or microseconds, by magnitude), `epoch_s`, `epoch_ms`,
`epoch_us`, `rfc2822`, or a strptime format. A timestamp without an offset is local time: of an ambiguous time the
earlier one; a nonexistent time has the offset before the clock change (RFC 5545, 3.3.5).
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import partial
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

ParseTimestamp = Callable[[Any], int | None]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
EARLIEST: Final = -62_135_596_800_000_000  # microseconds, of the year 1
LATEST: Final = 253_402_300_799_999_999  # of the year 9999
EPOCH_UNITS: Final = MappingProxyType({"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1})
NAMED_FORMATS: Final = ("auto", "epoch", *EPOCH_UNITS, "rfc2822")
MAX_CHARACTERS: Final = 100  # of a timestamp with the white space around it
# `epoch` detects the unit by magnitude: 10^11 is the year 5138 in seconds and 1973 in milliseconds.
# A text with fewer than 9 digits is not an epoch: 20130101 is a date.
MIN_DIGITS: Final = 9
MIN_MILLISECONDS: Final = 100_000_000_000
MIN_MICROSECONDS: Final = 100_000_000_000_000
MAX_NUMBER: Final = 10.0**18  # in any unit, larger numbers are outside the years 1 to 9999

_LOCAL_EPOCH: Final = EPOCH.replace(tzinfo=None)
_DAY_SECONDS: Final = 86_400
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?")


def micros(moment: datetime) -> int:
    """Return the microseconds since 1970 UTC of a datetime."""
    return (moment - EPOCH) // MICROSECOND


def rfc3339(moment: datetime) -> str:
    """Return a moment in UTC as RFC 3339 with microseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def moment(stored: int) -> datetime:
    """Return the datetime of microseconds since 1970 UTC."""
    return EPOCH + stored * MICROSECOND


def timestamp_parser(formats: Sequence[str], zone: ZoneInfo) -> ParseTimestamp:
    """Return a parser that uses the first matching format, and returns None outside the years 1 to 9999."""
    parsers = tuple(_parser(form, zone) for form in formats)

    def parse(value: Any) -> int | None:
        for parser in parsers:
            micros = parser(value)
            if micros is not None:
                return micros if EARLIEST <= micros <= LATEST else None
        return None

    return parse


def is_timestamp_format(form: str) -> bool:
    """Whether a text is a named format, or a strptime format that preserves the date."""
    return form in NAMED_FORMATS or _keeps_dates(form)


def _keeps_dates(form: str) -> bool:
    moment = _LOCAL_EPOCH.replace(year=2001, month=2, day=3)
    try:
        parsed = _strptime(form, moment.strftime(form))
    except (ValueError, re.error):  # a duplicate directive gives an invalid regular expression
        return False
    return parsed.date() == moment.date()


def _parser(form: str, zone: ZoneInfo) -> ParseTimestamp:
    if form in EPOCH_UNITS:
        return partial(_from_number, EPOCH_UNITS[form])
    match form:
        case "epoch":
            return _from_sized_number
        case "auto":
            return partial(_from_text, datetime.fromisoformat, zone)
        case "rfc2822":
            return partial(_from_text, _rfc2822, zone)
        case _:
            return partial(_from_text, partial(_strptime, form), zone)


def _from_text(parse: Callable[[str], datetime], zone: ZoneInfo, value: Any) -> int | None:
    if type(value) is not str or len(value) > MAX_CHARACTERS:
        return None
    try:
        stamp = parse(value.strip())
    except (ValueError, OverflowError):
        return None
    if stamp.tzinfo is None:
        since: timedelta = stamp - _LOCAL_EPOCH - zone.utcoffset(stamp)  # type: ignore[operator]  # zones have one
    else:
        since = stamp - EPOCH
    return (since.days * _DAY_SECONDS + since.seconds) * 1_000_000 + since.microseconds


def _strptime(form: str, text: str) -> datetime:
    return datetime.strptime(text, form)  # noqa: DTZ007 -- without an offset it is local time of the zone


def _rfc2822(text: str) -> datetime:
    stamp = parsedate_to_datetime(text)
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)  # "-0000" means UTC with an unknown zone


def _from_number(unit: int, value: Any) -> int | None:
    if type(value) is str:
        value = value.strip() if len(value) <= MAX_CHARACTERS else ""
        return int(Decimal(value) * unit // 1) if _NUMBER.fullmatch(value) else None
    if type(value) not in {int, float} or not -MAX_NUMBER < value < MAX_NUMBER:
        return None
    return value * unit if type(value) is int else int(Decimal(str(value)) * unit // 1)


def _from_sized_number(value: Any) -> int | None:
    if type(value) is str and (len(value) > MAX_CHARACTERS or len(value.strip()) < MIN_DIGITS):
        return None
    micros = _from_number(1, value)
    if micros is None or abs(micros) >= MIN_MICROSECONDS:
        return micros
    return _from_number(EPOCH_UNITS["epoch_ms" if abs(micros) >= MIN_MILLISECONDS else "epoch_s"], value)
