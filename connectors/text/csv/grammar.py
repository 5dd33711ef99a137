"""Find the boundaries of CSV records and fields. Works on bytes, without field names.

The rules are those of Python's `csv` module, defined for every input: a quote opens a quoted field only at its start;
`""` is an escaped quote; text after a closing quote belongs to the field, and makes the record malformed; LF and CRLF
end a record, and a CR elsewhere outside of quotes makes it malformed; blank lines are ignored. With an escape, a
backslash takes the meaning from a quote, a delimiter, a line end and a backslash; before anything else it is text. With
padding, blanks around a field don't belong to it.
"""

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

MAX_FIELDS: Final = 256 * 1024  # of a row that are kept: a header row has at most as many bytes
UNCLOSED_QUOTE: Final = "unclosed_quote"
TEXT_AFTER_QUOTE: Final = "text_after_quote"
BARE_CR: Final = "bare_cr"


@dataclass(frozen=True, slots=True)
class Dialect:
    """The delimiter and the quote of a file, one ASCII character each; an empty `quote` disables quoting."""

    delimiter: bytes
    quote: bytes
    escape: bytes = b""  # a backslash, or none
    padded: bool = False

    @property
    def blanks(self) -> bytes:
        """The characters that pad fields."""
        return b" \t".replace(self.delimiter, b"")


class CsvRow(NamedTuple):
    """A record: its fields as bytes, up to one more than `MAX_FIELDS`, and the offset of the next record."""

    fields: list[bytes]
    end: int
    problem: str = ""  # the code of malformed quoting, or of a line end that is none
    padded: tuple[int, ...] = ()  # the fields that had blanks around them, if the dialect is padded
    plain: bool = False  # without quotes and escapes, so it is one line


class Grammar:
    """Splits text of one dialect into records."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._signs = tuple(sign for sign in (dialect.quote, dialect.escape) if sign)
        delimiter, quoted = re.escape(dialect.delimiter), quoted_field(dialect)
        some = b"[^%b\n]*+" % re.escape(dialect.quote)
        field_start = rb"(?:(?<=[%b\n])|\A)" % delimiter
        field_end = rb"(?=[%b\r\n])" % delimiter
        self.records = re.compile(rb"(?:%b(?:%b%b%b%b)*+\n)*+" % (some, field_start, quoted, field_end, some))
        self.quoted = re.compile(quoted, re.DOTALL)
        self.rest = re.compile(unquoted_text(dialect), re.DOTALL)
        self.fields = delimited_fields(dialect)
        self.padding = re.compile(b"[%b]*+" % re.escape(dialect.blanks) if dialect.padded else b"")
        self.escapes = re.compile(rb"\\(\r\n|[\\\r\n%b%b])" % (delimiter, re.escape(dialect.quote)))

    def well_formed(self, text: bytes) -> int:
        """Return the end of the complete records at the front of `text` without stray quotes; ignores escapes."""
        if not self.dialect.quote or self.dialect.quote not in text:
            return text.rfind(b"\n") + 1
        match = self.records.match(text)
        return match.end() if match else 0

    def row(self, text: bytes, start: int, *, final: bool) -> CsvRow | None:
        """Parse the record at `start`; None if it is incomplete."""
        line_end = text.find(b"\n", start)
        if line_end < 0 and not final:
            return None
        stop = line_end if line_end >= 0 else len(text)
        for sign in self._signs:
            if text.find(sign, start, stop) >= 0:
                return self._quoted_row(text, start, final=final)
        line = text[start:stop].removesuffix(b"\r")
        problem = BARE_CR if b"\r" in line else ""
        fields, end = line.split(self.dialect.delimiter, MAX_FIELDS), min(stop + 1, len(text))
        if not self.dialect.padded:
            return CsvRow(fields, end, problem, plain=True)
        trimmed = [field.strip(self.dialect.blanks) for field in fields]
        padded = tuple(at for at, field in enumerate(fields) if trimmed[at] != field)
        return CsvRow(trimmed, end, problem, padded, plain=True)

    def _quoted_row(self, text: bytes, start: int, *, final: bool) -> CsvRow | None:
        fields: list[bytes] = []
        padded: list[int] = []
        problem, at = "", start
        while True:
            field = self._field(text, at)
            if field is None:
                return CsvRow([*fields, text[at + 1 :]], len(text), UNCLOSED_QUOTE) if final else None
            value, at, field_problem, has_padding = field
            problem = problem or field_problem
            if has_padding:
                padded.append(len(fields))
            if at == len(text) and not final:
                return None
            fields.append(value)
            if at == len(text) or text.startswith(b"\n", at):
                return CsvRow(fields, min(at + 1, len(text)), problem, tuple(padded))
            at += 1
            if len(fields) == MAX_FIELDS and (excess := self.fields.match(text, at)):
                at = excess.end()

    def _field(self, text: bytes, start: int) -> tuple[bytes, int, str, bool] | None:
        """Return the field at `start`: value, end, problem, and whether it is padded; None if its quote is open."""
        quote, blanks = self.dialect.quote, self.dialect.blanks if self.dialect.padded else b""
        opening = _end(self.padding, text, start)
        if not (quote and text.startswith(quote, opening)):
            end = _end(self.rest, text, start)
            raw = text[start : self._value_end(text, end)]
            value = raw.strip(blanks) if blanks else raw
            return self._unescaped(value), end, BARE_CR if b"\r" in value and self._is_bare(value) else "", value != raw
        quoted = self.quoted.match(text, opening)
        if quoted is None:
            return None
        end = _end(self.rest, text, quoted.end())
        raw = text[quoted.end() : self._value_end(text, end)]
        rest = raw.strip(blanks) if blanks else raw
        problem = TEXT_AFTER_QUOTE if rest.strip(b"\r") else BARE_CR if rest else ""
        value = self._unescaped(quoted[0][1:-1], quoted=True) + rest
        return value, end, problem, opening > start or rest != raw

    def _value_end(self, text: bytes, end: int) -> int:
        """Return the end of a value: the CR of a line end follows the closing quote or ends the unquoted text."""
        if text[end - 1 : end] != b"\r":
            return end
        return end - 1 if end == len(text) or text.startswith(b"\n", end) else end

    def _is_bare(self, value: bytes) -> bool:
        """Whether a CR in an unquoted value is not escaped."""
        return not self.dialect.escape or b"\r" in self.escapes.sub(b"", value)

    def _unescaped(self, value: bytes, *, quoted: bool = False) -> bytes:
        quote, escape = self.dialect.quote, self.dialect.escape
        if not escape or escape not in value:
            return value.replace(quote * 2, quote) if quoted else value
        parts = self.escapes.split(value)  # text and escaped character in turns
        if quoted:
            parts[::2] = [part.replace(quote * 2, quote) for part in parts[::2]]
        return b"".join(parts)


def _end(pattern: re.Pattern[bytes], text: bytes, start: int) -> int:
    """Return the end of a pattern that matches everywhere."""
    match = pattern.match(text, start)
    assert match is not None
    return match.end()


def quoted_field(dialect: Dialect) -> bytes:
    """Return the pattern of a quoted field."""
    if not dialect.quote:
        return b"(?!)"
    quote = re.escape(dialect.quote)
    if dialect.escape:
        return rb"%(q)b[^%(q)b\\]*+(?:(?:%(q)b%(q)b|\\.)[^%(q)b\\]*+)*+%(q)b" % {b"q": quote}
    return b"%(q)b[^%(q)b]*+(?:%(q)b%(q)b[^%(q)b]*+)*+%(q)b" % {b"q": quote}


def unquoted_text(dialect: Dialect) -> bytes:
    """Return the pattern of the text up to the next delimiter or line end."""
    delimiter = re.escape(dialect.delimiter)
    if dialect.escape:
        return rb"[^%(d)b\n\\]*+(?:\\(?:\r\n|.|\Z)[^%(d)b\n\\]*+)*+" % {b"d": delimiter}
    return b"[^%b\n]*+" % delimiter


def delimited_fields(dialect: Dialect) -> re.Pattern[bytes]:
    """Return the pattern of fields that end in a delimiter, from the start of a field on."""
    start = b""
    if dialect.quote:
        padding = b"[%b]*+" % re.escape(dialect.blanks) if dialect.padded else b""
        start = b"%b(?:%b|(?!%b))" % (padding, quoted_field(dialect), re.escape(dialect.quote))
    return re.compile(b"(?:%b%b%b)*+" % (start, unquoted_text(dialect), re.escape(dialect.delimiter)), re.DOTALL)
