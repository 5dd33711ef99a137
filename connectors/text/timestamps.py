"""Parse the configured timestamp field of a record."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from schemas.timestamps import ParseTimestamp, timestamp_parser
from schemas.topics import FUTURE_BOUND_MS


class InvalidRecord(ValueError):
    """A record is rejected, usually for its timestamp. `code` is stable; the message is for users."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class TimestampReader:
    """Parses the timestamp field of records, trying the formats in order."""

    field: str
    formats: tuple[str, ...]
    zone: ZoneInfo
    clock: Callable[[], float]
    _parse: ParseTimestamp = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parse", timestamp_parser(self.formats, self.zone))

    def latest(self) -> int:
        """Return the latest accepted timestamp in microseconds."""
        return int(self.clock() * 1_000_000) + FUTURE_BOUND_MS * 1_000

    def micros(self, value: object) -> int:
        """Return the microseconds since 1970 of a value, or raise `InvalidRecord`."""
        if value is None or (isinstance(value, str) and not value.strip()):
            raise InvalidRecord(
                "missing_timestamp", f"`{self.field}` is empty or missing; every record needs a timestamp"
            )
        micros = self._parse(value)
        if micros is None:
            raise InvalidRecord(
                "bad_timestamp", f"`{self.field}` is {format_value(value)}; expected {self._expected()}"
            )
        if micros > self.latest():
            raise InvalidRecord(
                "future_timestamp", f"`{self.field}` is {format_value(value)}, more than 24 hours in the future"
            )
        return micros

    def _expected(self) -> str:
        return " or ".join("an ISO 8601 date and time" if name == "auto" else f"`{name}`" for name in self.formats)


JSON_LITERALS: Final = MappingProxyType({"None": "null", "True": "true", "False": "false"})


def format_value(value: object) -> str:
    """Format a value for a message: short, and on one line."""
    text = JSON_LITERALS.get(repr(value)) or repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
