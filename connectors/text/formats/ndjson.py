"""NDJSON (JSON Lines): one JSON object per line. Lines are kept byte for byte; blank lines are ignored.

A byte-order mark is dropped at the start of a line, and between two objects: there, a text without a last line end was
joined with the next one.
"""

import re
from itertools import chain
from typing import Final

import orjson

from connectors.text.encoding import BOM, has_bom
from connectors.text.formats.json_values import collect_record, parse_all
from connectors.text.formats.records import NO_LAYOUT, Collector, OnError, Parsed
from connectors.text.timestamps import TimestampReader
from schemas.coded import Params

BLANKS: Final = b" \t\r"
JOINT: Final = re.compile(rb"(?<=\})(?=%b\{)" % BOM)


class Ndjson:
    """Parses one NDJSON text."""

    noun: Final = "line"
    layout: Final = NO_LAYOUT
    line_based: Final = True

    def __init__(self, timestamps: TimestampReader | None, on_error: OnError) -> None:
        self._timestamps = timestamps
        self._on_error = on_error

    def skipper(self, text: bytes) -> "LineSkipper":
        """Return a skipper for the line at the front of `text`."""
        del text
        return LineSkipper()

    def parse(self, text: bytes, first: int, *, final: bool) -> Parsed:
        """Parse the complete lines at the front of `text`."""
        end = len(text) if final else text.rfind(b"\n") + 1
        lines = text[:end].split(b"\n")
        if b"\r" not in text and not has_bom(text):
            records = [record for line in lines if (record := line.strip(BLANKS))]
            if fast := parse_all(records, end, self._timestamps):
                return fast
        return self._exact(lines, first, end)

    def _exact(self, lines: list[bytes], first: int, end: int) -> Parsed:
        collector = Collector(self.noun, first, self._on_error)
        position = previous = 0
        for line in chain.from_iterable(map(_split_texts, lines)):
            previous, position = position, min(position + len(line), end)
            if record := line.removeprefix(BOM).strip(BLANKS + b"\n"):
                collect_record(collector, record, self._timestamps)
                if collector.full:
                    break
        return collector.parsed(previous if collector.stop else position)


def _split_texts(line: bytes) -> list[bytes]:
    """Return a line with its line end; as several lines, if texts were joined in it."""
    parts = JOINT.split(line) if BOM in line and not _is_json(line.removeprefix(BOM)) else [line]
    return [*parts[:-1], parts[-1] + b"\n"]


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


class LineSkipper:
    """Finds the end of a line without buffering it."""

    rejection: Final[tuple[str, Params]] = ("record_too_large", {})

    def skip(self, text: bytes, *, final: bool) -> tuple[int, bool]:
        """Return how many bytes of `text` belong to the line, and whether it ends there."""
        end = text.find(b"\n")
        return (end + 1, True) if end >= 0 else (len(text), final)
