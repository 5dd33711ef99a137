"""When something happened: one text or number to microseconds since 1970 UTC, read as connectors read it.

Formats are tried in turn: `auto` (ISO 8601), `epoch_s`, `epoch_ms`, `epoch_us`, or strptime formats. What has no offset
is local time of the zone; a time that occurs twice is the first of the two. Guesses nothing.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from projections.mapping.numbers import sound_number
from schemas.messages import EARLIEST, LATEST

ReadMoment = Callable[[Any], int | None]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
WALL_EPOCH: Final = EPOCH.replace(tzinfo=None)
DAY_SECONDS: Final = 86_400
EPOCH_UNITS: Final = MappingProxyType({"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1})
LONGEST: Final = 100  # characters of a timestamp
FARTHEST: Final = 10.0**18  # whatever its unit, a number beyond is out of the years 1 to 9999

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?")


def moment_reader(formats: Sequence[str], zone: ZoneInfo) -> ReadMoment:
    """Return what reads a value in the first format that fits; it gives None outside the years 1 to 9999."""
    readers = tuple(_reader(each, zone) for each in formats)

    def read(value: Any) -> int | None:
        for each in readers:
            micros = each(value)
            if micros is not None:
                return micros if EARLIEST <= micros <= LATEST else None
        return None

    return read


def is_strptime(form: str) -> bool:
    """Whether a strptime format reads back the date it writes."""
    moment = WALL_EPOCH.replace(year=2001, month=2, day=3)
    try:
        found = _strptime(form, moment.strftime(form))
    except (ValueError, re.error):  # a directive that occurs twice becomes a regular expression that can't be
        return False
    return found.date() == moment.date()


def _reader(form: str, zone: ZoneInfo) -> ReadMoment:
    if form in EPOCH_UNITS:
        return partial(_from_number, EPOCH_UNITS[form])
    parse = datetime.fromisoformat if form == "auto" else partial(_strptime, form)

    def read(value: Any) -> int | None:
        if type(value) is not str or len(value) > LONGEST:
            return None
        try:
            stamp = parse(value.strip())
        except (ValueError, OverflowError):
            return None
        if stamp.tzinfo is None:
            since: timedelta = stamp - WALL_EPOCH - zone.utcoffset(stamp)  # type: ignore[operator]  # zones have one
        else:
            since = stamp - EPOCH
        return (since.days * DAY_SECONDS + since.seconds) * 1_000_000 + since.microseconds

    return read


def _strptime(form: str, text: str) -> datetime:
    return datetime.strptime(text, form)  # noqa: DTZ007 -- without an offset it is local time of the zone


def _from_number(unit: int, value: Any) -> int | None:
    if type(value) is str:
        value = value.strip() if len(value) <= LONGEST else ""
        return int(Decimal(value) * unit // 1) if _NUMBER.fullmatch(value) else None
    if sound_number(value) is None or not -FARTHEST < value < FARTHEST:
        return None
    return value * unit if type(value) is int else int(Decimal(str(value)) * unit // 1)
