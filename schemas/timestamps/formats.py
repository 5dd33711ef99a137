"""The formats of timestamps in messages, and a parser for each. A value that a format can't read exactly is rejected.

Formats: `auto` (ISO 8601, RFC 3339), `epoch` (seconds, milliseconds or microseconds since 1970, by magnitude),
`epoch_s`, `epoch_ms`, `epoch_us`, `excel` (days, as spreadsheets count them), `rfc2822` (dates of emails), or a
strptime format.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from schemas.instants import EARLIEST, EPOCH, LATEST
from schemas.timestamps.texts import DAY_MICROSECONDS, LOCAL_EPOCH, WEEKDAYS, iso_micros, local_micros, mail_micros

ParseTimestamp = Callable[[Any], int | None]
ReadText = Callable[[str, ZoneInfo], int]

EPOCH_UNITS: Final = MappingProxyType({"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1})
NAMED_FORMATS: Final = ("auto", "epoch", *EPOCH_UNITS, "excel", "rfc2822")
# Characters 8, 11, 14, 17 and 20 of YYYY-MM-DD, with or without HH:MM, seconds and what follows. Only these forms go to
# `fromisoformat`, which reads 2024-01-01+05:00 as five o'clock, and the fraction of a minute as that of a second.
ISO_SEPARATORS: Final = frozenset(
    {"-", *(f"-{sign}:{rest}" for sign in "Tt " for rest in ("", ":", ":Z", ":z", ":+", ":-", ":.", ":,"))}
)
MAX_CHARACTERS: Final = 100  # of a timestamp with the white space around it
# `epoch` detects the unit by magnitude: 10^11 is the year 5138 in seconds and 1973 in milliseconds. A number of fewer
# than 9 digits before the point is none: it may be a date like 20130101, or the days of a spreadsheet.
MIN_SECONDS: Final = 10**8
MIN_MILLISECONDS: Final = 10**11
MIN_MICROSECONDS: Final = 10**14
MAX_NUMBER: Final = 10.0**18  # in any unit, larger numbers are outside the years 1 to 9999
# Dates like 202401311010 as milliseconds; all of them are in 1976.
MIN_DATE_MINUTES: Final = 190_001_010_000
MAX_DATE_MINUTES: Final = 210_000_000_000
# Days of spreadsheets. Lotus 1-2-3 took 1900 for a leap year, and its successors count that day: number 60.
DAY_ZERO: Final = datetime(1899, 12, 30)  # noqa: DTZ001 -- local time of the zone
FALSE_LEAP_DAY: Final = 60

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?")
_SAMPLE: Final = datetime(2001, 2, 3, 16, 17, 18, 123_456, tzinfo=UTC)
_SAMPLE_TIMES: Final = (
    _SAMPLE,
    _SAMPLE.replace(microsecond=0),
    _SAMPLE.replace(second=0, microsecond=0),
    _SAMPLE.replace(minute=0, second=0, microsecond=0),
    _SAMPLE.replace(hour=0, minute=0, second=0, microsecond=0),
)
_DIRECTIVE: Final = re.compile(r"%(.)", re.DOTALL)
_COMPOSITES: Final = MappingProxyType({"c": "abdHMSY", "x": "mdy", "X": "HMS"})
# Of directives for the same part, strptime ignores all but one. The name of a weekday beside a date is compared to it.
_SAME_PART: Final = tuple(map(frozenset, ("GYy", "BbUVWjm", "UVWdj", "djuw", "HI")))
_WEEKDAY: Final = re.compile("|".join(WEEKDAYS), re.IGNORECASE)
# Digits without a separator, which strptime splits by guessing if some are missing: 1012024 as %d%m%Y.
_DIGITS: Final = re.compile(r"(?:%[YmdyjHIMS])+%[YmdyjHIMSf]")
_PARTS: Final = re.compile(rf"({_DIGITS.pattern})|(%.)|(\s+)", re.DOTALL)
_WIDTHS: Final = MappingProxyType({"Y": "4", "j": "3", "f": "1,6"})


def timestamp_parser(formats: Sequence[str], zone: ZoneInfo) -> ParseTimestamp:
    """Return a parser that uses the first matching format. Timestamps outside the years 1 to 9999 match none."""
    parsers = tuple(_parser(form, zone) for form in formats)

    def parse(value: Any) -> int | None:
        for parser in parsers:
            micros = parser(value)
            if micros is not None:
                return micros
        return None

    return parsers[0] if len(parsers) == 1 else parse


def is_timestamp_format(form: str) -> bool:
    """Whether a text is a named format, or a strptime format that neither drops nor guesses a part of the timestamp."""
    return form in NAMED_FORMATS or _is_faithful(form)


def _is_faithful(form: str) -> bool:
    directives = _directives(form)
    # strptime ignores %p beside %H, and reads names of zones only to drop them.
    if "Z" in directives or ("I" in directives) != ("p" in directives):
        return False
    if any(len(directives & part) > 1 for part in _SAME_PART):
        return False
    try:
        parsed = datetime.strptime(_SAMPLE.strftime(form), form)  # noqa: DTZ007 -- only its numbers are compared
    except (ValueError, re.error):  # a duplicate directive gives an invalid regular expression
        return False
    return parsed.replace(tzinfo=UTC) in _SAMPLE_TIMES


def _directives(form: str) -> set[str]:
    return set().union(*(_COMPOSITES.get(name, name) for name in _DIRECTIVE.findall(form)))


def _parser(form: str, zone: ZoneInfo) -> ParseTimestamp:
    if form in EPOCH_UNITS:
        return partial(_from_number, EPOCH_UNITS[form])
    match form:
        case "epoch":
            return _from_sized_number
        case "excel":
            return partial(_from_days, zone)
        case "auto":
            return _iso_parser(zone)
        case "rfc2822":
            return partial(_from_text, mail_micros, zone)
        case _:
            return partial(_from_text, _strptime(form), zone)


def _iso_parser(zone: ZoneInfo) -> ParseTimestamp:
    def parse(value: Any) -> int | None:
        if type(value) is str and value[7:20:3] in ISO_SEPARATORS and len(value) <= MAX_CHARACTERS:
            try:
                stamp = datetime.fromisoformat(value)
            except ValueError:
                return _from_text(iso_micros, zone, value)
            # The hot path of imports: `local_micros` without the call.
            if stamp.tzinfo is None:
                since: timedelta = stamp - LOCAL_EPOCH - zone.utcoffset(stamp)  # type: ignore[operator]  # as there
            else:
                since = stamp - EPOCH
            micros = since.days * DAY_MICROSECONDS + since.seconds * 1_000_000 + since.microseconds
            return micros if EARLIEST <= micros <= LATEST else None
        return _from_text(iso_micros, zone, value)

    return parse


def _from_text(read: ReadText, zone: ZoneInfo, value: Any) -> int | None:
    if type(value) is not str or len(value) > MAX_CHARACTERS:
        return None
    try:
        return read(value.strip(), zone)
    except (ValueError, OverflowError):
        return None


def _strptime(form: str) -> ReadText:
    has_weekday = not _directives(form).isdisjoint("aA")

    def read(text: str, zone: ZoneInfo) -> int:
        stamp = datetime.strptime(text, form)  # noqa: DTZ007 -- without an offset it is local time
        if has_weekday and (name := _WEEKDAY.search(text)) and name[0].lower() != WEEKDAYS[stamp.weekday()]:
            raise ValueError(text)
        return local_micros(stamp, zone)

    if not _DIGITS.search(form):
        return read
    complete = re.compile(_PARTS.sub(_part_pattern, re.sub(r"([^\w\s%])", r"\\\1", form)), re.DOTALL | re.IGNORECASE)

    def read_complete(text: str, zone: ZoneInfo) -> int:
        if complete.fullmatch(text) is None:
            raise ValueError(text)
        return read(text, zone)

    return read_complete


def _part_pattern(part: re.Match[str]) -> str:
    digits, directive, _ = part.groups()
    if digits:
        return "".join(f"[0-9]{{{_WIDTHS.get(name, '2')}}}" for name in _DIRECTIVE.findall(digits))
    return ".*?" if directive else r"\s+"


def _number(value: Any) -> int | Decimal | None:
    if type(value) is int:
        return value
    if type(value) is str and len(value) <= MAX_CHARACTERS:
        if value[4:5] == "-":
            return None  # a date, which is the next format to try: cheaper than the expression
        text = value.strip()
        if text.isdigit() and text.isascii():
            return int(text)
        return Decimal(text) if _NUMBER.fullmatch(text) else None
    return Decimal(str(value)) if type(value) is float and -MAX_NUMBER < value < MAX_NUMBER else None


def _from_number(unit: int, value: Any) -> int | None:
    number = _number(value)
    if number is None:
        return None
    micros = int(number * unit)
    return micros if EARLIEST <= micros <= LATEST else None


def _from_sized_number(value: Any) -> int | None:
    number = _number(value)
    if number is None:
        return None
    size = -number if number < 0 else number
    if size < MIN_MILLISECONDS:
        return int(number * 1_000_000) if size >= MIN_SECONDS else None
    if size < MIN_MICROSECONDS:
        return None if _is_date(int(number)) else int(number * 1_000)
    return int(number) if EARLIEST <= number <= LATEST else None


def _is_date(number: int) -> bool:
    """Whether the digits of a number are a date and a time, like 202401311010."""
    if not MIN_DATE_MINUTES <= number < MAX_DATE_MINUTES:
        return False
    month, day, hour, minute = (number // 10**digits % 100 for digits in (6, 4, 2, 0))
    return 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60


def _from_days(zone: ZoneInfo, value: Any) -> int | None:
    micros = _from_number(DAY_MICROSECONDS, value)
    if micros is None or micros < DAY_MICROSECONDS:
        return None  # a number below 1 is a time without a date
    since = timedelta(milliseconds=(micros + 500) // 1_000)  # spreadsheets show no less, and fractions are not exact
    if since.days == FALSE_LEAP_DAY:
        return None
    return local_micros(DAY_ZERO + since + timedelta(since.days < FALSE_LEAP_DAY), zone)
