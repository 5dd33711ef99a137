"""Find the end of CSV records that are too large to buffer, chunk by chunk."""

import re
from typing import Final

from connectors.text.csv.grammar import UNCLOSED_QUOTE, Dialect, delimited_fields
from schemas.coded import Params


class CsvSkipper:
    """Finds the end of a record without buffering it."""

    def __init__(self, dialect: Dialect) -> None:
        self._quote = dialect.quote
        self._delimiter = dialect.delimiter
        self._blanks = dialect.blanks if dialect.padded else b""
        self._fields = delimited_fields(dialect)
        escape = rb"|\\(?:\r\n|.|\Z)" if dialect.escape else b""
        self._separator = re.compile(b"[%b\n]%b" % (re.escape(dialect.delimiter), escape), re.DOTALL)
        self._closing = re.compile(re.escape(dialect.quote) + escape, re.DOTALL)
        self._field_start = True
        self._quoted = False
        self._has_quotes = False

    @property
    def rejection(self) -> tuple[str, Params]:
        """Return the code and the parameters of the reject."""
        return (UNCLOSED_QUOTE, {}) if self._quoted else ("record_too_large", {"quoted": self._has_quotes})

    def skip(self, text: bytes, *, final: bool) -> tuple[int, bool]:
        """Return how many bytes of `text` belong to the record, and whether it ends there."""
        at = 0
        while at < len(text):
            if self._quoted:
                at, closed = self._skip_quoted(text, at)
                if not closed:
                    self._quoted = not (final and text.startswith(self._quote, at))
                    return (len(text), True) if final else (at, False)
            elif self._field_start and (end := self._skip_fields(text, at)) > at:
                at = end
                continue
            elif self._field_start and self._quote and text.startswith(self._quote, at):
                self._quoted = self._has_quotes = True
                at += 1
            elif separator := self._separator.search(text, at):
                if separator.end() == len(text) and separator[0].startswith(b"\\") and not final:
                    return separator.start(), False  # the next byte decides what is escaped
                at = separator.end()
                self._field_start = separator[0] == self._delimiter
                if separator[0] == b"\n":
                    return at, True
                continue
            else:
                at = len(text)
            self._field_start = False
        return at, final

    def _skip_fields(self, text: bytes, at: int) -> int:
        """Return the end of the complete fields at `at`, and of blanks: a row can have millions of fields."""
        match = self._fields.match(text, at)
        assert match is not None
        end = match.end()
        if self._quote and not self._has_quotes:
            after_delimiter = text.find(self._delimiter + self._quote, at, end) >= 0
            self._has_quotes = after_delimiter or text.startswith(self._quote, at, end)
        while end < len(text) and text[end : end + 1] in self._blanks:
            end += 1
        return end

    def _skip_quoted(self, text: bytes, at: int) -> tuple[int, bool]:
        while closing := self._closing.search(text, at):
            if closing.end() == len(text):
                return closing.start(), False  # the next byte decides what a quote or an escape does
            if closing[0] == self._quote and not text.startswith(self._quote, closing.end()):
                self._quoted = False
                return closing.end(), True
            at = closing.end() + (closing[0] == self._quote)
        return len(text), False


class LineSkipper:
    """Skips a line whose quote is not closed: the lines after it are rows of their own."""

    rejection: Final[tuple[str, Params]] = (UNCLOSED_QUOTE, {})

    def skip(self, text: bytes, *, final: bool) -> tuple[int, bool]:
        """Return the end of the line; it is in the text."""
        del final
        return text.index(b"\n") + 1, True
