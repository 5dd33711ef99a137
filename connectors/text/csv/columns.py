"""The fast path of CSV: converts well-formed records to NDJSON by column, without a Python object per row.

It declines any other text, which the exact path then parses. Its output is byte for byte that of `orjson`.
It imports pyarrow, so it is imported only for reading.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from connectors.text.csv.grammar import Dialect
from connectors.text.csv.header import RepeatedHeader
from connectors.text.csv.stray_quotes import may_join_rows
from connectors.text.encoding import has_bom
from connectors.text.formats.timestamp_columns import micros_column
from connectors.text.timestamps import TimestampReader

# This module escapes backslash, quote, newline, CR and tab. The exact path handles other control characters.
UNSUPPORTED: Final = bytes(code for code in range(0x20) if code not in b"\t\n\r")
# Within a field, the quote of the dialect always occurs doubled.
ESCAPES: Final = (
    (b"\\", "\\", "\\\\"),
    (b'"', '"', '\\"'),
    (b"\n", "\n", "\\n"),
    (b"\r", "\r", "\\r"),
    (b"\t", "\t", "\\t"),
)


@dataclass(frozen=True, slots=True)
class Table:
    """What is known of the text: its field names, its dialect, and the header row, if it has one."""

    fields: Sequence[str]
    dialect: Dialect
    header: Sequence[str] = ()
    trailing_delimiter: bool = False


def to_ndjson(text: bytes, table: Table, timestamps: TimestampReader | None) -> tuple[bytes, int, bytes] | None:
    """Return payload, count and timestamps of complete records without stray quotes; None to decline."""
    columns = _columns(text, table)
    if columns is None:
        return None
    count = len(columns[0])
    stamps: bytes | None = b""
    if timestamps is not None and count:
        names = list(table.fields)
        known = timestamps.field in names
        stamps = micros_column(timestamps, columns[names.index(timestamps.field)]) if known else None
    if stamps is None:
        return None
    payload = _join_lines(_escape(text, columns, table.dialect.quote), tuple(table.fields)) if count else b""
    return payload, count, stamps


def _columns(text: bytes, table: Table) -> list[Any] | None:
    """Return the values of the records by column; None to decline."""
    rows = _parse(text, len(table.fields) + table.trailing_delimiter, table.dialect)
    if rows is None or _may_join_rows(text, rows, table.dialect):
        return None
    columns = [column.combine_chunks() for column in rows.columns]
    if table.dialect.padded:
        columns = [pc.utf8_trim(column, table.dialect.blanks.decode()) for column in columns]
    is_empty = _empty_rows(columns) if len(table.fields) > 1 else None
    if is_empty is not None:
        columns = [column.filter(pc.invert(is_empty)) for column in columns]
    if table.trailing_delimiter and pc.any(pc.not_equal(columns.pop(), "")).as_py():
        return None
    return None if _may_repeat_header(columns, table.header) else columns


def _is_supported(text: bytes, dialect: Dialect) -> bool:
    if len(text.translate(None, UNSUPPORTED)) != len(text) or has_bom(text):
        return False
    if (dialect.escape and dialect.escape in text) or (dialect.padded and dialect.quote and dialect.quote in text):
        return False
    return b"\r" not in text or text.count(b"\r") == text.count(b"\r\n")


def _may_join_rows(text: bytes, rows: pa.Table, dialect: Dialect) -> bool:
    """Whether a quote may have joined rows; only values of several lines can."""
    if not dialect.quote or dialect.quote not in text:
        return False
    lines = text.count(b"\n") + (not text.endswith(b"\n"))
    return rows.num_rows != lines and may_join_rows(text, dialect, rows.num_columns)


def _empty_rows(columns: list[Any]) -> pa.Array | None:
    """Return which rows have only blank values; None if all have another one."""
    is_empty = pc.less(columns[0], "!")  # empty, or begins with a blank: faster than to strip all values
    for column in columns:
        if not pc.any(is_empty).as_py():
            return None
        is_empty = pc.and_(is_empty, pc.equal(pc.ascii_trim_whitespace(column), ""))
    return is_empty if pc.any(is_empty).as_py() else None


def _may_repeat_header(columns: list[Any], header: Sequence[str]) -> bool:
    if len(columns) == 1 or len(columns) != len(header):  # in one column, only a mark tells a header from a value
        return False
    key = columns[RepeatedHeader(header).key]
    return bool(pc.any(pc.is_in(key, value_set=pa.array(header, pa.string()))).as_py())


def _parse(text: bytes, columns: int, dialect: Dialect) -> pa.Table | None:
    if not _is_supported(text, dialect):
        return None
    names = _column_names(columns)
    try:
        return csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(use_threads=False, column_names=names, block_size=len(text) + 1),
            parse_options=csv.ParseOptions(
                delimiter=dialect.delimiter.decode(),
                quote_char=dialect.quote.decode() or False,
                newlines_in_values=dialect.quote in text,
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowException:
        return None


@lru_cache(maxsize=64)
def _column_names(count: int) -> list[str]:
    return [str(index) for index in range(count)]


def _escape(text: bytes, columns: list[Any], quote: bytes) -> list[Any]:
    for raw, plain, escape in ESCAPES:
        if (b'""' if raw == quote else raw) in text and (raw not in b"\r\n" or (quote and quote in text)):
            columns = [pc.replace_substring(column, plain, escape) for column in columns]
    return columns


def _join_lines(columns: list[Any], fields: tuple[str, ...]) -> bytes:
    parts: list[Any] = []
    for separator, column in zip(_separators(fields), columns, strict=True):
        parts += (separator, column)
    lines = pc.binary_join_element_wise(*parts, '"}\n', "")
    _, offsets, data = lines.buffers()
    end = pa.Array.from_buffers(pa.int32(), len(lines) + 1, [None, offsets])[len(lines)].as_py()
    payload: bytes = data.slice(0, end).to_pybytes()
    return payload


@lru_cache(maxsize=64)
def _separators(fields: tuple[str, ...]) -> list[str]:
    """Return the text before each value: the end of the previous value and the field name."""
    return [("{" if index == 0 else '",') + orjson.dumps(field).decode() + ':"' for index, field in enumerate(fields)]
