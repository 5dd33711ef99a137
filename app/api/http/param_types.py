"""Types of query parameters and body fields, with their JSON schemas."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, WithJsonSchema

from schemas.names import is_safe_line, is_safe_text

MIN_TIMESTAMP: Final = datetime(1970, 1, 1, tzinfo=UTC)
MAX_TIMESTAMP: Final = datetime(9000, 1, 1, tzinfo=UTC)
MAX_DURATION: Final = timedelta(days=366)
UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_PARTS: Final = re.compile(r"(\d{1,9})([smhdw])", re.ASCII)
DURATION_PATTERN: Final = r"^([0-9]{1,9}[smhdw]){1,5}$"


def _rfc3339(value: Any) -> Any:
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        raise ValueError("expected a timestamp such as 2026-11-03T14:03:00Z (RFC 3339, with a zone)")
    return re.sub(r"(\.\d{6})\d+", r"\1", value).replace(":60", ":59")  # no leap seconds, no nanoseconds


def _bounded(value: datetime) -> datetime:
    """Return the timestamp in UTC, clamped to the supported range."""
    naive = value.replace(tzinfo=None)
    if naive.year < MIN_TIMESTAMP.year + 1:
        return MIN_TIMESTAMP
    return MAX_TIMESTAMP if naive.year >= MAX_TIMESTAMP.year else max(MIN_TIMESTAMP, value.astimezone(UTC))


def _duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    text = str(value)
    if not re.fullmatch(DURATION_PATTERN, text):
        raise ValueError("expected a duration such as 90s, 15m, 1h30m, 2d or 1w")
    span = sum(int(count) * UNITS[unit] for count, unit in _PARTS.findall(text))
    return min(timedelta(seconds=min(span, 10**9)), MAX_DURATION)


def _safe_line(value: str) -> str:
    if not is_safe_line(value):
        raise ValueError("control and bidirectional characters are not supported")
    return value


def _safe_text(value: str) -> str:
    if not is_safe_text(value):
        raise ValueError("control characters, except line breaks and tabs, and bidirectional ones are not supported")
    return value


SAFE_LINE: Final = AfterValidator(_safe_line)  # applied after the other constraints of a field
SAFE_TEXT: Final = AfterValidator(_safe_text)
TimestampText = Annotated[
    AwareDatetime,
    BeforeValidator(_rfc3339),
    AfterValidator(_bounded),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
Duration = Annotated[
    timedelta, BeforeValidator(_duration), WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN})
]
Limit = Annotated[int, Field(ge=1, le=1000, description="most items of a page")]
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
PageCursor = Annotated[
    str, Field(max_length=4000, description="`next_cursor` of the previous page, with the same filter")
]
