"""The start of a CSV text, up to its header row, and the layout that header and first row agree on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

import orjson

from connectors.contract import FixConfiguration
from connectors.text.csv.grammar import BARE_CR, TEXT_AFTER_QUOTE, UNCLOSED_QUOTE, CsvRow, Dialect, Grammar
from connectors.text.encoding import BOM

MAX_COLUMNS: Final = 10_000
MAX_SHOWN_COLUMNS: Final = 20
MAX_HEADER_BYTES: Final = 256 * 1024
MAX_NAMES_BYTES: Final = 240 * 1024  # the cursor holds the names, and is limited to 256 KiB
SEP: Final = b"sep="
SEP_LINE: Final = re.compile(rb'"?sep=(\\t|[^\r\n"]|[\x80-\xff]+)"?\1*[ \t]*\r?(?:\n|\Z)', re.IGNORECASE)
LINE_END: Final = re.compile(r"\s*[\r\n\v\f\x85\u2028\u2029]+\s*")
MADE_UP: Final = "column_"
HEADER_PROBLEMS: Final = {
    UNCLOSED_QUOTE: "unclosed_header_quote",
    TEXT_AFTER_QUOTE: "text_after_header_quote",
    BARE_CR: "bare_cr_in_header",
}


@dataclass(frozen=True, slots=True)
class CsvOptions:
    """The settings of a CSV text. `fields` overrides the names in the header row, if `header_row` announces one."""

    dialect: Dialect
    fields: tuple[str, ...] | None = None
    header_row: bool = True
    skip_lines: int = 0
    comment: bytes = b""
    delimiter_given: bool = False  # by a person: a `sep=` line must agree with it

    @property
    def ignored(self) -> re.Pattern[bytes]:
        """The pattern of what may stand before a record: blank lines, comments, marks of the encoding."""
        comment = b"|%b[^\n]*+\n" % re.escape(self.comment) if self.comment else b""
        return re.compile(b"(?:\r*\n|%b%b)*+" % (BOM, comment))


class Preamble:
    """Parses the text before the first data row: skipped lines, `sep=`, comments and the header row."""

    def __init__(self, options: CsvOptions) -> None:
        self._options = options
        self._ignored = options.ignored
        self._lines_to_skip = options.skip_lines
        self.dialect = options.dialect
        self.delimiter: str | None = None  # of a `sep=` line
        self.header: CsvRow | None = None
        self.names: tuple[str, ...] | None = None  # in the header row
        self.done = False

    def parse(self, text: bytes, *, final: bool) -> int:
        """Return how many bytes at the front of `text` are settled; `done` tells whether rows follow."""
        at = 0
        while self._lines_to_skip and at < len(text):
            end = text.find(b"\n", at) + 1
            if not end and not final:
                return at
            self._read_sep_line(text, at)
            at = end or len(text)
            self._lines_to_skip -= 1
        while not self.done and at < len(text):
            following = self._content(text, at, final=final)
            if following == at:
                break
            at = following
        return len(text) if final and not self.done else at

    def _content(self, text: bytes, at: int, *, final: bool) -> int:
        """Return the end of the next line of the preamble; `at` if it is incomplete, or the first row."""
        if (match := self._ignored.match(text, at)) and match.end() > at:
            return match.end()
        has_line = final or text.find(b"\n", at) >= 0
        if has_line and (end := self._read_sep_line(text, at)):
            return end
        is_comment = self._options.comment and text.startswith(self._options.comment, at)
        if not self._options.header_row:
            self.done = has_line and not is_comment
            return at
        if is_comment:
            return at
        row = Grammar(replace(self.dialect, padded=True)).row(text, at, final=final)
        if row is None:
            if len(text) - at > MAX_HEADER_BYTES:
                raise FixConfiguration("unclosed_header_quote") if has_line else header_too_long(len(text))
            return at
        if any(map(bytes.strip, row.fields)):
            self._set_header(row, text[at : row.end])
        return row.end

    def _read_sep_line(self, text: bytes, at: int) -> int:
        """Return the end of the `sep=` line at an offset, whose delimiter then applies; 0 if there is none."""
        sep = None if self.delimiter else SEP_LINE.match(text, at)
        if sep is None:
            return 0
        self._set_delimiter(sep[1])
        return sep.end()

    def _set_delimiter(self, sign: bytes) -> None:
        delimiter = b"\t" if sign == rb"\t" else sign
        given = self._options.dialect
        if len(delimiter) > 1 or delimiter >= b"\x80" or delimiter == given.quote:
            raise FixConfiguration("unsupported_sep_line", {"delimiter": sign.decode(errors="replace")})
        if self._options.delimiter_given and delimiter != given.delimiter:
            params = {"found": delimiter.decode(), "delimiter": given.delimiter.decode()}
            raise FixConfiguration("sep_line_conflict", params)
        self.delimiter = delimiter.decode()
        self.dialect = replace(given, delimiter=delimiter)

    def _set_header(self, row: CsvRow, record: bytes) -> None:
        if row.problem:
            raise FixConfiguration(HEADER_PROBLEMS[row.problem])
        self.header, self.done = row, True
        if not self._options.fields:
            check_header(row, record)
        self.names = _names(row.fields)


def check_header(row: CsvRow, record: bytes) -> None:
    """Raise `FixConfiguration` if the cells of a header row can't be names."""
    if len(record) > MAX_HEADER_BYTES:
        raise header_too_long(len(record))
    if len(row.fields) > MAX_COLUMNS:
        raise FixConfiguration("too_many_columns", {"columns": len(row.fields), "max": MAX_COLUMNS})
    if b"\0" in record:
        raise FixConfiguration("nul_in_header")
    names = _names(row.fields)
    if names is None:
        raise FixConfiguration("header_encoding")
    if (size := len(orjson.dumps(names))) > MAX_NAMES_BYTES:
        raise FixConfiguration("column_names_too_long", {"bytes": size, "max": MAX_NAMES_BYTES})
    if twice := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise FixConfiguration("duplicate_header", {"column": twice[0]})


def _names(cells: Sequence[bytes]) -> tuple[str, ...] | None:
    """Return the names in a header row; None if they are no text. A column without one is named by its position."""
    try:
        names = [LINE_END.sub(" ", cell.decode()).strip() for cell in cells]
    except UnicodeDecodeError:
        return None
    taken = set(names)
    for index, name in enumerate(names):
        if not name:
            made_up = f"{MADE_UP}{index + 1}"
            names[index] = next(
                name for number in count(1) if (name := made_up if number == 1 else f"{made_up}_{number}") not in taken
            )
            taken.add(names[index])
    return tuple(names)


class RepeatedHeader:
    """Recognizes the header row of a text that was appended to the first one."""

    def __init__(self, names: Sequence[str]) -> None:
        self._cells = [name.encode() for name in names]
        self._sorted = sorted(self._cells)
        self._known = frozenset(self._cells)
        self.key = next((at for at, name in enumerate(names) if not name.startswith(MADE_UP)), 0)

    def find(self, fields: Sequence[bytes]) -> str:
        """Return "same" if the row is the header row, "reordered" if it has its names in another order, or ""."""
        if len(fields) != len(self._cells) or fields[self.key] not in self._known:
            return ""
        made_up = MADE_UP.encode()
        pairs = zip(fields, self._cells, strict=True)
        if all(field == cell or (not field and cell.startswith(made_up)) for field, cell in pairs):
            return "same"
        return "reordered" if sorted(fields) == self._sorted else ""


def count_columns(names: Sequence[str], first: CsvRow, *, nameless_last: bool) -> tuple[int, bool]:
    """Return the number of columns, and whether rows end in a delimiter, by the header row and the first row."""
    columns = len(names) - nameless_last
    if len(first.fields) == columns + 1 and not first.fields[-1].strip():
        return columns, True
    return (columns if len(first.fields) == columns else len(names)), False


def is_padded(header: CsvRow | None, first: CsvRow) -> bool:
    """Whether fields have blanks around them, which the first row has in all columns where the header row has them."""
    return header is not None and bool(header.padded) and set(header.padded) <= set(first.padded)


def unknown_field(field: str, names: Sequence[str]) -> FixConfiguration:
    """Return the error of a timestamp field that is no column."""
    columns = tuple(names[:MAX_SHOWN_COLUMNS])
    return FixConfiguration(
        "unknown_timestamp_field", {"field": field, "columns": columns, "more": len(names) - len(columns)}
    )


def header_too_long(size: int) -> FixConfiguration:
    """Return the error of a header row that is too long."""
    return FixConfiguration("header_too_long", {"bytes": min(size, MAX_HEADER_BYTES), "max": MAX_HEADER_BYTES})
