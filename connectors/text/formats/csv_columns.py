"""The fast path of CSV: converts well-formed records to NDJSON by column, without a Python object per row.

It declines any other text, which the exact path then parses. Its output is byte for byte that of `orjson`.
It imports pyarrow, so it is imported only for reading.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

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


def to_ndjson(
    text: bytes, fields: Sequence[str], delimiter: bytes, quote: bytes, timestamps: TimestampReader | None
) -> tuple[bytes, int, bytes] | None:
    """Return payload, count and timestamps of complete records without stray quotes; None to decline."""
    if not _is_supported(text):
        return None
    try:
        table = _parse(text, len(fields), delimiter, quote)
    except pa.ArrowException:
        return None
    columns = [column.combine_chunks() for column in table.columns]
    if not table.num_rows:
        return b"", 0, b""
    stamps: bytes | None = b""
    if timestamps is not None:
        if timestamps.field not in fields:
            return None
        stamps = micros_column(timestamps, columns[fields.index(timestamps.field)])
    if stamps is None:
        return None
    return _join_lines(_escape(text, columns, quote), tuple(fields)), table.num_rows, stamps


def _is_supported(text: bytes) -> bool:
    if len(text.translate(None, UNSUPPORTED)) != len(text):
        return False
    return b"\r" not in text or text.count(b"\r") == text.count(b"\r\n")


def _parse(text: bytes, columns: int, delimiter: bytes, quote: bytes) -> pa.Table:
    names = _column_names(columns)
    return csv.read_csv(
        pa.BufferReader(text),
        read_options=csv.ReadOptions(use_threads=False, column_names=names, block_size=len(text) + 1),
        parse_options=csv.ParseOptions(
            delimiter=delimiter.decode(), quote_char=quote.decode() or False, newlines_in_values=quote in text
        ),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, quoted_strings_can_be_null=False
        ),
    )


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
