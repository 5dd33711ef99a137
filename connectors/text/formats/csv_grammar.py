"""Where CSV records begin and end. Decodes nothing and knows no field names.

The rules are those of Python's `csv` module, made total: a quote opens a field only at its start and `""` stands for
one quote; what follows a closing quote belongs to the field; LF and CRLF end a record; blank lines are no records.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

UNCLOSED: Final = (
    "opens a quote that is never closed, so everything from here to the end of the file was taken as one field; "
    "close the quote, or set `quote` to an empty text if quotes mean nothing in this file"
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file writes its fields. Both are one ASCII character; an empty `quote`: quotes mean nothing."""

    delimiter: bytes
    quote: bytes


class Row(NamedTuple):
    """One record as it lies in the text: its fields, still bytes, and where the next record begins."""

    fields: list[bytes]
    end: int
    unclosed: bool = False  # its last field opens a quote that nothing closes


class Grammar:
    """The patterns of one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        delimiter, quote = re.escape(dialect.delimiter), re.escape(dialect.quote) or b"(?!)"
        some = b"[^%b\n]*+" % re.escape(dialect.quote)
        quoted = b"%(q)b[^%(q)b]*+(?:%(q)b%(q)b[^%(q)b]*+)*+%(q)b" % {b"q": quote}
        field_start = rb"(?:(?<=[%b\n])|\A)" % delimiter
        field_end = rb"(?=[%b\r\n])" % delimiter
        self.records = re.compile(rb"(?:%b(?:%b%b%b%b)*+\n)*+" % (some, field_start, quoted, field_end, some))
        self.quoted = re.compile(quoted)
        self.rest = re.compile(rb"[^%b\n]*+" % delimiter)

    def well_formed(self, text: bytes) -> int:
        """Where the complete records at the front of `text` that have no stray quote end."""
        if not self.dialect.quote or self.dialect.quote not in text:
            return text.rfind(b"\n") + 1
        found = self.records.match(text)
        return found.end() if found else 0

    def row(self, text: bytes, start: int, *, final: bool) -> Row | None:
        """The record at `start`, or None when `text` ends before it does."""
        line_end = text.find(b"\n", start)
        quote = self.dialect.quote
        if line_end < 0 and not final:
            return None
        stop = line_end if line_end >= 0 else len(text)
        if not quote or text.find(quote, start, stop) < 0:
            line = text[start:stop].removesuffix(b"\r") if line_end >= 0 else text[start:stop]
            return Row(line.split(self.dialect.delimiter), min(stop + 1, len(text)))
        return self._walk(text, start, final=final)

    def _walk(self, text: bytes, start: int, *, final: bool) -> Row | None:
        fields: list[bytes] = []
        quote, at = self.dialect.quote, start
        while True:
            value = b""
            if text.startswith(quote, at):
                if (quoted := self.quoted.match(text, at)) is None:
                    return Row([*fields, text[at + 1 :]], len(text), unclosed=True) if final else None
                value, at = quoted[0][1:-1].replace(quote * 2, quote), quoted.end()
            rest = self.rest.match(text, at)
            assert rest is not None
            value, at = value + rest[0], rest.end()
            if at == len(text):
                return Row([*fields, value], at) if final else None
            if text.startswith(b"\n", at):
                # the CR of a CRLF stands behind the closing quote or at the end of the bare text
                return Row([*fields, value[:-1] if text.startswith(b"\r", at - 1) else value], at + 1)
            fields.append(value)
            at += 1


class CsvSkipper:
    """Looks for the end of one record without holding it."""

    def __init__(self, dialect: Dialect) -> None:
        self._quote = dialect.quote
        self._next = re.compile(b"[%b\n]" % re.escape(dialect.delimiter))
        self._field_start = True
        self._quoted = False
        self._ever_quoted = False

    @property
    def complaint(self) -> tuple[str, str]:
        """The code and the reason of the reject."""
        if self._quoted:
            return "unclosed_quote", UNCLOSED
        hint = "; if it should be shorter, a closing quote is missing near its start" if self._ever_quoted else ""
        return "record_too_large", f"is larger than a record may be{hint}"

    def skip(self, text: bytes, *, final: bool) -> tuple[int, bool]:
        """Return how many bytes of `text` belong to the record for sure, and whether it ends there."""
        at = 0
        while at < len(text):
            if self._quoted:
                at, known = self._through_quotes(text, at)
                if not known:
                    self._quoted = not (final and at < len(text))
                    return (len(text), True) if final else (at, False)
            elif self._field_start and self._quote and text.startswith(self._quote, at):
                self._quoted = self._ever_quoted = True
                at += 1
            elif found := self._next.search(text, at):
                at = found.end()
                self._field_start = True
                if found[0] == b"\n":
                    return at, True
                continue
            else:
                at = len(text)
            self._field_start = False
        return at, final

    def _through_quotes(self, text: bytes, at: int) -> tuple[int, bool]:
        while (quote := text.find(self._quote, at)) >= 0:
            if quote + 1 == len(text):
                return quote, False  # the next byte decides whether it closes
            if not text.startswith(self._quote, quote + 1):
                self._quoted = False
                return quote + 1, True
            at = quote + 2
        return len(text), False
