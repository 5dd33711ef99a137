"""Parse the configured timestamp field of a record."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from schemas.coded import CodedError, Params
from schemas.timestamps.formats import ParseTimestamp, timestamp_parser
from schemas.topics import FUTURE_BOUND_MS


class InvalidRecord(CodedError):
    """A record that can't be accepted, most often for its timestamp."""


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
        """Return the microseconds of one value; raise `InvalidRecord` when there are none."""
        if value is None or (isinstance(value, str) and not value.strip()):
            raise InvalidRecord("missing_timestamp", {"field": self.field})
        micros = self._parse(value)
        if micros is None:
            formats = tuple("ISO 8601" if name == "auto" else name for name in self.formats)
            params: Params = {"field": self.field, "value": format_value(value), "formats": formats}
            raise InvalidRecord("bad_timestamp", params)
        if micros > self.latest():
            raise InvalidRecord("future_timestamp", {"field": self.field, "value": format_value(value)})
        return micros


JSON_LITERALS: Final = MappingProxyType({"None": "null", "True": "true", "False": "false"})


def format_value(value: object) -> str:
    """Format a value for a message: short, and on one line."""
    text = JSON_LITERALS.get(repr(value)) or repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
