"""Read the timestamps that standards define: ISO 8601 with RFC 3339, and the dates of emails (RFC 5322).

A text that is none of them raises `ValueError` or `OverflowError`. A timestamp without an offset is local time: of an
ambiguous time the earlier one; a nonexistent time has the offset before the clock change (RFC 5545, 3.3.5).
"""

import re
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from schemas.instants import EARLIEST, EPOCH, LATEST, moment

LOCAL_EPOCH: Final = EPOCH.replace(tzinfo=None)
# Names of zones are ambiguous, except those that RFC 5322 defines (4.3). Letters of military zones are not among them:
# RFC 822 had their signs wrong.
MAIL_ZONES: Final = MappingProxyType(
    {"UT": 0, "UTC": 0, "GMT": 0, "Z": 0, "EDT": -4, "EST": -5, "CDT": -5, "CST": -6, "MDT": -6, "MST": -7, "PDT": -7,
     "PST": -8}
)  # fmt: skip
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
FIRST_MAIL_YEAR: Final = 1900
DAY_MICROSECONDS: Final = 86_400_000_000

_ISO: Final = re.compile(
    r"""(?P<year>[0-9]{4})
        (?: (?P<dash>-?)(?P<month>[0-9]{2})(?P=dash)(?P<day>[0-9]{2})
          | (?P<hyphen>-?)W(?P<week>[0-9]{2})(?P=hyphen)(?P<weekday>[0-9])
          | -?(?P<ordinal>[0-9]{3}) )
        (?: [Tt\ ](?P<hour>[01][0-9]|2[0-4])
            (?: (?P<colon>:?)(?P<minute>[0-5][0-9])(?:(?P=colon)(?P<second>[0-5][0-9]|60))?
                (?:[.,](?P<fraction>[0-9]+))?
              | (?<=[Tt]..)[.,](?P<hour_fraction>[0-9]+) )?
            (?: \ ?(?i:Z|UTC|GMT)(?P<utc>)
              | \ ?(?P<sign>[+\N{MINUS SIGN}-])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-5][0-9]))? )?
        )?""",
    re.VERBOSE,
)
_MAIL: Final = re.compile(
    rf"""(?:(?P<weekday>{"|".join(WEEKDAYS)})\s*,\s*)?
        (?P<day>[0-9]{{1,2}})\s+(?P<month>{"|".join(MONTHS)})\s+(?P<year>[0-9]{{2,4}})
        \s+(?P<hour>[01][0-9]|2[0-3])\s*:\s*(?P<minute>[0-5][0-9])(?:\s*:\s*(?P<second>[0-5][0-9]|60))?
        (?:\s+(?:(?P<sign>[+-])(?P<hours>[0-9]{{2}})(?P<minutes>[0-5][0-9])|(?P<zone>{"|".join(MAIL_ZONES)})))?
        (?:\s*\([^()]*\))*""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)


def local_micros(stamp: datetime, zone: ZoneInfo) -> int:
    """Return the microseconds since 1970 UTC of a datetime, which is local time if it has no offset.

    Raises:
        OverflowError: it is outside of the years 1 to 9999 in UTC.

    """
    if stamp.tzinfo is None:
        since: timedelta = stamp - LOCAL_EPOCH - zone.utcoffset(stamp)  # type: ignore[operator]  # zones have one
    else:
        since = stamp - EPOCH
    micros = since.days * DAY_MICROSECONDS + since.seconds * 1_000_000 + since.microseconds
    if EARLIEST <= micros <= LATEST:
        return micros
    raise OverflowError


def mail_micros(text: str, zone: ZoneInfo) -> int:
    """Read a date of RFC 5322, obsolete years and zones included, but no unknown zones."""
    match = _match(_MAIL, text)
    year = int(match["year"])
    if len(match["year"]) < len("YYYY"):
        year += FIRST_MAIL_YEAR + 100 * (year < 50)
    day = date(year, MONTHS.index(match["month"].lower()) + 1, int(match["day"]))
    if year < FIRST_MAIL_YEAR or (match["weekday"] and WEEKDAYS[day.weekday()] != match["weekday"].lower()):
        raise ValueError(text)
    offset = timezone(timedelta(hours=MAIL_ZONES[match["zone"].upper()])) if match["zone"] else _offset(match)
    since = timedelta(hours=int(match["hour"]), minutes=int(match["minute"]), seconds=int(match["second"] or 0))
    return _sum(day, since, offset, zone, is_leap=match["second"] == "60")


def iso_micros(text: str, zone: ZoneInfo) -> int:
    """Read ISO 8601 or RFC 3339, with a date of full precision."""
    match = _match(_ISO, text)
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    unit = 3600 if match["hour_fraction"] else 1 if match["second"] else 60  # seconds; a fraction is of the last part
    fraction = match["hour_fraction"] or match["fraction"] or "0"
    micros = int(fraction) * unit * 1_000_000 // 10 ** len(fraction)
    if hour == 24 and (minute or second or micros):
        raise ValueError(text)
    offset = UTC if match["utc"] is not None else _offset(match)
    since = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=micros)
    return _sum(_iso_date(match), since, offset, zone, is_leap=match["second"] == "60")


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return match


def _iso_date(match: re.Match[str]) -> date:
    year = int(match["year"])
    if match["month"]:
        return date(year, int(match["month"]), int(match["day"]))
    if match["week"]:
        return date.fromisocalendar(year, int(match["week"]), int(match["weekday"]))
    day = date(year, 1, 1) + timedelta(days=int(match["ordinal"]) - 1)
    if day.year != year:
        raise ValueError(match.string)
    return day


def _offset(match: re.Match[str]) -> tzinfo | None:
    if not match["sign"]:
        return None
    offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"] or 0))
    return timezone(offset if match["sign"] == "+" else -offset)


def _sum(day: date, since: timedelta, offset: tzinfo | None, zone: ZoneInfo, *, is_leap: bool) -> int:
    """Return the microseconds of a time of a day. A leap second is the second after it, and ends a month of UTC."""
    micros = local_micros(datetime.combine(day, time(), offset) + since, zone)
    end = moment(micros)
    if is_leap and (end.day, end.hour, end.minute, end.second) != (1, 0, 0, 0):
        raise ValueError(since)
    return micros
