"""Parse a JSON array of objects incrementally, without buffering the whole array.

Objects are kept byte for byte, without line ends. An unclosed array raises `RetryLater`: it may still be written.
"""

import re
from typing import Final, Literal

import orjson

from connectors.contract import FixConfiguration, RetryLater
from connectors.text.formats.json_scanner import STRING_END, closing_end, cut_at_boundaries, match_end, skip_blanks
from connectors.text.formats.json_values import collect_record, parse_all
from connectors.text.formats.records import NO_LAYOUT, Collector, OnError, Parsed
from connectors.text.timestamps import TimestampReader
from schemas.coded import Param, Params

MAX_NAME_CHARACTERS: Final = 100
OUTSIDE: Final = re.compile(rb'[^"{}\[\]]*+')


class JsonArray:
    """Parses one JSON array. `begun`: reading resumes after one of its objects."""

    noun: Final = "object"
    layout: Final = NO_LAYOUT
    line_based: Final = False

    def __init__(self, timestamps: TimestampReader | None, on_error: OnError, *, begun: bool) -> None:
        self._timestamps = timestamps
        self._on_error = on_error
        self._begun = begun
        self._last_ordinal = 0  # of the last object, for messages

    def skipper(self, text: bytes) -> "ObjectSkipper":
        """Return a skipper for the object at the front of `text`."""
        start = self._start(text, 0)
        if not isinstance(start, int):
            raise FixConfiguration("blanks_in_array", {"bytes": len(text)})
        self._begun = True
        return ObjectSkipper()

    def parse(self, text: bytes, first: int, *, final: bool) -> Parsed:
        """Parse the complete objects at the front of `text`."""
        return self._fast(text) or self._exact(text, first, final=final)

    def _fast(self, text: bytes) -> Parsed | None:
        """Parse every object but the last; None if a piece isn't an object."""
        start = self._start(text, 0)
        if not isinstance(start, int):
            return None
        records, rest = cut_at_boundaries(text, start)
        if not records:
            return None
        end = text.rindex(b"}", 0, rest) + 1
        if b"\n" in text or b"\r" in text:
            records = [record.translate(None, b"\r\n") for record in records]
        parsed = parse_all(records, end, self._timestamps)
        self._begun = self._begun or parsed is not None
        return parsed

    def _exact(self, text: bytes, first: int, *, final: bool) -> Parsed:
        collector = Collector(self.noun, first, self._on_error)
        position = 0
        while not collector.full:
            self._last_ordinal = first + collector.read - 1
            start = self._start(text, position)
            if start == "ended":
                return collector.parsed(position) if position else Parsed(text.index(b"]") + 1, ended=True)
            end = closing_end(text, start) if isinstance(start, int) else None
            if end is None or not isinstance(start, int):
                break
            collect_record(collector, text[start:end], self._timestamps)
            if collector.stop is None:
                position, self._begun = end, True
        if final and position == 0 and collector.stop is None:
            raise RetryLater("truncated", {"object": self._last_ordinal})
        return collector.parsed(position)

    def _start(self, text: bytes, at: int) -> int | Literal["ended"] | None:
        """Return the start of the next object, after its separator; None if the text ends before that."""
        at = skip_blanks(text, at)
        opening = not self._begun
        if at < len(text):
            character = text[at : at + 1]
            if character == b"]" and self._begun:
                return "ended"
            if character != (b"[" if opening else b","):
                raise self._unexpected(text, at, "[" if opening else ",")
            at = skip_blanks(text, at + 1)
        if at >= len(text):
            return None
        if text.startswith(b"]", at) and opening:
            return "ended"
        if not text.startswith(b"{", at):
            raise self._unexpected(text, at, "{")
        return at

    def _unexpected(self, text: bytes, at: int, expected: str) -> FixConfiguration:
        excerpt = text[at : at + 20].decode(errors="replace")
        params: dict[str, Param] = {"found": excerpt, "expected": expected}
        if self._begun:
            params["after"] = self._last_ordinal
        elif text.startswith(b"{", at):
            params |= _advice(text[at : closing_end(text, at)])
        return FixConfiguration("not_an_array_of_objects", params)


def _advice(record: bytes) -> dict[str, Param]:
    """Return how to import what isn't an array: its member with the objects, or a format that takes a single object."""
    try:
        message = orjson.loads(record)
    except orjson.JSONDecodeError:
        return {}
    members = (name for name, value in message.items() if isinstance(value, list) and value and type(value[0]) is dict)
    member = next(members, None)
    if member is not None:
        return {"member": member[:MAX_NAME_CHARACTERS]}
    return {} if b"\n" in record else {"format": "ndjson"}


class ObjectSkipper:
    """Finds the end of an object without buffering it."""

    rejection: Final[tuple[str, Params]] = ("record_too_large", {"unclosed": True})

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False

    def skip(self, text: bytes, *, final: bool) -> tuple[int, bool]:
        """Return how many bytes of `text` belong to the object, and whether it ends there."""
        position = 0
        if self._depth == 0:
            position = text.index(b"{") + 1
            self._depth = 1
        while position < len(text):
            position = match_end(STRING_END if self._in_string else OUTSIDE, text, position)
            character = text[position : position + 1]
            if character in {b"", b"\\"}:
                break
            position += 1
            if character == b'"':
                self._in_string = not self._in_string
            else:
                self._depth += 1 if character in b"{[" else -1
                if self._depth == 0:
                    return position, True
        if final:
            raise RetryLater("truncated_object")
        return position, False
