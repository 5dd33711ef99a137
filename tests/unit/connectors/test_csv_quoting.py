"""Malformed quoting rejects a row and is reported; no row is joined with its neighbours unnoticed."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.contract import Limits
from tests.unit.connectors.texts import NOW, Outcome, read_all

WIDE = Limits(clock=lambda: NOW)
HEADER = b"id,item,price\n"


def rows(outcome: Outcome) -> list[list[str]]:
    assert outcome.error is None, outcome.error
    return [list(orjson.loads(line).values()) for line in outcome.lines]


def read(text: bytes, **config: Any) -> Outcome:
    return read_all(HEADER + text, limits=WIDE, **config)


def test_an_inch_mark_does_not_swallow_the_following_rows() -> None:
    outcome = read(b'1,"6 inch pipe,3\n2,elbow,4\n3,"tee",5\n4,valve,6\n')
    assert outcome.rejects == [("row 1", "unclosed_quote")]
    assert rows(outcome) == [["2", "elbow", "4"], ["3", "tee", "5"], ["4", "valve", "6"]]
    (reject,) = outcome.batches[0].rejects
    assert reject.excerpt == b'1,"6 inch pipe,3\n'


@pytest.mark.parametrize(
    "text",
    [
        b'1,"6 inch pipe,3\n2,elbow,4\n3,tee 8",5\n4,valve,6\n',  # well-formed by RFC 4180
        b'1,"6 inch pipe,3\r\n2,elbow,4\r\n3,tee,5\r\n4,valve,6\r\n',  # never closed
        b'1,"6 inch pipe,3\n2,"8 inch",4\n3,tee,5\n4,valve,6',
        b'1,"6 inch pipe,3\n2,"8 inch, long",4\n3,tee,5\n4,valve,6\n',
        b'1,"6 inch, long,3\n2,elbow,4\n3,tee,5\n4,valve,6\n',
        b'1,6 inch,"3\n2,8 inch,4"\n3,tee,5\n4,valve,6\n',
    ],
)
def test_a_quote_that_is_not_closed_in_its_row_rejects_only_that_row(text: bytes) -> None:
    outcome = read(text)
    assert outcome.rejects == [("row 1", "unclosed_quote")]
    assert [row[0] for row in rows(outcome)] == ["2", "3", "4"]


@pytest.mark.parametrize(
    "text",
    [
        b'1,"6 inch pipe,3\n2,elbow,\n3,tee 8",5\n',
        b'1,"6 inch pipe,3\n2,elbow,NULL\n3,tee 8",5\n',
        b'1,"6 inch pipe,3\n2,90,4\n3,tee 8",5\n',
        b'A-1,"6 inch pipe,x\nB-2,elbow,\nC-3,tee 8",y\n',
        b'a,"6 inch pipe,Rome\nb,elbow,Oslo\nc,tee 8",Bonn\n',
        b'a,pipe,"Rome\nb,elbow,Oslo\nc,tee,Bonn"\n',
    ],
)
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_rows_that_two_stray_quotes_join_are_read_by_their_cells(text: bytes, delimiter: str) -> None:
    outcome = read_all((HEADER + text).replace(b",", delimiter.encode()), limits=WIDE, delimiter=delimiter)
    assert outcome.rejects == [("row 1", "unclosed_quote")]
    assert len(rows(outcome)) == 2


@pytest.mark.parametrize(
    "text",
    [
        b'Ann,"red,blue\ngreen,white",x\n',
        b'Ann,"12 Main St,Apt 4\nSpringfield,IL",7\n',
        b'A1,"Apt 4, 12 Main St\n80331 Munich, Germany",B7\n',
        b'Ann,"one, two\nthree, four, five\nsix, seven",x\n',
        b'7,"one,two\nthree,four,five\nsix,seven",8\n',
    ],
)
def test_a_value_of_several_lines_with_the_delimiters_of_rows_is_a_value(text: bytes) -> None:
    outcome = read(text)
    assert (outcome.rejects, len(outcome.lines)) == ([], 1)


QUOTED_WORDS = [
    (b'1,"12" inch",x', "text_after_quote"),
    (b'1,""a"",x', "text_after_quote"),
    (b'1,"{"a": 1, "b": 2}",x', "text_after_quote"),
    (b'1,"say \\"hi\\", twice",x', "text_after_quote"),
    (b'1,"",x', ""),
    (b'1,a "quoted" word,x', ""),
    (b'1,5" pipe,6"', ""),
    (b'="001",a,x', ""),
]


@pytest.mark.parametrize(("line", "code"), QUOTED_WORDS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_quotes_within_a_cell_never_shift_the_rows_after_it(line: bytes, code: str, end: bytes) -> None:
    outcome = read(end.join((line, b"2,b,y", b'3,"c\nd",z', b"")))
    assert outcome.rejects == ([("row 1", code)] if code else [])
    assert rows(outcome)[-2:] == [["2", "b", "y"], ["3", "c\nd", "z"]]


REPORTED: dict[str, tuple[bytes, dict[str, str], list[str], list[tuple[str, str]]]] = {
    "a quote before a comma": (
        b'2,"Alice,Doe",30\n1,"John, Doe,25\n3,"Bob",35\n4,"John","45\n',
        {},
        ["2", "3"],
        [("row 2", "unclosed_quote"), ("row 4", "unclosed_quote")],
    ),
    "quotes and commas in quotes": (
        b'"1","b","c"\n"2","b "2" b","c"\n"3","b "3", "2",","c"\n"4","b","c"\n',
        {},
        ["1", "4"],
        [("row 2", "text_after_quote"), ("row 3", "text_after_quote")],
    ),
    "backslashes at the end": (b'"1","soft\\","Ob"\n"2","x\ny\n","Ob"\n', {}, ["1", "2"], []),
    "the same with an escape": (
        b'"1","soft\\","Ob"\n"2","x\ny\n","Ob"\n',
        {"escape": "\\"},
        ["2"],
        [("row 1", "text_after_quote")],
    ),
    "a comment with quotes": (b'"x","1","2"\n#"y","2"\n"#z","3","4"\n', {"comment": "#"}, ["x", "#z"], []),
    "a name in quotes": (b'7,"opt out" service,Obs\n8,b,c\n', {}, ["8"], [("row 1", "text_after_quote")]),
    "a quote for an apostrophe": (b'1,"A",2\n2,Bob"s place,3\n3,C,4\n', {}, ["1", "2", "3"], []),
    "an empty last value": (b'1,,\n2,"",\n3,"""",""\n', {}, ["1", "2", "3"], []),
    "JSON without quotes": (b'1,{"a":"b","c":"d"},3\n2,x,4\n', {}, ["2"], [("row 1", "text_after_quote")]),
    "only an opening quote": (
        b'1,",3\n2,",4\n3,c,5\n',
        {},
        ["3"],
        [("row 1", "unclosed_quote"), ("row 2", "unclosed_quote")],
    ),
    "footers": (
        b"1,a,2\n(1 row)\nTotal: 1\n",
        {},
        ["1"],
        [("row 2", "wrong_column_count"), ("row 3", "wrong_column_count")],
    ),
}


@pytest.mark.parametrize("name", REPORTED)
def test_files_of_reports_lose_only_their_malformed_rows(name: str) -> None:
    text, config, keys, rejects = REPORTED[name]
    outcome = read(text, **config)
    assert ([row[0] for row in rows(outcome)], outcome.rejects) == (keys, rejects)


def test_a_line_that_is_no_row_does_not_hide_the_rows_after_a_quote() -> None:
    outcome = read(b'1,"6 inch pipe,3\nshort\n2,elbow,4\n3,tee,5\n')
    assert outcome.rejects == [("row 1", "unclosed_quote"), ("row 2", "wrong_column_count")]
    assert [row[0] for row in rows(outcome)] == ["2", "3"]


def test_a_line_that_is_no_row_does_not_hide_rows_between_two_stray_quotes() -> None:
    outcome = read(b'1,"6 inch pipe,3\n2,elbow,4,x\n\n3,tee,5\n4,valve 8",6\n')
    assert outcome.rejects == [("row 1", "unclosed_quote"), ("row 2", "wrong_column_count")]
    assert [row[0] for row in rows(outcome)] == ["3", "4"]


def test_inch_marks_at_the_start_of_many_cells_reject_these_rows() -> None:
    text = b"".join(
        b'%d,"%d inch,%d\n' % (at, at, at) if at % 7 == 3 else b"%d,pipe,%d\n" % (at, at) for at in range(2000)
    )
    outcome = read(text)
    marked = [at for at in range(2000) if at % 7 == 3]
    assert outcome.rejects == [(f"row {at + 1}", "unclosed_quote") for at in marked]
    assert len(outcome.lines) == 2000 - len(marked)


def test_text_after_a_closing_quote_rejects_its_row() -> None:
    outcome = read(b'1,"tee" pipe,3\n2,"a"b"c",4\n3,"line one\nline two"x,5\n4,"fine",6\n5,"blank" ,7\n')
    assert outcome.rejects == [(f"row {number}", "text_after_quote") for number in (1, 2, 3, 5)]
    assert rows(outcome) == [["4", "fine", "6"]]
    assert [reject.params for batch in outcome.batches for reject in batch.rejects] == [{}, {}, {"lines": 1}, {}]


@pytest.mark.parametrize(
    "line", [b"1,a\rb,3", b"1,a,3\r2,b,4", b"1,a,3\r", b'1,"a\nb",3\r', b'1,"a",3\r2,"b",4', b'"1"\r,a,3']
)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_bare_cr_is_no_text_and_joins_no_rows(line: bytes, end: bytes) -> None:
    if not (line.endswith(b"\r") and end == b"\n"):
        outcome = read(line + end + b"5,e,6" + end)
        assert outcome.rejects == [("row 1", "bare_cr")]
        assert rows(outcome) == [["5", "e", "6"]]


def test_a_cr_within_quotes_or_at_the_end_is_fine() -> None:
    assert rows(read(b'1,"a\rb",3\r\n2,c,4\r')) == [["1", "a\rb", "3"], ["2", "c", "4"]]
    assert rows(read(b'1,a,"3"\r', escape="\\")) == [["1", "a", "3"]]
    assert read_all(b"id\n1\r2\n3\n", limits=WIDE).rejects == [("row 1", "bare_cr")]
    outcome = read_all(b"id,x\r1,2\r", limits=WIDE, fields=["id", "x"])
    assert outcome.error is not None
    assert outcome.error.code == "bare_cr_in_header"


def test_a_value_of_several_lines_is_one_value() -> None:
    address = "12 Main St, Apt 4\nSpringfield, IL"
    german = "Apt 4, 12 Main St\n80331 Munich, Germany"
    letter = "Dear all,\n\nplease, do, write: 1, 2, 3\nYours"
    text = "".join(f'{at},"{value}",{at}\n' for at, value in enumerate((address, german, letter)))
    assert [row[1] for row in rows(read(text.encode()))] == [address, german, letter]


def test_a_truncated_value_of_several_lines_is_one_reject() -> None:
    outcome = read(b'1,a,2\n9,"long text\nof several, lines\nmore')
    assert (outcome.rejects, len(outcome.lines)) == ([("row 2", "unclosed_quote")], 1)


def test_a_large_value_that_is_never_closed_is_skipped_in_bounded_memory() -> None:
    text = b'1,"' + b"text without columns\n" * 50_000 + b"2,b,3\n"
    outcome = read_all(HEADER + text, limits=Limits(record_bytes=10_000, clock=lambda: NOW))
    assert outcome.rejects == [("row 1", "unclosed_quote")]


BACKSLASHES = [
    (rb'1,"say \"hi\", twice",3', 'say "hi", twice'),
    (rb'1,"TV 50\"",3', 'TV 50"'),
    (rb'1,"C:\\",3', "C:\\"),
    (rb'1,"C:\new ""x""",3', 'C:\\new "x"'),
    (rb"1,a\,b,3", "a,b"),
    (b"1,a\\\nb,3", "a\nb"),
    (b'1,"a\\\r\nb",3', "a\r\nb"),
    (rb"1,\N,3", "\\N"),
    (rb"1,\"quoted\",3", '"quoted"'),
]


@pytest.mark.parametrize(("line", "value"), BACKSLASHES)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_backslash_escapes_if_it_is_the_escape(line: bytes, value: str, end: bytes) -> None:
    outcome = read(line + end, escape="\\")
    assert (rows(outcome), outcome.rejects) == ([["1", value, "3"]], [])


def test_a_backslash_is_text_by_default() -> None:
    assert rows(read(rb'1,"C:\",3' + b"\n" + rb"2,\N,4")) == [["1", "C:\\", "3"], ["2", "\\N", "4"]]
    assert read(rb'1,"TV 50\"",3').rejects == [("row 1", "unclosed_quote")]


@settings(deadline=None)
@given(st.text(st.sampled_from('a,"\n\r\\'), max_size=40).map(str.encode), st.integers(2, 60))
def test_escapes_do_not_depend_on_batches(text: bytes, size: int) -> None:
    small = Limits(batch_bytes=size, record_bytes=1000, clock=lambda: NOW)
    whole = Limits(record_bytes=1000, clock=lambda: NOW)
    one, other = (read_all(HEADER + text, limits=limits, escape="\\") for limits in (small, whole))
    assert one.records == other.records


@pytest.mark.parametrize("row", [b'1,"' + b"x" * 600 + b'\\"",3\n', b"1," + b"\\," * 300 + b",3\n"])
def test_a_large_record_with_escapes_ends_where_it_should(row: bytes) -> None:
    limits = Limits(batch_bytes=100, record_bytes=200, clock=lambda: NOW)
    outcome = read_all(HEADER + row + b"2,b,4\n", limits=limits, escape="\\")
    assert (outcome.rejects, rows(outcome)) == ([("row 1", "record_too_large")], [["2", "b", "4"]])
