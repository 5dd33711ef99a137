"""NDJSON (JSON Lines): one JSON object a line. A line is kept as it was found; blank lines are no records."""

from collections.abc import Sequence
from typing import Final

from connectors.text.formats.json_values import take, take_all
from connectors.text.formats.records import Collector, OnError, Parsed
from connectors.text.timestamps import TimestampReader

BLANKS: Final = b" \t\r"


class Ndjson:
    """Reads one NDJSON text."""

    noun: Final = "line"
    by_line: Final = True

    def __init__(self, timestamps: TimestampReader | None, on_error: OnError) -> None:
        self._timestamps = timestamps
        self._on_error = on_error

    @property
    def fields(self) -> Sequence[str] | None:
        """Each line names its own."""
        return None

    def skipper(self, text: bytes) -> "LineSkipper":
        """Begin to skip the line at the front of `text`."""
        del text
        return LineSkipper()

    def parse(self, text: bytes, first: int, *, final: bool) -> Parsed:
        """Read the complete lines at the front of `text`."""
        end = len(text) if final else text.rfind(b"\n") + 1
        lines = text[:end].split(b"\n")
        records = [record for line in lines if (record := line.strip(BLANKS))]
        plain = None if b"\r" in text else take_all(records, end, self._timestamps)
        return plain or self._exact(lines, first, end)

    def _exact(self, lines: list[bytes], first: int, end: int) -> Parsed:
        collector = Collector(self.noun, first, self._on_error)
        at = started = 0
        for line in lines:
            started, at = at, min(at + len(line) + 1, end)
            if record := line.strip(BLANKS):
                take(collector, record, self._timestamps)
                if collector.full:
                    break
        return collector.parsed(started if collector.stop else at)


class LineSkipper:
    """Looks for the end of one line without holding it."""

    complaint: Final = ("record_too_large", "is larger than a record may be")

    def skip(self, text: bytes, *, final: bool) -> tuple[int, bool]:
        """Return how many bytes of `text` belong to the line for sure, and whether it ends there."""
        end = text.find(b"\n")
        return (end + 1, True) if end >= 0 else (len(text), final)
