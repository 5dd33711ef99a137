"""A JSON array of objects, read as it arrives: finds where each object ends and never holds the whole.

Objects are kept as they were found, without line ends. An array that isn't closed may still be written: `RetryLater`.
"""

import re
from collections.abc import Sequence
from typing import Final, Literal

from connectors.contract import FixConfiguration, RetryLater
from connectors.text.formats.json_scanner import STRING_END, closing_end, cut_at_boundaries, match_end, skip_blanks
from connectors.text.formats.json_values import take, take_all
from connectors.text.formats.records import Collector, OnError, Parsed
from connectors.text.timestamps import TimestampReader

OUTSIDE: Final = re.compile(rb'[^"{}\[\]]*+')


class JsonArray:
    """Reads one JSON array. `begun` when reading goes on behind an object of it."""

    noun: Final = "object"
    by_line: Final = False

    def __init__(self, timestamps: TimestampReader | None, on_error: OnError, *, begun: bool) -> None:
        self._timestamps = timestamps
        self._on_error = on_error
        self._begun = begun
        self._behind = 0  # the ordinal of the last object, for messages

    @property
    def fields(self) -> Sequence[str] | None:
        """Each object names its own."""
        return None

    def skipper(self, text: bytes) -> "ObjectSkipper":
        """Begin to skip the object at the front of `text`."""
        start = self._start(text, 0)
        if not isinstance(start, int):
            raise FixConfiguration("not_an_array_of_objects", f"{len(text):,} blanks where an object should begin")
        self._begun = True
        return ObjectSkipper()

    def parse(self, text: bytes, first: int, *, final: bool) -> Parsed:
        """Read the complete objects at the front of `text`."""
        return self._plain(text) or self._exact(text, first, final=final)

    def _plain(self, text: bytes) -> Parsed | None:
        """Read every object but the last. Return None when a piece isn't an object."""
        start = self._start(text, 0)
        if not isinstance(start, int):
            return None
        records, rest = cut_at_boundaries(text, start)
        if not records:
            return None
        end = text.rindex(b"}", 0, rest) + 1
        if b"\n" in text or b"\r" in text:
            records = [each.translate(None, b"\r\n") for each in records]
        parsed = take_all(records, end, self._timestamps)
        self._begun = self._begun or parsed is not None
        return parsed

    def _exact(self, text: bytes, first: int, *, final: bool) -> Parsed:
        collector = Collector(self.noun, first, self._on_error)
        at = 0
        while not collector.full:
            self._behind = first + collector.read - 1
            start = self._start(text, at)
            if start == "ended":
                return collector.parsed(at) if at else Parsed(text.index(b"]") + 1, ended=True)
            end = closing_end(text, start) if isinstance(start, int) else None
            if end is None or not isinstance(start, int):
                break
            take(collector, text[start:end], self._timestamps)
            if collector.stop is None:
                at, self._begun = end, True
        if final and at == 0 and collector.stop is None:
            raise RetryLater(
                "truncated",
                f"the text ends before the array is closed, behind object {self._behind}: what was complete is kept; "
                "if the file isn't being written any more, put a complete one in its place",
            )
        return collector.parsed(at)

    def _start(self, text: bytes, at: int) -> int | Literal["ended"] | None:
        """Where the next object begins, past its separator; None when the text ends before that."""
        at = skip_blanks(text, at)
        opening = not self._begun
        if at < len(text):
            sign = text[at : at + 1]
            if sign == b"]" and self._begun:
                return "ended"
            if sign != (b"[" if opening else b","):
                raise self._unexpected(text, at, "`[`: a JSON array of objects" if opening else "`,` or `]`")
            at = skip_blanks(text, at + 1)
        if at >= len(text):
            return None
        if text.startswith(b"]", at) and opening:
            return "ended"
        if not text.startswith(b"{", at):
            raise self._unexpected(text, at, "`{`: each element has to be an object")
        return at

    def _unexpected(self, text: bytes, at: int, wanted: str) -> FixConfiguration:
        found = text[at : at + 20].decode(errors="replace")
        hint = "; for one object a line set `format` to `ndjson`" if found.startswith("{") else ""
        place = f"behind object {self._behind}" if self._begun else "at the start"
        return FixConfiguration("not_an_array_of_objects", f"found {found!r} {place}, where {wanted} is needed{hint}")


class ObjectSkipper:
    """Looks for the end of one object without holding it."""

    complaint: Final = ("record_too_large", "is larger than a record may be; is a closing brace or quote missing?")

    def __init__(self) -> None:
        self._depth = 0
        self._string = False

    def skip(self, text: bytes, *, final: bool) -> tuple[int, bool]:
        """Return how many bytes of `text` belong to the object for sure, and whether it ends there."""
        at = 0
        if self._depth == 0:
            at = text.index(b"{") + 1
            self._depth = 1
        while at < len(text):
            at = match_end(STRING_END if self._string else OUTSIDE, text, at)
            sign = text[at : at + 1]
            if sign in {b"", b"\\"}:
                break
            at += 1
            if sign == b'"':
                self._string = not self._string
            else:
                self._depth += 1 if sign in b"{[" else -1
                if self._depth == 0:
                    return at, True
        if final:
            raise RetryLater("truncated", "the text ends inside an object that is larger than a record may be")
        return at, False
