"""When a record happened, as a stream is configured to say it."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from schemas.timestamps import ParseTimestamp, timestamp_parser
from schemas.topics import FUTURE_BOUND_MS


class UnusableTimestamp(ValueError):
    """A timestamp that a record can't be dated with: `code` is stable, the message is for a person."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class TimestampReader:
    """The field that holds the timestamp of a record, and its formats, which are tried in turn."""

    field: str
    formats: tuple[str, ...]
    zone: ZoneInfo
    clock: Callable[[], float]
    _parse: ParseTimestamp = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parse", timestamp_parser(self.formats, self.zone))

    def latest(self) -> int:
        """Return the last microsecond that isn't too far in the future."""
        return int(self.clock() * 1_000_000) + FUTURE_BOUND_MS * 1_000

    def micros(self, value: object) -> int:
        """Return the microseconds of one value; raise `UnusableTimestamp` when there are none."""
        if value is None or (isinstance(value, str) and not value.strip()):
            raise UnusableTimestamp(
                "missing_timestamp", f"`{self.field}` is empty or missing: every record needs a timestamp"
            )
        micros = self._parse(value)
        if micros is None:
            raise UnusableTimestamp(
                "bad_timestamp", f"`{self.field}` is {shown(value)}, which is not {self._expected()}"
            )
        if micros > self.latest():
            raise UnusableTimestamp(
                "future_timestamp", f"`{self.field}` is {shown(value)}: more than 24 hours in the future"
            )
        return micros

    def _expected(self) -> str:
        return " nor ".join("an ISO 8601 date and time" if form == "auto" else f"`{form}`" for form in self.formats)


JSON_WORDS: Final = MappingProxyType({"None": "null", "True": "true", "False": "false"})


def shown(value: object) -> str:
    """A value as a message may hold it: short, and on one line."""
    text = JSON_WORDS.get(repr(value)) or repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
