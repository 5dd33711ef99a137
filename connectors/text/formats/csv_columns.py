"""The fast path of CSV: a stretch of well-formed records to NDJSON, column by column, without a Python object per row.

It declines whatever isn't plain; the exact path then says what is wrong. Must give the very bytes that `orjson` would.
Imports pyarrow, so it is itself imported only when something is read.
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

# Escaped here: backslash, quote, newline, CR and tab. The other control characters are left to the exact path.
RARE: Final = bytes(each for each in range(0x20) if each not in b"\t\n\r")
# Inside a field, the quote of the dialect itself is always written twice.
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
    """The payload, count and timestamps of complete records without stray quotes, or None when one isn't plain."""
    if not _plain(text):
        return None
    try:
        table = _table(text, len(fields), delimiter, quote)
    except pa.ArrowException:
        return None
    columns = [each.combine_chunks() for each in table.columns]
    if not table.num_rows:
        return b"", 0, b""
    stamps: bytes | None = b""
    if timestamps is not None:
        if timestamps.field not in fields:
            return None
        stamps = micros_column(timestamps, columns[fields.index(timestamps.field)])
    if stamps is None:
        return None
    return _joined(_escaped(text, columns, quote), tuple(fields)), table.num_rows, stamps


def _plain(text: bytes) -> bool:
    if len(text.translate(None, RARE)) != len(text):
        return False
    return b"\r" not in text or text.count(b"\r") == text.count(b"\r\n")


def _table(text: bytes, columns: int, delimiter: bytes, quote: bytes) -> pa.Table:
    names = _ordinals(columns)
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
def _ordinals(count: int) -> list[str]:
    return [str(each) for each in range(count)]


def _escaped(text: bytes, columns: list[Any], quote: bytes) -> list[Any]:
    for found, plain, escape in ESCAPES:
        if (b'""' if found == quote else found) in text and (found not in b"\r\n" or (quote and quote in text)):
            columns = [pc.replace_substring(each, plain, escape) for each in columns]
    return columns


def _joined(columns: list[Any], fields: tuple[str, ...]) -> bytes:
    parts: list[Any] = []
    for before, column in zip(_between(fields), columns, strict=True):
        parts += (before, column)
    lines = pc.binary_join_element_wise(*parts, '"}\n', "")
    _, offsets, data = lines.buffers()
    last = pa.Array.from_buffers(pa.int32(), len(lines) + 1, [None, offsets])[len(lines)].as_py()
    payload: bytes = data.slice(0, last).to_pybytes()
    return payload


@lru_cache(maxsize=64)
def _between(fields: tuple[str, ...]) -> list[str]:
    """What stands before each value: the field's name, and the end of the value before."""
    return [("{" if at == 0 else '",') + orjson.dumps(each).decode() + ':"' for at, each in enumerate(fields)]
