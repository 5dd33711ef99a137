"""NDJSON (JSON Lines): one JSON object per line. Lines are kept byte for byte; blank lines are ignored."""

from collections.abc import Sequence
from typing import Final

from connectors.text.formats.json_values import collect_record, parse_all
from connectors.text.formats.records import Collector, OnError, Parsed
from connectors.text.timestamps import TimestampReader
from schemas.coded import Params

BLANKS: Final = b" \t\r"


class Ndjson:
    """Parses one NDJSON text."""

    noun: Final = "line"
    line_based: Final = True

    def __init__(self, timestamps: TimestampReader | None, on_error: OnError) -> None:
        self._timestamps = timestamps
        self._on_error = on_error

    @property
    def fields(self) -> Sequence[str] | None:
        """None: every line names its own fields."""
        return None

    def skipper(self, text: bytes) -> "LineSkipper":
        """Return a skipper for the line at the front of `text`."""
        del text
        return LineSkipper()

    def parse(self, text: bytes, first: int, *, final: bool) -> Parsed:
        """Parse the complete lines at the front of `text`."""
        end = len(text) if final else text.rfind(b"\n") + 1
        lines = text[:end].split(b"\n")
        records = [record for line in lines if (record := line.strip(BLANKS))]
        fast = None if b"\r" in text else parse_all(records, end, self._timestamps)
        return fast or self._exact(lines, first, end)

    def _exact(self, lines: list[bytes], first: int, end: int) -> Parsed:
        collector = Collector(self.noun, first, self._on_error)
        position = previous = 0
        for line in lines:
            previous, position = position, min(position + len(line) + 1, end)
            if record := line.strip(BLANKS):
                collect_record(collector, record, self._timestamps)
                if collector.full:
                    break
        return collector.parsed(previous if collector.stop else position)


class LineSkipper:
    """Finds the end of a line without buffering it."""

    rejection: Final[tuple[str, Params]] = ("record_too_large", {})

    def skip(self, text: bytes, *, final: bool) -> tuple[int, bool]:
        """Return how many bytes of `text` belong to the line, and whether it ends there."""
        end = text.find(b"\n")
        return (end + 1, True) if end >= 0 else (len(text), final)
