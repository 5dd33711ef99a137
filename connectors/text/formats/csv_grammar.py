"""Find the boundaries of CSV records and fields. Works on bytes, without field names.

The rules are those of Python's `csv` module, defined for every input: a quote opens a quoted field only at its start;
`""` is an escaped quote; text after a closing quote belongs to the field; LF and CRLF end a record; blank lines are
ignored.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.coded import Params

MAX_FIELDS: Final = 256 * 1024  # of a row that are kept: a header row has at most as many bytes


@dataclass(frozen=True, slots=True)
class Dialect:
    """The delimiter and the quote of a file, one ASCII character each; an empty `quote` disables quoting."""

    delimiter: bytes
    quote: bytes


class CsvRow(NamedTuple):
    """A record: its fields as bytes, up to one more than `MAX_FIELDS`, and the offset of the next record."""

    fields: list[bytes]
    end: int
    unclosed: bool = False  # the quote of the last field is never closed


class Grammar:
    """Splits text of one dialect into records."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        delimiter, quoted = re.escape(dialect.delimiter), _quoted(dialect)
        some = b"[^%b\n]*+" % re.escape(dialect.quote)
        field_start = rb"(?:(?<=[%b\n])|\A)" % delimiter
        field_end = rb"(?=[%b\r\n])" % delimiter
        self.records = re.compile(rb"(?:%b(?:%b%b%b%b)*+\n)*+" % (some, field_start, quoted, field_end, some))
        self.quoted = re.compile(quoted)
        self.rest = re.compile(rb"[^%b\n]*+" % delimiter)
        self.fields = _fields(dialect)

    def well_formed(self, text: bytes) -> int:
        """Return the end of the complete records at the front of `text` without stray quotes."""
        if not self.dialect.quote or self.dialect.quote not in text:
            return text.rfind(b"\n") + 1
        match = self.records.match(text)
        return match.end() if match else 0

    def row(self, text: bytes, start: int, *, final: bool) -> CsvRow | None:
        """Parse the record at `start`; None if it is incomplete."""
        line_end = text.find(b"\n", start)
        quote = self.dialect.quote
        if line_end < 0 and not final:
            return None
        stop = line_end if line_end >= 0 else len(text)
        if not quote or text.find(quote, start, stop) < 0:
            line = text[start:stop].removesuffix(b"\r") if line_end >= 0 else text[start:stop]
            return CsvRow(line.split(self.dialect.delimiter, MAX_FIELDS), min(stop + 1, len(text)))
        return self._quoted_row(text, start, final=final)

    def _quoted_row(self, text: bytes, start: int, *, final: bool) -> CsvRow | None:
        fields: list[bytes] = []
        quote, at = self.dialect.quote, start
        while True:
            value = b""
            if text.startswith(quote, at):
                if (quoted := self.quoted.match(text, at)) is None:
                    return CsvRow([*fields, text[at + 1 :]], len(text), unclosed=True) if final else None
                value, at = quoted[0][1:-1].replace(quote * 2, quote), quoted.end()
            rest = self.rest.match(text, at)
            assert rest is not None
            value, at = value + rest[0], rest.end()
            if at == len(text):
                return CsvRow([*fields, value], at) if final else None
            if text.startswith(b"\n", at):
                # the CR of a CRLF follows the closing quote or ends the unquoted text
                return CsvRow([*fields, value[:-1] if text.startswith(b"\r", at - 1) else value], at + 1)
            fields.append(value)
            at += 1
            if len(fields) == MAX_FIELDS and (excess := self.fields.match(text, at)):
                at = excess.end()


def _quoted(dialect: Dialect) -> bytes:
    """Return the pattern of a quoted field."""
    return b"%(q)b[^%(q)b]*+(?:%(q)b%(q)b[^%(q)b]*+)*+%(q)b" % {b"q": re.escape(dialect.quote) or b"(?!)"}


def _fields(dialect: Dialect) -> re.Pattern[bytes]:
    """Return the pattern of fields that end in a delimiter, from the start of a field on."""
    start = b"(?:%b|(?!%b))" % (_quoted(dialect), re.escape(dialect.quote)) if dialect.quote else b""
    return re.compile(b"(?:%(start)b[^%(d)b\n]*+%(d)b)*+" % {b"start": start, b"d": re.escape(dialect.delimiter)})


class CsvSkipper:
    """Finds the end of a record without buffering it."""

    def __init__(self, dialect: Dialect) -> None:
        self._quote = dialect.quote
        self._delimiter = dialect.delimiter
        self._fields = _fields(dialect)
        self._separator = re.compile(b"[%b\n]" % re.escape(dialect.delimiter))
        self._field_start = True
        self._quoted = False
        self._has_quotes = False

    @property
    def rejection(self) -> tuple[str, Params]:
        """Return the code and the parameters of the reject."""
        return ("unclosed_quote", {}) if self._quoted else ("record_too_large", {"quoted": self._has_quotes})

    def skip(self, text: bytes, *, final: bool) -> tuple[int, bool]:
        """Return how many bytes of `text` belong to the record, and whether it ends there."""
        at = 0
        while at < len(text):
            if self._quoted:
                at, closed = self._skip_quoted(text, at)
                if not closed:
                    self._quoted = not (final and at < len(text))
                    return (len(text), True) if final else (at, False)
            elif self._field_start and (end := self._skip_fields(text, at)) > at:
                at = end
                continue
            elif self._field_start and self._quote and text.startswith(self._quote, at):
                self._quoted = self._has_quotes = True
                at += 1
            elif separator := self._separator.search(text, at):
                at = separator.end()
                self._field_start = True
                if separator[0] == b"\n":
                    return at, True
                continue
            else:
                at = len(text)
            self._field_start = False
        return at, final

    def _skip_fields(self, text: bytes, at: int) -> int:
        """Return the end of the complete fields at `at`, in one step: a row can have millions."""
        match = self._fields.match(text, at)
        assert match is not None
        if self._quote and not self._has_quotes:
            after_delimiter = text.find(self._delimiter + self._quote, at, match.end()) >= 0
            self._has_quotes = after_delimiter or text.startswith(self._quote, at, match.end())
        return match.end()

    def _skip_quoted(self, text: bytes, at: int) -> tuple[int, bool]:
        while (quote := text.find(self._quote, at)) >= 0:
            if quote + 1 == len(text):
                return quote, False  # the next byte decides whether it is a closing quote
            if not text.startswith(self._quote, quote + 1):
                self._quoted = False
                return quote + 1, True
            at = quote + 2
        return len(text), False
