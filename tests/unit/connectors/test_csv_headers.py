"""What may stand before and between the rows of a CSV text: marks, `sep=`, comments, header rows, empty rows."""

import gzip
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.contract import Limits
from schemas.coded import caused_by
from tests.unit.connectors.texts import NOW, Outcome, read_all

WIDE = Limits(clock=lambda: NOW)
BOM = b"\xef\xbb\xbf"
TWO_LINES = "id,name\n1,Ann\n2,Bob\n"
TWO = [{"id": "1", "name": "Ann"}, {"id": "2", "name": "Bob"}]


def messages(outcome: Outcome) -> list[dict[str, Any]]:
    assert outcome.error is None, outcome.error
    return [orjson.loads(line) for line in outcome.lines]


def both(data: bytes, path: str = "a.csv", **config: Any) -> list[dict[str, Any]]:
    """Read with large and with small batches, and from the cursor of each; all give the same."""
    small = Limits(batch_bytes=10, record_bytes=1000, clock=lambda: NOW)
    outcome, other = read_all(data, path, limits=WIDE, **config), read_all(data, path, limits=small, **config)
    assert outcome.records == other.records
    for at, batch in enumerate(other.batches):
        rest = read_all(data, path, dict(batch.cursor), small, **config)
        assert rest.lines == [line for later in other.batches[at + 1 :] for line in later.payload.splitlines(True)]
    assert outcome.rejects == []
    return messages(outcome)


def code(data: bytes, **config: Any) -> str:
    outcome = read_all(data, limits=WIDE, **config)
    assert outcome.error is not None
    return outcome.error.code


@pytest.mark.parametrize(
    "first", [b"sep=;\r\n", b"sep=;\n", b"SEP=;\n", b'"sep=;"\n', b"sep=;;\n", BOM + b"sep=;\n", b"\r\nsep=;\r\n"]
)
@pytest.mark.parametrize("config", [{}, {"delimiter": ";"}])
def test_a_sep_line_names_the_delimiter(first: bytes, config: dict[str, str]) -> None:
    assert both(first + b"id;name\r\n1;Ann\r\n2;Bob\r\n", **config) == TWO


def test_a_sep_line_names_a_tab_or_stands_before_rows_without_a_header() -> None:
    assert both(b"sep=\t\nid\tname\n1\tAnn\n2\tBob\n") == both(b"sep=\\t\nid\tname\n1\tAnn\n2\tBob\n") == TWO
    assert both(b"sep=|\n1|Ann\n2|Bob\n", fields=["id", "name"], header_row=False) == TWO
    assert both(b"sep=,\nid,name\n1,Ann\n2,Bob\n", "a.tsv") == TWO


def test_a_sep_line_is_read_among_skipped_lines_and_skipped_in_joined_texts() -> None:
    assert both(b"sep=;\nReport\nid;name\n1;Ann\n2;Bob\n", skip_lines=2) == TWO
    for mark in (b"", BOM):
        for sep in (b"sep=;\r\n", b"SEP=;\n", b'"sep=;"\n', b"sep=;;\n"):
            first, second = mark + sep + b"id;name\n", mark + sep + b"id;name\n2;Bob\n"
            assert both(first + b"1;Ann\n" + second) == TWO
            if mark and b'"' not in sep:
                assert both(first + b"1;Ann\n2;Bob" + second) == [*TWO, TWO[1]]
    assert both(b"id,name\n1,sep=\nsep=,\n")[1] == {"id": "sep=", "name": ""}


def test_a_sep_line_that_contradicts_the_configuration_is_an_error() -> None:
    assert code(b"sep=;\nid;name\n1;Ann\n", delimiter=",") == "sep_line_conflict"
    assert code("sep=§\nid§name\n".encode()) == "unsupported_sep_line"


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("mark", [BOM, b""])
def test_joined_texts_are_one_text(mark: bytes, end: bytes) -> None:
    first, second = mark + b"id,name\n1,Ann" + end, mark + b"id,name\n2,Bob\n"
    if mark or end:
        assert both(first + second) == TWO
        assert both(gzip.compress(first) + gzip.compress(second), "a.csv.gz") == TWO


def test_a_mark_is_dropped_where_text_begins_again() -> None:
    assert both(b"id,name\n1,Ann\n" + BOM + b"2,Bob\n") == TWO
    assert both(b"id\n1\n" + BOM + b"id\n2\n") == both(b"id\n1" + BOM + b"id\n2\n") == [{"id": "1"}, {"id": "2"}]
    lines = BOM + b'{"id":1}\n' + BOM + b'{"id":2}\n'
    assert both(lines, "a.ndjson") == both(BOM + b'{"id":1}' + BOM + b'{"id":2}', "a.ndjson") == [{"id": 1}, {"id": 2}]
    utf16 = "id,name\n1,Ann\n".encode("utf-16") + "id,name\n2,Bob\n".encode("utf-16")
    assert both(utf16, encoding="utf-16") == TWO


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-16-le", "shift_jis", "cp037"])
def test_a_mark_of_utf_8_goes_before_the_configured_encoding(encoding: str) -> None:
    text = BOM + "id,größe\n1,ü\n".encode()
    assert both(text, encoding=encoding) == [{"id": "1", "größe": "ü"}]
    assert both(gzip.compress(text), "a.csv.gz", encoding=encoding) == [{"id": "1", "größe": "ü"}]
    assert both(BOM + b'{"id":1}\n', "a.ndjson", encoding=encoding) == [{"id": 1}]


def test_a_text_without_a_mark_has_the_configured_encoding() -> None:
    for start in ("ï", "ï»", "ï»x"):
        assert both((start + ",b\n1,2\n").encode("latin-1"), encoding="latin-1") == [{start: "1", "b": "2"}]
    assert both(b"\xef", encoding="latin-1") == []
    swapped = "\ufeffid,name\n1,Ann\n".encode("utf-16-be")
    assert code(swapped, encoding="utf-16-le") == code(TWO_LINES.encode("utf-32")) == "utf_16_mark"


def test_a_mark_within_a_value_stays() -> None:
    assert both(b"id,name\n1,Ann\n#" + BOM + b"9,X\n2,Bob\n", comment="#") == TWO
    assert both(b'id,name\n1,"a\xef\xbb\xbfb"\n') == [{"id": "1", "name": "a\ufeffb"}]
    assert both(b'{"id":"}\xef\xbb\xbf{"}\n', "a.ndjson") == [{"id": "}\ufeff{"}]


def test_a_value_that_is_a_name_is_no_header() -> None:
    assert both(b"id,name\nid,Ann\n1,name\n") == [{"id": "id", "name": "Ann"}, {"id": "1", "name": "name"}]
    assert both(b"word\nword\n") == [{"word": "word"}]


def test_joined_texts_with_other_columns_are_an_error() -> None:
    outcome = read_all(b"id,name\n1,Ann\nname,id\nBob,2\n", limits=WIDE)
    params = {"position": "row 2", **caused_by("header_changed", {})}
    assert (len(outcome.lines), outcome.error and outcome.error.params) == (1, params)


def test_made_up_names_are_unique() -> None:
    assert list(both(b"column_2,,column_4,\n1,2,3,4\n")[0]) == ["column_2", "column_2_2", "column_4", "column_4_2"]


def test_line_ends_in_a_header_cell_are_blanks() -> None:
    for end in (b"\n", b"\r\n", b"\r", b"\v", b"\f", b"\xc2\x85", b"\xe2\x80\xa8", b"\xe2\x80\xa9"):
        assert both(b'id,"first' + end + b'name"\n1,Ann\n') == [{"id": "1", "first name": "Ann"}]
    assert code(b"id\rname\r\n1,Ann\n") == "bare_cr_in_header"
    assert code(b'id,"name"x\n1,Ann\n') == "text_after_header_quote"
    assert code(b'id,"name\n1,Ann\n', fields=["id", "name"]) == "unclosed_header_quote"


def test_lines_before_the_header_are_skipped() -> None:
    report = b'Report, "of today\nmade by, us\n\n'
    assert both(report + b"id,name\n1,Ann\n2,Bob\n", skip_lines=2) == TWO
    assert both(b"\n" + report + b"sep=;\nid;name\n1;Ann\n2;Bob\n", skip_lines=4) == TWO
    assert both(b"a\nb\n", skip_lines=3) == []


def test_comments_are_skipped() -> None:
    text = b'# made "today\nid,name\n# two, "rows\n1,Ann\n#\n2,Bob\n# end'
    assert both(text, comment="#") == TWO
    assert both(b'id,name\n1,"a\n# no comment"\n', comment="#") == [{"id": "1", "name": "a\n# no comment"}]
    assert both(b"#id,name\n") == []
    assert both(b"#id,name\n#1,Ann\n") == [{"#id": "#1", "name": "Ann"}]


@pytest.mark.parametrize(
    "empty", [b",\n", b"\r\n", b"  \n", b",,,,\r\n", b'"",""\n', b" ,\t\n", b'," "\n', b" , , \r\n"]
)
def test_empty_rows_are_skipped(empty: bytes) -> None:
    assert both(empty + b"id,name\n" + empty + b"1,Ann\n" + empty * 2 + b"2,Bob\n" + empty) == TWO
    assert both(b'id\n""\n\n1\n') == [{"id": ""}, {"id": "1"}]
    assert both(b"id,name\n ,x\n\t, y\n") == [{"id": " ", "name": "x"}, {"id": "\t", "name": " y"}]


@pytest.mark.parametrize(
    "text",
    [
        b"id,name,\n1,Ann,\n2,Bob,\n",
        b"id,name\n1,Ann,\n2,Bob,\n",
        b"id,name,\n1,Ann\n2,Bob\n",
        b'"id","name",\r\n"1","Ann",\r\n"2","Bob",',
        b"id,name, \n1,Ann, \n2,Bob, \n",
    ],
)
def test_a_delimiter_at_the_end_of_rows_is_no_column(text: bytes) -> None:
    assert both(text) == TWO
    assert both(text.replace(b",", b";"), delimiter=";") == TWO


def test_a_delimiter_at_the_end_of_some_rows_is_a_value_too_many() -> None:
    assert read_all(b"id,name\n1,Ann\n2,Bob,\n").rejects == [("row 2", "wrong_column_count")]
    assert read_all(b"id,name,\n1,Ann,\n2,Bob,x\n").rejects == [("row 2", "wrong_column_count")]
    assert both(b"id,name,\n1,Ann,x\n2,Bob,\n")[0] == {"id": "1", "name": "Ann", "column_3": "x"}
    assert both(b"a,b,\n1,,\n", fields=["x", "y", "z"]) == [{"x": "1", "y": "", "z": ""}]


@pytest.mark.parametrize(
    "text",
    [
        b"id, name\n1, Ann\n2, Bob\n",
        b'id, "name"\n1, "Ann"\n2, "Bob"\n',
        b"id , name \n1 , Ann \n2 , Bob \n",
        b"id ,name\t\n1  ,Ann  \n2  ,Bob  \n",
        b'"id" , "name"\n"1" , "Ann"\n"2" , "Bob"\n',
    ],
)
def test_padding_that_header_and_rows_have_is_dropped(text: bytes) -> None:
    assert both(text) == TWO


def test_padding_of_names_alone_is_dropped_and_that_of_values_alone_stays() -> None:
    assert both(b" id ,name\n1,Ann\n2,Bob\n") == TWO
    assert both(b"id,name\n1, Ann\n") == [{"id": "1", "name": " Ann"}]
    assert both(b'id, name\n1, "Smith, ""A"""\n') == [{"id": "1", "name": 'Smith, "A"'}]


@settings(deadline=None, max_examples=3 * settings().max_examples)
@given(
    st.lists(
        st.sampled_from(
            [
                *(b"id,name", b" id, name", b"1,Ann", b"2, Bob", b"3,C,", b",", b"#x", b"", b'4,"D\nd"', BOM),
                *(b"#" + BOM + b"1,Ann", b'""', b' , ""\r', b'5, "E', b"\t", b"sep=,", b"6\r7", b'"8", "F\n"'),
            ]
        )
    ),
    st.sampled_from([b"", b"sep=,\n", b"id,name\n", b"id, name\n", b"id,name,\n", b"id\n"]),
    st.sampled_from(["", "#"]),
    st.integers(2, 40),
)
def test_batches_and_cursors_make_no_difference(lines: list[bytes], start: bytes, comment: str, size: int) -> None:
    data = start + b"\n".join(lines)
    limits = Limits(batch_bytes=size, record_bytes=1000, clock=lambda: NOW)
    outcome = read_all(data, limits=limits, comment=comment)
    assert outcome.records == read_all(data, limits=WIDE, comment=comment).records
    for at, batch in enumerate(outcome.batches):
        rest = read_all(data, "a.csv", dict(batch.cursor), limits, comment=comment)
        assert rest.records == Outcome(outcome.batches[at + 1 :], outcome.error).records
