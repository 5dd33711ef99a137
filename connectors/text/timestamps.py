"""When a record happened: one text or number to microseconds since 1970 UTC. Guesses nothing."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from schemas.topics import FUTURE_BOUND_MS

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
FIRST: Final = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND
LAST: Final = (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC) - EPOCH) // MICROSECOND
EPOCH_UNITS: Final = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
NAMED_FORMATS: Final = ("auto", "epoch", *EPOCH_UNITS, "rfc2822")
# `epoch` goes by the size of the number: 10^11 is the year 5138 in seconds and 1973 in milliseconds, and so on.
# A text of fewer digits than 9 isn't one: 20130101 is a date.
FEWEST_DIGITS: Final = 9
LEAST_MILLISECONDS: Final = 100_000_000_000
LEAST_MICROSECONDS: Final = 100_000_000_000_000


class Unusable(ValueError):
    """A timestamp that a record can't be dated with: `code` is stable, the message is for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Timestamps:
    """Where a stream's records say when they happened, and how.

    `formats` are tried in turn: `auto` (ISO 8601), `epoch` (seconds, milliseconds or microseconds, by the number's
    size), `epoch_s`, `epoch_ms`, `epoch_us`, `rfc2822`, or strptime formats.
    Stamps without an offset are local times of `zone`; one that occurs twice is the first of the two, one that a
    clock change leaves out counts with the offset before the change (RFC 5545, section 3.3.5).
    """

    field: str
    formats: tuple[str, ...]
    zone: ZoneInfo
    clock: Callable[[], float]

    def latest(self) -> int:
        """The last microsecond that isn't too far in the future."""
        return int(self.clock() * 1_000_000) + FUTURE_BOUND_MS * 1_000

    def micros(self, value: object) -> int:
        """The microseconds of one value; raises `Unusable`."""
        if value is None or (isinstance(value, str) and not value.strip()):
            raise Unusable("missing_timestamp", f"`{self.field}` is empty or missing: every record needs a timestamp")
        found = self._parse(value)
        if found is None or not FIRST <= found <= LAST:
            raise Unusable("bad_timestamp", f"`{self.field}` is {shown(value)}, which is not {self._expected()}")
        if found > self.latest():
            raise Unusable("future_timestamp", f"`{self.field}` is {shown(value)}: more than 24 hours in the future")
        return found

    def _parse(self, value: object) -> int | None:
        return next((found for each in self.formats if (found := self._parse_as(each, value)) is not None), None)

    def _parse_as(self, form: str, value: object) -> int | None:
        if form in EPOCH_UNITS:
            return _from_number(value, EPOCH_UNITS[form])
        if form == "epoch":
            return _from_sized(value)
        if not isinstance(value, str):
            return None
        try:
            return self._since_epoch(_from_text(form, value.strip()))
        except (ValueError, OverflowError):
            return None

    def _since_epoch(self, stamp: datetime) -> int:
        return ((stamp if stamp.tzinfo else stamp.replace(tzinfo=self.zone)) - EPOCH) // MICROSECOND

    def _expected(self) -> str:
        return " nor ".join("an ISO 8601 date and time" if each == "auto" else f"`{each}`" for each in self.formats)


def is_strptime(form: str) -> bool:
    """Whether a strptime format reads back the date it writes."""
    moment = EPOCH.replace(year=2001, month=2, day=3)
    try:
        found = datetime.strptime(moment.strftime(form), form)  # noqa: DTZ007 -- only its date is looked at
    except (ValueError, re.error):  # a directive that occurs twice becomes a regular expression that can't be
        return False
    return found.date() == moment.date()


JSON_WORDS: Final = MappingProxyType({"None": "null", "True": "true", "False": "false"})


def shown(value: object) -> str:
    """A value as a message may hold it: short, and on one line."""
    text = JSON_WORDS.get(repr(value)) or repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?")


def _from_number(value: object, unit: int) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value).strip()
    try:
        if isinstance(value, str) and not _NUMBER.fullmatch(text):
            return None
        return int(Decimal(text) * unit // 1)
    except (InvalidOperation, ValueError, OverflowError):
        return None


def _from_sized(value: object) -> int | None:
    if isinstance(value, str) and len(value.strip()) < FEWEST_DIGITS:
        return None
    micros = _from_number(value, 1)
    if micros is None or abs(micros) >= LEAST_MICROSECONDS:
        return micros
    return _from_number(value, EPOCH_UNITS["epoch_ms" if abs(micros) >= LEAST_MILLISECONDS else "epoch_s"])


def _from_text(form: str, text: str) -> datetime:
    match form:
        case "auto":
            return datetime.fromisoformat(text)
        case "rfc2822":
            stamp = parsedate_to_datetime(text)
            return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)  # "-0000": UTC, the place unknown
        case _:
            return datetime.strptime(text, form)  # noqa: DTZ007 -- the caller gives it the job's zone
