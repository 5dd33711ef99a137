"""Recognize a quote that is not closed in its row, by the lines after it: they are rows of their own."""

import re
from collections import Counter
from functools import lru_cache
from typing import Final

from connectors.text.csv.grammar import UNCLOSED_QUOTE, CsvRow, Dialect, Grammar

MAX_LINES: Final = 20  # that are inspected after the first line of a malformed record
NUMERIC: Final = re.compile(rb"[-+.,:/ \d]*\d[-+.,:/ \d]*")  # also dates, times and prices
CODE: Final = re.compile(rb"(?=[^a-z]+\Z|.*\d)[^ \t]+")
NO_VALUES: Final = frozenset({b"", b"-", b"null", b"none", b"n/a", b"na", b"nan", rb"\n"})


def is_line_malformed(grammar: Grammar, row: CsvRow, record: bytes, columns: int) -> bool:
    """Whether only the first line of a record of several lines is malformed, and the next lines are other records."""
    if row.problem or len(row.fields) != columns:
        return (columns > 1 or row.problem == UNCLOSED_QUOTE) and are_rows_after(grammar, record, columns)
    return joins_rows(record, grammar.dialect, columns)


def are_rows_after(grammar: Grammar, text: bytes, columns: int) -> bool:
    """Whether most of the next lines after the first line of a text are rows of their own."""
    lines = [line for line in text.split(b"\n", MAX_LINES + 1)[1 : MAX_LINES + 1] if line.strip(b"\r")]
    return 2 * sum(_is_row(grammar, line.removesuffix(b"\r"), columns) for line in lines) > len(lines)


def _is_row(grammar: Grammar, line: bytes, columns: int) -> bool:
    if line.count(grammar.dialect.delimiter) == columns - 1:
        return True
    row = grammar.row(line, 0, final=True)
    return row is not None and not row.problem and len(row.fields) == columns


def joins_rows(record: bytes, dialect: Dialect, columns: int) -> bool:
    """Whether a well-formed record joins rows: most of its lines have all columns, with the same kinds of cells.

    A quoted value of several lines, such as a postal address, has its delimiters elsewhere, or other text there. Cells
    without a value say nothing, nor does the column with the quote.
    """
    cells = [line.split(dialect.delimiter) for line in record.rstrip(b"\r\n").split(b"\n")]
    lines = [line for line in cells if len(line) == columns]
    if len(lines) < 2 or 2 * len(lines) <= len(cells) or {len(cells[0]), len(cells[-1])} != {columns}:
        return False
    quoted = max(
        (at for at, cell in enumerate(lines[0]) if cell.lstrip(dialect.blanks)[:1] == dialect.quote), default=0
    )
    kinds = [
        Counter(_kind(cell.strip(dialect.quote + b" \t\r")) for cell in column)
        for at, column in enumerate(zip(*lines, strict=True))
        if at != quoted or columns == 1
    ]
    if any(kind["value"] and (kind["text"] or kind["code"]) for kind in kinds):
        return False
    are_alike = any(kind["value"] + kind["code"] > 1 and not kind["text"] for kind in kinds)
    return are_alike or _is_table(lines, dialect)


def _kind(cell: bytes) -> str:
    """Return the kind of a cell: a `value` is a number or an address, and a `code` has no blanks or words."""
    if cell.lower() in NO_VALUES:
        return ""
    if NUMERIC.fullmatch(cell) or b"@" in cell:
        return "value"
    return "code" if CODE.fullmatch(cell) else "text"


def _is_table(lines: list[list[bytes]], dialect: Dialect) -> bool:
    """Whether cells without numbers are rows, because text has blanks after commas, and no tabs."""
    is_prose = any(cell[:1] in {b" ", b"\t"} for line in lines for cell in line[1:])
    return len(lines[0]) > 1 and not is_prose and (len(lines) > 2 or dialect.delimiter not in b",;")


def may_join_rows(text: bytes, dialect: Dialect, columns: int) -> bool:
    """Whether a record in well-formed text may join rows: the first and the last line of a value are full."""
    delimiter = dialect.delimiter
    for value in _multiline_values(dialect).finditer(text):
        opening, closing = value.span(1)
        first = text.rfind(b"\n", 0, opening) + 1
        if text.count(delimiter, first, text.find(b"\n", opening)) == columns - 1:
            last, end = text.rfind(b"\n", opening, closing) + 1, text.find(b"\n", closing)
            if text.count(delimiter, last, end if end >= 0 else len(text)) == columns - 1:
                return True
    return False


@lru_cache(maxsize=16)
def _multiline_values(dialect: Dialect) -> re.Pattern[bytes]:
    """Return the pattern of the text up to and with the next quoted value of several lines."""
    return re.compile(
        b"(?:[^%(q)b]++|%(q)b[^%(q)b\n]*+(?:%(q)b%(q)b[^%(q)b\n]*+)*+%(q)b(?!%(q)b))*+"
        b"(%(q)b[^%(q)b]*+(?:%(q)b%(q)b[^%(q)b]*+)*+%(q)b)" % {b"q": re.escape(dialect.quote)}
    )
