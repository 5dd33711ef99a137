"""Convert CSV (RFC 4180) to NDJSON. Every value stays a string, byte for byte.

The fast path converts blocks of well-formed records by column, or declines; the exact path parses row by row. Both
produce the same bytes. Blank and empty rows, comments, and header rows of texts that were joined are not records.
"""

from dataclasses import replace
from typing import Final

import orjson

from connectors.text.csv.grammar import MAX_FIELDS, UNCLOSED_QUOTE, CsvRow, Grammar
from connectors.text.csv.header import (
    SEP,
    SEP_LINE,
    CsvOptions,
    Preamble,
    RepeatedHeader,
    count_columns,
    header_too_long,
    is_padded,
    unknown_field,
)
from connectors.text.csv.skippers import CsvSkipper, LineSkipper
from connectors.text.csv.stray_quotes import are_rows_after, is_line_malformed
from connectors.text.encoding import BOM, has_bom
from connectors.text.formats.records import Collector, Layout, OnError, Parsed, Skipper
from connectors.text.timestamps import InvalidRecord, TimestampReader

MAX_BLOCK_BYTES: Final = 1 << 30
MIN_BLOCK_BYTES: Final = 32 * 1024  # a block with invalid records is halved down to this size, then parsed row by row
MAX_FAST_COLUMNS: Final = 500  # above this, parsing by row is faster; every column also costs about 10 KB
MAX_GROWTH: Final = 4  # average output bytes per input byte of a block: every record repeats the field names


class Csv:
    """Parses one CSV text, from its start, or from its middle if `layout` is known."""

    noun: Final = "row"
    line_based: Final = True

    def __init__(
        self, options: CsvOptions, timestamps: TimestampReader | None, on_error: OnError, layout: Layout | None = None
    ) -> None:
        self._options = options
        self._block_bytes = MAX_BLOCK_BYTES
        self._timestamps = timestamps
        self._on_error = on_error
        self._ignored = options.ignored
        self._ignored_starts = frozenset(b"\r\n" + BOM[:1] + options.comment)
        self._preamble = None if layout else Preamble(options)
        self._is_settled = layout is not None
        self._apply(layout or Layout(options.fields))

    def _apply(self, layout: Layout) -> None:
        self.layout = layout
        self._fields = self._options.fields or layout.fields or ()
        delimiter = layout.delimiter.encode() if layout.delimiter else self._options.dialect.delimiter
        self._dialect = replace(self._options.dialect, delimiter=delimiter, padded=layout.padded)
        self._grammar = Grammar(self._dialect)
        self._repeated = RepeatedHeader(layout.fields or ())
        self._has_other_lines = bool(layout.delimiter or self._options.comment)  # `sep=` lines, comments

    def skipper(self, text: bytes) -> Skipper:
        """Return a skipper for the record at the front of `text`."""
        if self._preamble and not self._preamble.done:
            raise header_too_long(len(text))
        self._is_settled = True
        lines = text[: text.rfind(b"\n") + 1]
        if len(self._fields) > 1 and are_rows_after(self._grammar, lines, len(self._fields)):
            return LineSkipper()
        return CsvSkipper(self._dialect)

    def parse(self, text: bytes, first: int, *, final: bool) -> Parsed:
        """Parse the complete records at the front of `text`."""
        if self._preamble and not self._preamble.done:
            consumed = self._parse_preamble(self._preamble, text, final=final)
            if consumed or not self._preamble.done:
                return Parsed(consumed)
        if not self._is_settled:
            resumption = self._settle(text, final=final)
            if not self._is_settled:
                return Parsed(resumption)
        if len(self._fields) > MAX_FAST_COLUMNS:
            return self._exact(text, first, final=final)
        block = self._bounded(text)
        quote = self._dialect.quote
        while True:
            end = self._grammar.well_formed(block)
            if len(block) == len(text) and final and not (quote and quote in block[end:]):
                end = len(block)
            if (end >= MIN_BLOCK_BYTES // 2 or end == len(text)) and (parsed := self._fast(block[:end])):
                self._block_bytes = min(2 * self._block_bytes, MAX_BLOCK_BYTES)
                return parsed
            if len(block) <= MIN_BLOCK_BYTES:
                return self._exact(text, first, final=final)
            self._block_bytes = max(len(block) // 2, MIN_BLOCK_BYTES)
            block = block[: self._block_bytes]

    def _parse_preamble(self, preamble: Preamble, text: bytes, *, final: bool) -> int:
        consumed = preamble.parse(text, final=final)
        if preamble.done:
            names = preamble.names if preamble.names and not self._options.fields else self._options.fields or ()
            if self._timestamps and self._timestamps.field not in names:
                raise unknown_field(self._timestamps.field, names)
            self._apply(Layout(preamble.names or self._options.fields, preamble.delimiter))
        return consumed

    def _settle(self, text: bytes, *, final: bool) -> int:
        """Adopt the layout that header and first row agree on; until the latter is complete, return where to resume."""
        header = self._preamble.header if self._preamble else None
        grammar = Grammar(replace(self._dialect, padded=header is not None and bool(header.padded)))
        start = self._content_start(text, 0)
        resumption = _resumption(text, 0, start, final=False)
        while True:
            row = grammar.row(text, start, final=final)
            if row is None or start == len(text):
                self._is_settled = final
                return resumption
            if row.problem or any(map(bytes.strip, row.fields)):
                break
            start = self._content_start(text, row.end)
        padded = is_padded(header, row)
        if not padded:
            row = self._grammar.row(text, start, final=final)
            if row is None:
                return resumption
        nameless_last = header is not None and not header.fields[-1] and not self._options.fields
        columns, trailing = count_columns(self._fields, row, nameless_last=nameless_last)
        names = self.layout.fields if self._options.fields else self._fields[:columns]
        self._apply(replace(self.layout, fields=names, trailing_delimiter=trailing, padded=padded))
        self._is_settled = True
        return 0

    def _content_start(self, text: bytes, at: int) -> int:
        if at == len(text) or text[at] not in self._ignored_starts:
            return at
        match = self._ignored.match(text, at)
        return match.end() if match else at

    def _fast(self, text: bytes) -> Parsed | None:
        from connectors.text.csv.columns import Table, to_ndjson  # noqa: PLC0415 -- 25 MB, only needed for reading

        comment = self._options.comment
        if comment and (text.startswith(comment) or b"\n" + comment in text):
            return None
        if self.layout.delimiter and SEP in text.lower():
            return None
        table = Table(self._fields, self._dialect, self.layout.fields or (), self.layout.trailing_delimiter)
        converted = to_ndjson(text, table, self._timestamps)
        return Parsed(len(text), *converted) if converted else None

    def _exact(self, text: bytes, first: int, *, final: bool) -> Parsed:
        collector = Collector(self.noun, first, self._on_error)
        is_marked = has_bom(text)
        position = start = 0
        while position < min(MIN_BLOCK_BYTES, len(text)) and not collector.full:
            start = self._content_start(text, position)
            if start == len(text) or (row := self._grammar.row(text, start, final=final)) is None:
                return collector.parsed(_resumption(text, position, start, final=final))
            restarted = start > position and _find_mark(text, position, start) >= 0
            if not row.plain or is_marked:
                row = self._shortened(row, text, start)
            position = row.end
            self._collect(collector, row, text[start:position], restarted=restarted)
        return collector.parsed(start if collector.stop else position)

    def _shortened(self, row: CsvRow, text: bytes, start: int) -> CsvRow:
        """Return only the first line of a row, if the others are rows; a row only up to where a text restarts."""
        columns = len(self._fields) + self.layout.trailing_delimiter
        record = text[start : row.end]
        line_end = record.find(b"\n", 0, -1)
        if line_end >= 0 and is_line_malformed(self._grammar, row, record, columns):
            return CsvRow([], start + line_end + 1, UNCLOSED_QUOTE)
        mark = record.find(BOM)
        before = self._before_mark(record, mark, row, columns) if mark >= 0 else None
        return before._replace(end=start + mark) if before else row

    def _before_mark(self, record: bytes, mark: int, row: CsvRow, columns: int) -> CsvRow | None:
        """Return the row before a mark, if a text without a last line end was joined with the next one there."""
        before = self._grammar.row(record[:mark], 0, final=True)
        if before is None or before.problem or len(before.fields) != columns:
            return None
        if columns == 1:
            return before if self._repeated.find([record[mark + len(BOM) :].rstrip(b"\r\n")]) else None
        return before if len(row.fields) != columns else None

    def _collect(self, collector: Collector, row: CsvRow, record: bytes, *, restarted: bool) -> None:
        columns, fields = len(self._fields), row.fields
        may_be_ignored = len(fields) <= 1 or fields[0] < b"!" or self._has_other_lines  # blanks are below
        if may_be_ignored and self._is_ignored(row, record):
            return
        if len(fields) == columns + 1 and not fields[-1].strip():
            fields = fields[:-1]
        repeated = self._repeated.find(fields) if restarted or columns > 1 else ""
        if repeated == "same":
            return
        if repeated:
            collector.abort("header_changed", {}, record)
            return
        values = fields if self.layout.trailing_delimiter else row.fields
        try:
            message = dict(zip(self._fields, _texts(row, values, columns, record), strict=True))
            micros = self._timestamps.micros(message.get(self._timestamps.field)) if self._timestamps else None
        except InvalidRecord as error:
            collector.reject(error.code, error.params, record)
            return
        collector.accept(orjson.dumps(message), micros)

    def _is_ignored(self, row: CsvRow, record: bytes) -> bool:
        """Whether a record is a comment, a blank line, an empty row, or the `sep=` line of a text that was joined.

        In a single column, "" is a value.
        """
        comment = self._options.comment
        if (comment and record.startswith(comment)) or (self.layout.delimiter and SEP_LINE.fullmatch(record)):
            return True
        is_empty = not any(map(bytes.strip, row.fields))
        return is_empty and not row.problem and (len(self._fields) > 1 or not record.strip(b"\r\n"))

    def _bounded(self, text: bytes) -> bytes:
        """Return the part of `text` to convert at once. With short values, field names dominate the NDJSON size."""
        name_bytes = sum(map(len, self._fields)) + 6 * len(self._fields)
        output_bytes = len(text) + text.count(b"\n") * name_bytes
        max_bytes = max(MAX_GROWTH * len(text), 2 * name_bytes + 65_536)
        return text[: min(self._block_bytes, len(text) * max_bytes // max(output_bytes, max_bytes, 1))]


def _resumption(text: bytes, position: int, start: int, *, final: bool) -> int:
    """Return where to resume before an incomplete row; a mark is kept for the row after it."""
    mark = -1 if final else _find_mark(text, position, start)
    return mark if mark >= 0 else start


def _find_mark(text: bytes, position: int, start: int) -> int:
    """Return the offset of a mark before the row at `start`, but not of one in a comment; -1 if there is none."""
    if position < start and text.startswith(BOM, position):
        return position
    line_end = text.find(b"\n" + BOM, position, start)
    return line_end + 1 if line_end >= 0 else -1


def _texts(row: CsvRow, values: list[bytes], columns: int, record: bytes) -> list[str]:
    """Return the values of a row as text. Raise `InvalidRecord` if it has none, or not one for each column."""
    if row.problem:
        lines = record.removesuffix(b"\n").count(b"\n")
        raise InvalidRecord(row.problem, {"lines": lines} if lines else {})
    if b"\0" in record:
        raise InvalidRecord("nul_byte", {"byte": record.index(0) + 1})
    try:
        texts = b"\0".join(values).decode().split("\0")  # several times faster than to decode each
    except UnicodeDecodeError as error:
        raise InvalidRecord("broken_encoding", {"byte": _first_undecodable(record)}) from error
    if len(row.fields) > MAX_FIELDS:
        raise InvalidRecord("too_many_values", {"max": MAX_FIELDS, "columns": columns})
    if len(values) != columns:
        raise InvalidRecord("wrong_column_count", {"values": len(values), "columns": columns})
    return texts


def _first_undecodable(record: bytes) -> int:
    try:
        record.decode()
    except UnicodeDecodeError as error:
        return error.start + 1
    raise AssertionError  # each byte of a value is in the record
