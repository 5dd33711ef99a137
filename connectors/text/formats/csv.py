"""CSV (RFC 4180) to NDJSON, every value a string exactly as found. A fast path by column, an exact one by row.

The fast path takes a stretch of well-formed records or declines it; both paths give the same bytes.
"""

from collections.abc import Sequence
from typing import Final

import orjson

from connectors.contract import FixConfiguration
from connectors.text.formats.csv_grammar import UNCLOSED, CsvSkipper, Dialect, Grammar, Row
from connectors.text.formats.records import Collector, OnError, Parsed
from connectors.text.timestamps import TimestampReader, UnusableTimestamp

MAX_COLUMNS: Final = 10_000
MAX_HEADER_BYTES: Final = 256 * 1024
MAX_NAMES_BYTES: Final = 240 * 1024  # names stand in the cursor, which has at most 256 KiB
LONG: Final = 1 << 30
SHORT: Final = 32 * 1024  # a stretch in trouble is halved down to this before its rows are looked at one by one
WIDE: Final = 500  # columns from which on rows are faster one by one; each column would hold some 10 KB, too
SWELL: Final = 4  # field names are repeated in every record: a stretch may grow by so much on the average


class Csv:
    """Reads one CSV text. Without `fields` the first row names them; `header_row` says whether there is one."""

    noun: Final = "row"
    by_line: Final = True

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
        self._stretch = LONG
        self._grammar = Grammar(dialect)
        self._timestamps = timestamps
        self._on_error = on_error
        self._fields = tuple(fields) if fields else None
        self._awaits_header = header_row

    @property
    def fields(self) -> Sequence[str] | None:
        """The field names."""
        return self._fields

    def skipper(self, text: bytes) -> "CsvSkipper":
        """Begin to skip the record at the front of `text`."""
        if self._awaits_header:
            raise _header_too_long(len(text))
        return CsvSkipper(self._dialect)

    def parse(self, text: bytes, first: int, *, final: bool) -> Parsed:
        """Read the complete records at the front of `text`."""
        if self._awaits_header:
            return self._header(text, final=final)
        if len(self._fields or ()) > WIDE:
            return self._exact(text, first, final=final)
        taken = self._bounded(text)
        while True:
            end = self._grammar.well_formed(taken)
            if len(taken) == len(text) and final and not (self._quote and self._quote in taken[end:]):
                end = len(taken)
            if (end >= SHORT // 2 or end == len(text)) and (parsed := self._fast(taken[:end])):
                self._stretch = min(2 * self._stretch, LONG)
                return parsed
            if len(taken) <= SHORT:
                return self._exact(text, first, final=final)
            self._stretch = max(len(taken) // 2, SHORT)
            taken = taken[: self._stretch]

    def _fast(self, text: bytes) -> Parsed | None:
        from connectors.text.formats.csv_columns import to_ndjson  # noqa: PLC0415 -- 25 MB that only reading needs

        assert self._fields is not None
        found = to_ndjson(text, self._fields, self._dialect.delimiter, self._dialect.quote, self._timestamps)
        return Parsed(len(text), *found) if found else None

    def _exact(self, text: bytes, first: int, *, final: bool) -> Parsed:
        collector = Collector(self.noun, first, self._on_error)
        at = started = 0
        while at < min(SHORT, len(text)) and (row := self._grammar.row(text, at, final=final)) and not collector.full:
            started, at = at, row.end
            if row.fields != [b""] or text[started:at].strip(b"\r\n"):
                self._take(collector, row, text[started:at])
        return collector.parsed(started if collector.stop else at)

    def _take(self, collector: Collector, row: Row, record: bytes) -> None:
        assert self._fields is not None
        if trouble := _trouble(row, len(self._fields), record):
            collector.reject(*trouble, record)
            return
        values = [each.decode() for each in row.fields]
        message = dict(zip(self._fields, values, strict=True))
        micros = None
        if self._timestamps is not None:
            try:
                micros = self._timestamps.micros(message.get(self._timestamps.field))
            except UnusableTimestamp as error:
                collector.reject(error.code, str(error), record)
                return
        collector.accept(orjson.dumps(message), micros)

    def _header(self, text: bytes, *, final: bool) -> Parsed:
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
                raise FixConfiguration("unknown_timestamp_field", unknown_field(self._timestamps.field, names))
            self._fields = names
        return Parsed(row.end)

    def _bounded(self, text: bytes) -> bytes:
        """As much of `text` as to try at once. Where values are short, names make much NDJSON of little text."""
        assert self._fields is not None
        names = sum(map(len, self._fields)) + 6 * len(self._fields)
        swollen = len(text) + text.count(b"\n") * names
        most = max(SWELL * len(text), 2 * names + 65_536)
        return text[: min(self._stretch, len(text) * most // max(swollen, most, 1))]


def header_names(row: Row, record: bytes) -> tuple[str, ...]:
    """The field names in a header row; a column without a name is called by its position: `column_3`."""
    if row.unclosed:
        raise FixConfiguration("bad_header", f"the header row {UNCLOSED}")
    if len(record) > MAX_HEADER_BYTES:
        raise _header_too_long(len(record))
    if len(row.fields) > MAX_COLUMNS:
        raise FixConfiguration(
            "too_many_columns", f"the header row has {len(row.fields):,} columns; at most {MAX_COLUMNS:,} are taken"
        )
    if b"\0" in record or b"\r" in record.removesuffix(b"\n").removesuffix(b"\r"):
        what = "a NUL byte; is `encoding` right?" if b"\0" in record else "bare CR line ends; save the file with LF"
        raise FixConfiguration("bad_header", f"the header row has {what}")
    try:
        names = tuple(each.decode() or f"column_{at}" for at, each in enumerate(row.fields, 1))
    except UnicodeDecodeError as error:
        raise FixConfiguration("wrong_encoding", "the header row isn't valid text in this `encoding`") from error
    if (size := len(orjson.dumps(names))) > MAX_NAMES_BYTES:
        raise FixConfiguration(
            "too_many_columns",
            f"the names of the columns are {size:,} bytes long as JSON; at most {MAX_NAMES_BYTES:,} are taken",
        )
    if twice := sorted({each for each in names if names.count(each) > 1}) if len(set(names)) < len(names) else []:
        raise FixConfiguration(
            "duplicate_header", f"the header row names {twice[0]!r} twice; name the columns yourself with `fields`"
        )
    return names


def unknown_field(field: str, names: Sequence[str]) -> str:
    """What to say when the timestamp field isn't among the columns."""
    shown = ", ".join(f"`{each}`" for each in names[:20])
    return f"`{field}` isn't among the columns: {shown}{', …' if len(names) > 20 else ''}"


def _header_too_long(size: int) -> FixConfiguration:
    return FixConfiguration(
        "too_many_columns",
        f"the header row is over {min(size, MAX_HEADER_BYTES):,} bytes long (at most {MAX_HEADER_BYTES:,}); "
        "is this a CSV file with line ends?",
    )


def _trouble(row: Row, columns: int, record: bytes) -> tuple[str, str] | None:
    if row.unclosed:
        return "unclosed_quote", UNCLOSED
    if b"\0" in record:
        return "nul_byte", f"holds a NUL byte, at its byte {record.index(0) + 1}"
    try:
        record.decode()
    except UnicodeDecodeError as error:
        return "broken_encoding", f"isn't valid text in this `encoding` from its byte {error.start + 1} on"
    if len(row.fields) != columns:
        return "wrong_column_count", f"has {len(row.fields)} values for {columns} columns"
    return None
