"""Rows with many values are split and skipped in few steps, and have the same end either way."""

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.contract import Limits
from connectors.text.csv.grammar import MAX_FIELDS, Dialect, Grammar
from connectors.text.csv.skippers import CsvSkipper
from tests.unit.connectors.texts import NOW, read_all

COMMA = Dialect(b",", b'"')
UNQUOTED = Dialect(b";", b"")
ESCAPED = Dialect(b",", b'"', b"\\")
PADDED = Dialect(b",", b'"', padded=True)
MEBIBYTE = 1024 * 1024


def skipped(dialect: Dialect, text: bytes, size: int) -> tuple[int, bool]:
    """Skip the row at the front of a text, which arrives in chunks of a size."""
    skipper, at = CsvSkipper(dialect), 0
    for end in range(size, len(text) + size, size):
        consumed, ended = skipper.skip(text[at:end], final=end >= len(text))
        at += consumed
        if ended:
            break
    return at, ended


@settings(deadline=None)
@given(
    st.sampled_from((COMMA, UNQUOTED, ESCAPED, PADDED)),
    st.text(st.sampled_from('a,;" \\\r\n'), min_size=1, max_size=30).map(str.encode),
    st.integers(1, 30),
)
def test_a_skipped_row_ends_where_a_parsed_one_does(dialect: Dialect, text: bytes, size: int) -> None:
    row = Grammar(dialect).row(text, 0, final=True)
    assert row
    assert skipped(dialect, text, size) == (row.end, True)


@pytest.mark.parametrize("value", [b",", b"a,", b'"a",', b'"a""b" c,'])
def test_a_row_of_many_values_is_skipped_in_few_steps(value: bytes) -> None:
    row, steps = value * (3 * MEBIBYTE // len(value)) + b"\n", 0

    def count(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal steps
        steps += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        result = skipped(COMMA, row, MEBIBYTE)
    finally:
        sys.setprofile(None)
    assert result == (len(row), True)
    assert steps < 200


@pytest.mark.parametrize("value", [b",", b'"a",'])
def test_a_row_of_too_many_values_is_refused_without_keeping_them(value: bytes) -> None:
    text = b"a,b\n1,2\n" + value * (MAX_FIELDS + 100_000) + b"\n3,4\n"
    outcome = read_all(text, limits=Limits(clock=lambda: NOW))
    assert outcome.rejects == [("row 2", "too_many_values")]
    assert len(outcome.lines) == 2
    row = Grammar(COMMA).row(text, len(b"a,b\n1,2\n"), final=True)
    assert row
    assert (len(row.fields), text[row.end :]) == (MAX_FIELDS + 1, b"3,4\n")
