"""Convert CSV (RFC 4180) to NDJSON. Every value stays a string, byte for byte.

The fast path converts blocks of well-formed records by column, or declines; the exact path parses row by row. Both
produce the same bytes.
"""

from collections.abc import Sequence
from typing import Final

import orjson

from connectors.contract import FixConfiguration
from connectors.text.formats.csv_grammar import MAX_FIELDS, CsvRow, CsvSkipper, Dialect, Grammar
from connectors.text.formats.records import Collector, OnError, Parsed
from connectors.text.timestamps import InvalidRecord, TimestampReader
from schemas.coded import Params

MAX_COLUMNS: Final = 10_000
MAX_SHOWN_COLUMNS: Final = 20
MAX_HEADER_BYTES: Final = 256 * 1024
MAX_NAMES_BYTES: Final = 240 * 1024  # the cursor holds the names, and is limited to 256 KiB
MAX_BLOCK_BYTES: Final = 1 << 30
MIN_BLOCK_BYTES: Final = 32 * 1024  # a block with invalid records is halved down to this size, then parsed row by row
MAX_FAST_COLUMNS: Final = 500  # above this, parsing by row is faster; every column also costs about 10 KB
MAX_GROWTH: Final = 4  # average output bytes per input byte of a block: every record repeats the field names


class Csv:
    """Parses one CSV text. `fields` overrides the names in the header row, if `header_row` announces one."""

    noun: Final = "row"
    line_based: Final = True

    def __init__(
        self,
        dialect: Dialect,
        timestamps: TimestampReader | None,
        on_error: OnError,
        fields: Sequence[str] | None,
        *,
        header_row: bool,
    ) -> None:
        self._dialect = dialect
        self._quote = dialect.quote
        self._block_bytes = MAX_BLOCK_BYTES
        self._grammar = Grammar(dialect)
        self._timestamps = timestamps
        self._on_error = on_error
        self._fields = tuple(fields) if fields else None
        self._awaits_header = header_row

    @property
    def fields(self) -> Sequence[str] | None:
        """The field names, once known."""
        return self._fields

    def skipper(self, text: bytes) -> "CsvSkipper":
        """Return a skipper for the record at the front of `text`."""
        if self._awaits_header:
            raise _header_too_long(len(text))
        return CsvSkipper(self._dialect)

    def parse(self, text: bytes, first: int, *, final: bool) -> Parsed:
        """Parse the complete records at the front of `text`."""
        if self._awaits_header:
            return self._parse_header(text, final=final)
        if len(self._fields or ()) > MAX_FAST_COLUMNS:
            return self._exact(text, first, final=final)
        block = self._bounded(text)
        while True:
            end = self._grammar.well_formed(block)
            if len(block) == len(text) and final and not (self._quote and self._quote in block[end:]):
                end = len(block)
            if (end >= MIN_BLOCK_BYTES // 2 or end == len(text)) and (parsed := self._fast(block[:end])):
                self._block_bytes = min(2 * self._block_bytes, MAX_BLOCK_BYTES)
                return parsed
            if len(block) <= MIN_BLOCK_BYTES:
                return self._exact(text, first, final=final)
            self._block_bytes = max(len(block) // 2, MIN_BLOCK_BYTES)
            block = block[: self._block_bytes]

    def _fast(self, text: bytes) -> Parsed | None:
        from connectors.text.formats.csv_columns import to_ndjson  # noqa: PLC0415 -- 25 MB, only needed for reading

        assert self._fields is not None
        converted = to_ndjson(text, self._fields, self._dialect.delimiter, self._dialect.quote, self._timestamps)
        return Parsed(len(text), *converted) if converted else None

    def _exact(self, text: bytes, first: int, *, final: bool) -> Parsed:
        collector = Collector(self.noun, first, self._on_error)
        position = previous = 0
        while (
            position < min(MIN_BLOCK_BYTES, len(text))
            and (row := self._grammar.row(text, position, final=final))
            and not collector.full
        ):
            previous, position = position, row.end
            if row.fields != [b""] or text[previous:position].strip(b"\r\n"):
                self._collect(collector, row, text[previous:position])
        return collector.parsed(previous if collector.stop else position)

    def _collect(self, collector: Collector, row: CsvRow, record: bytes) -> None:
        assert self._fields is not None
        if problem := _find_problem(row, len(self._fields), record):
            collector.reject(*problem, record)
            return
        values = [field.decode() for field in row.fields]
        message = dict(zip(self._fields, values, strict=True))
        micros = None
        if self._timestamps is not None:
            try:
                micros = self._timestamps.micros(message.get(self._timestamps.field))
            except InvalidRecord as error:
                collector.reject(error.code, error.params, record)
                return
        collector.accept(orjson.dumps(message), micros)

    def _parse_header(self, text: bytes, *, final: bool) -> Parsed:
        if not text.strip(b"\r\n") and not final:
            return Parsed(0)
        start = len(text) - len(text.lstrip(b"\r\n"))
        row = self._grammar.row(text, start, final=final) if start < len(text) else None
        if row is None:
            if len(text) > MAX_HEADER_BYTES:
                raise _header_too_long(len(text))
            return Parsed(len(text) if final else 0)
        self._awaits_header = False
        if not self._fields:
            names = header_names(row, text[start : row.end])
            if self._timestamps and self._timestamps.field not in names:
                raise unknown_field(self._timestamps.field, names)
            self._fields = names
        return Parsed(row.end)

    def _bounded(self, text: bytes) -> bytes:
        """Return the part of `text` to convert at once. With short values, field names dominate the NDJSON size."""
        assert self._fields is not None
        name_bytes = sum(map(len, self._fields)) + 6 * len(self._fields)
        output_bytes = len(text) + text.count(b"\n") * name_bytes
        max_bytes = max(MAX_GROWTH * len(text), 2 * name_bytes + 65_536)
        return text[: min(self._block_bytes, len(text) * max_bytes // max(output_bytes, max_bytes, 1))]


def header_names(row: CsvRow, record: bytes) -> tuple[str, ...]:
    """Return the field names of a header row. A column without a name is named by position: `column_3`."""
    if row.unclosed:
        raise FixConfiguration("unclosed_header_quote")
    if len(record) > MAX_HEADER_BYTES:
        raise _header_too_long(len(record))
    if len(row.fields) > MAX_COLUMNS:
        raise FixConfiguration("too_many_columns", {"columns": len(row.fields), "max": MAX_COLUMNS})
    if b"\0" in record:
        raise FixConfiguration("nul_in_header")
    if b"\r" in record.removesuffix(b"\n").removesuffix(b"\r"):
        raise FixConfiguration("bare_cr_in_header")
    try:
        names = tuple(name.decode() or f"column_{at}" for at, name in enumerate(row.fields, 1))
    except UnicodeDecodeError as error:
        raise FixConfiguration("header_encoding") from error
    if (size := len(orjson.dumps(names))) > MAX_NAMES_BYTES:
        raise FixConfiguration("column_names_too_long", {"bytes": size, "max": MAX_NAMES_BYTES})
    if twice := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise FixConfiguration("duplicate_header", {"column": twice[0]})
    return names


def unknown_field(field: str, names: Sequence[str]) -> FixConfiguration:
    """Return the error of a timestamp field that is no column."""
    columns = tuple(names[:MAX_SHOWN_COLUMNS])
    return FixConfiguration(
        "unknown_timestamp_field", {"field": field, "columns": columns, "more": len(names) - len(columns)}
    )


def _header_too_long(size: int) -> FixConfiguration:
    return FixConfiguration("header_too_long", {"bytes": min(size, MAX_HEADER_BYTES), "max": MAX_HEADER_BYTES})


def _find_problem(row: CsvRow, columns: int, record: bytes) -> tuple[str, Params] | None:
    if row.unclosed:
        return "unclosed_quote", {}
    if b"\0" in record:
        return "nul_byte", {"byte": record.index(0) + 1}
    try:
        record.decode()
    except UnicodeDecodeError as error:
        return "broken_encoding", {"byte": error.start + 1}
    if len(row.fields) > MAX_FIELDS:
        return "too_many_values", {"max": MAX_FIELDS, "columns": columns}
    if len(row.fields) != columns:
        return "wrong_column_count", {"values": len(row.fields), "columns": columns}
    return None
