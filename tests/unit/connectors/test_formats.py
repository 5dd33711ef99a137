"""CSV, NDJSON and JSON arrays: valid files, invalid records, limits and configuration errors."""

import gzip
import tracemalloc
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from app.sentences.sentence import sentence
from connectors.contract import Limits
from connectors.providers.file import Config
from connectors.text.cursor import cursor_problems
from connectors.text.formats.json_body import MAX_MESSAGES, parse_body
from schemas.coded import caused_by
from tests.unit.connectors.texts import LIMITS, NOW, Outcome, read_all

WIDE = Limits(clock=lambda: NOW)


def messages(outcome: Outcome) -> list[dict[str, Any]]:
    assert outcome.error is None, outcome.error
    return [orjson.loads(line) for line in outcome.lines]


def error_code(outcome: Outcome) -> str:
    assert outcome.error is not None
    return outcome.error.code


def test_values_stay_unchanged() -> None:
    text = 'a,b,c\n007, x ,"say ""hi"", two\nlines"\n1e5,,NULL\n'
    assert messages(read_all(text.encode())) == [
        {"a": "007", "b": " x ", "c": 'say "hi", two\nlines'},
        {"a": "1e5", "b": "", "c": "NULL"},
    ]


@pytest.mark.parametrize("data", [b"", b"a,b\n", b"a,b", b"\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbfa,b\r\n"])
def test_an_empty_file_has_no_records(data: bytes) -> None:
    assert read_all(data).batches == []
    assert read_all(data, "a.ndjson").batches == [] or data.strip().endswith(b"b")


def test_invalid_headers() -> None:
    assert messages(read_all(b",b,\n1,2,3\n")) == [{"column_1": "1", "b": "2", "column_3": "3"}]
    assert error_code(read_all(b"a,b,a\n1,2,3\n")) == "duplicate_header"
    assert messages(read_all(b"a,b,a\n1,2,3\n", fields=["x", "y", "z"])) == [{"x": "1", "y": "2", "z": "3"}]
    assert messages(read_all(b"1,2\n", fields=["x", "y"], header_row=False)) == [{"x": "1", "y": "2"}]
    million = b",".join(b"%d" % number for number in range(1_000_000)) + b"\n"
    assert error_code(read_all(million, limits=WIDE)) == "header_too_long"
    assert error_code(read_all(b"a" * 10_001 + b"," * 10_000 + b"\n", limits=WIDE)) == "too_many_columns"
    assert error_code(read_all(b"\0" * 3_000_000, limits=Limits(record_bytes=1_000_000))) == "header_too_long"
    assert error_code(read_all(b"a\rb\r\n")) == "bare_cr_in_header"
    assert error_code(read_all(b"a,\xff\n")) == "header_encoding"
    assert error_code(read_all("a,b\n".encode("utf-16"))) == "utf_16_mark"


def test_ten_thousand_columns_stay_within_the_batch_size() -> None:
    header = b",".join(b"c%d" % number for number in range(10_000)) + b"\n"
    outcome = read_all(header + (b"1," * 9_999 + b"1\n") * 100, limits=WIDE)
    assert len(outcome.lines) == 100
    assert max(len(batch.payload) for batch in outcome.batches) < 32 * 1024 * 1024


def test_invalid_rows_are_quarantined() -> None:
    data = b"at,b\n2020-01-01,ok\nx\n2020-01-01,a,b\n2020-01-01,\xff\n2020-01-01,\x00\n"
    data += b",b\nnope,b\n2999-01-01,b\n2020-01-02,ok\n"
    outcome = read_all(data, timestamp_field="at")
    assert outcome.rejects == [
        ("row 2", "wrong_column_count"),
        ("row 3", "wrong_column_count"),
        ("row 4", "broken_encoding"),
        ("row 5", "nul_byte"),
        ("row 6", "missing_timestamp"),
        ("row 7", "bad_timestamp"),
        ("row 8", "future_timestamp"),
    ]
    assert [message["at"] for message in messages(outcome)] == ["2020-01-01", "2020-01-02"]
    dropped = read_all(data, timestamp_field="at", on_error="drop")
    assert sum(batch.rejects_dropped for batch in dropped.batches) == 7
    aborted = read_all(data, timestamp_field="at", on_error="abort")
    assert (error_code(aborted), len(aborted.lines), aborted.batches[-1].cursor["row"]) == ("record_rejected", 1, 1)
    assert aborted.error is not None
    cause = caused_by("wrong_column_count", {"values": 1, "columns": 2})
    assert aborted.error.params == {"position": "row 2", **cause}


@pytest.mark.parametrize("path", ["a.csv", "a.ndjson", "a.json"])
def test_a_record_of_50_megabytes_is_rejected_in_bounded_memory(path: str) -> None:
    huge = b"x" * 50_000_000
    data = {
        "a.csv": b'a,b\n1,2\n1,"' + huge + b'"\n3,4\n',
        "a.ndjson": b'{"a":1}\n{"a":"' + huge + b'"}\n{"a":3}\n',
        "a.json": b'[{"a":1},{"a":"' + huge + b'"},{"a":3}]',
    }[path]
    tracemalloc.start()
    outcome = read_all(data, path, limits=WIDE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60_000_000
    assert outcome.error is None
    assert [code for _, code in outcome.rejects] == ["record_too_large"]
    (reject,) = (reject for batch in outcome.batches for reject in batch.rejects)
    assert len(reject.excerpt) == 1024
    assert [str(message["a"]) for message in messages(outcome)] == ["1", "3"]


@pytest.mark.slow
def test_an_unclosed_quote_rejects_its_row_only() -> None:
    for size in (100, 1_000_000):
        outcome = read_all(b'a,b\n1,2\n3,"4\n' + b"5,6\n" * size, limits=Limits(record_bytes=1000))
        assert outcome.rejects == [("row 2", "unclosed_quote")]
        assert len(outcome.lines) == 1 + size


def test_an_unterminated_last_row_must_not_be_continued() -> None:
    cursor = dict(read_all(b"a,b\n1,2").batches[-1].cursor)
    assert messages(read_all(b"a,b\n1,2\n3,4", cursor=cursor)) == [{"a": "3", "b": "4"}]
    assert error_code(read_all(b"a,b\n1,23\n", cursor=cursor)) == "source_changed"
    assert read_all(b"a,b\n1,2\r\n", cursor=cursor).batches == []


def test_an_unexpected_value_is_shown_as_json() -> None:
    for text in ("null", "true", "false", "7"):
        stop = parse_body(f"[{text}]".encode(), "abort", None, 0).stop
        assert stop
        assert (stop.code, stop.params) == ("not_an_object", {"found": text})


def test_parsing_stops_one_element_after_the_limit() -> None:
    parsed = parse_body(b"[" + b",".join([b"7"] * (MAX_MESSAGES + 1_000)) + b"]", "drop", None, 0)
    assert parsed.read == MAX_MESSAGES + 1


def test_json_lines_stay_unchanged() -> None:
    lines = [b'{"a": 12345678901234567890123, "a":2}', b'{ "b" : "\xc3\xa9\\u00e9" }']
    outcome = read_all(b"\xef\xbb\xbf" + lines[0] + b"\r\n\n  " + lines[1], "a.jsonl")
    assert outcome.lines == [line + b"\n" for line in lines]


def test_lines_other_than_objects_are_rejected() -> None:
    deep = b'{"a":' * 201 + b"1" + b"}" * 201
    very = b"[" * 100_000 + b"]" * 100_000 + b"}"
    lines = [b"[1]", b'"x"', b"null", b'{"a":NaN}', b'{"a":1}}', b'{"a":"\xff"}', deep, b'{"a":' + very]
    outcome = read_all(b"\n".join(lines), "a.ndjson", limits=WIDE)
    assert [code for _, code in outcome.rejects] == [
        *["not_an_object"] * 3,
        *["invalid_json"] * 2,
        "broken_encoding",
        "too_deep",
        "too_deep",
    ]
    fine = b'{"a":' * 200 + b"1" + b"}" * 200
    assert read_all(fine + b'\n{"a":[' + b"[]," * 500 + b"[]]}", "a.ndjson", limits=WIDE).rejects == []


def test_array_elements_may_contain_any_strings() -> None:
    objects = [{"a": '}]{["\\', "b": [{"c": {}}]}, {"\\\\": "\n\\"}, {}]
    pretty = orjson.dumps(objects, option=orjson.OPT_INDENT_2)
    outcome = read_all(pretty, "a.json")
    assert messages(outcome) == objects
    assert all(line.count(b"\n") == 1 for line in outcome.lines)


@pytest.mark.parametrize(
    ("data", "code", "params"),
    [
        (b'{"a":1}', "not_an_array_of_objects", {"expected": "[", "format": "ndjson"}),
        (b"[1,2]", "not_an_array_of_objects", {"found": "1,2]", "expected": "{"}),
        (b'[{"a":1} {"a":2}]', "not_an_array_of_objects", {"after": 1, "expected": ","}),
        (b'[{"a":1},7]', "not_an_array_of_objects", {"after": 1, "expected": "{"}),
        (b'[{"a":1},]', "not_an_array_of_objects", {"after": 1, "found": "]"}),
        (b"hello", "not_an_array_of_objects", {"found": "hello", "format": None}),
        (b'[{"a":1}', "truncated", {"object": 1}),
        (b'[{"a":1},{"a":', "truncated", {"object": 1}),
        (b"", "truncated", {"object": 0}),
        (b"[] x", "trailing_text", {}),
        (b"[]" + b" " * 500 + b"x", "trailing_text", {}),
    ],
)
def test_an_invalid_array_of_objects_is_an_error_with_its_position(
    data: bytes, code: str, params: dict[str, object]
) -> None:
    outcome = read_all(data, "a.json")
    assert error_code(outcome) == code
    assert outcome.error is not None
    assert {name: outcome.error.params.get(name) for name in params} == params


def test_an_array_may_be_empty_or_grow() -> None:
    assert read_all(b" [\n] \n", "a.json").batches == []
    cursor = dict(read_all(b'[{"a":1}]', "a.json").batches[-1].cursor)
    assert messages(read_all(b'[{"a":1},{"a":2}]', "a.json", cursor)) == [{"a": 2}]


def test_complete_records_of_a_truncated_archive_are_imported() -> None:
    data = b"a,b\n" + b"".join(b"%d,x\n" % number for number in range(100_000))
    packed = gzip.compress(data)
    outcome = read_all(packed[: len(packed) // 2], "a.csv.gz", limits=WIDE)
    assert error_code(outcome) == "truncated"
    assert 10_000 < len(outcome.lines) < 90_000
    rest = read_all(packed, "a.csv.gz", dict(outcome.batches[-1].cursor), WIDE)
    assert outcome.lines + rest.lines == read_all(data, limits=WIDE).lines


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8"])
def test_encodings_become_utf8(encoding: str) -> None:
    data = "a,b\né,ü\n".encode(encoding)
    assert messages(read_all(data, encoding=encoding)) == [{"a": "é", "b": "ü"}]


def test_undecodable_bytes_reject_only_their_row() -> None:
    outcome = read_all(b"a,b\n1,\x81\n2,\xe9\n", encoding="cp1252")
    assert outcome.rejects == [("row 1", "broken_encoding")]
    assert messages(outcome) == [{"a": "2", "b": "é"}]


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"delimeter": ";"}, "Extra inputs are not permitted"),
        ({"delimiter": ";;"}, "should match pattern"),
        ({"delimiter": "é"}, "should match pattern"),
        ({"delimiter": '"'}, "quote_is_delimiter"),
        ({"quote": ","}, "quote_is_delimiter"),
        ({"header_row": False}, "columns_unnamed"),
        ({"fields": ["a", "a"]}, "duplicate_field_name"),
        ({"fields": ["a"], "timestamp_field": "b"}, "timestamp_field_not_in_fields"),
        ({"timestamp_format": "ISO"}, "unknown_timestamp_format"),
        ({"timestamp_format": "%Y-%Y"}, "unknown_timestamp_format"),
        ({"timestamp_format": "%H:%M"}, "unknown_timestamp_format"),
        ({"timestamp_format": "%Q"}, "unknown_timestamp_format"),
        ({"timestamp_format": "%m/%d/%Y %H:%M:%S %p"}, "unknown_timestamp_format"),
        ({"timestamp_format": "%m/%d/%Y %I:%M:%S"}, "unknown_timestamp_format"),
        ({"timestamp_format": "%Y-%m-%d %H:%M %Z"}, "unknown_timestamp_format"),
        ({"time_zone": "Mars/Base"}, "unknown_time_zone"),
        ({"time_zone": "../etc"}, "unknown_time_zone"),
        ({"encoding": "klingon"}, "unknown_encoding"),
        ({"encoding": "base64"}, "unknown_encoding"),
        ({"stream": "a b"}, "should match pattern"),
        ({"source": ""}, "at least 1 character"),
        ({"on_error": "ignore"}, "'abort', 'drop' or 'quarantine'"),
    ],
)
def test_an_invalid_configuration_is_explained(config: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError) as error:
        Config.model_validate({"source": "a.csv", "stream": "s"} | config)
    assert word in str(error.value)


def test_an_edited_cursor_is_checked() -> None:
    good = dict(read_all(b"a,b\n1,2\n3,4\n").batches[-1].cursor)
    assert cursor_problems(good) == ()
    for edit, field in (({"byte": -1}, "/byte"), ({"row": "7"}, "/row"), ({"tail": None}, "/byte"), ({"x": 1}, "/x")):
        assert [problem.field for problem in cursor_problems(good | edit)] == [field]
    (unknown,) = cursor_problems({"rows": 1})
    assert (unknown.code, unknown.params["problem"]) == ("bad_cursor_field", "extra_forbidden")
    assert str(unknown.params["fields"]).startswith("('row', ")
    assert error_code(read_all(b"a,b\n1,2\n3,4\n", cursor=good | {"byte": 3})) == "source_changed"
    assert error_code(read_all(b"a,b\n1,2\n3,4\n", cursor=good | {"fields": None})) == "cursor_without_fields"


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        ({"row": 0}, "/row"),
        ({"row": 13}, "/row"),
        ({"byte": 0}, "/row"),
        ({"byte": 0, "row": 0}, "/head"),
        ({"source_bytes": 11}, "/source_bytes"),
    ],
)
def test_a_contradictory_cursor_is_rejected(edit: dict[str, int], field: str) -> None:
    good = dict(read_all(b"a,b\n1,2\n3,4\n").batches[-1].cursor)
    (problem,) = cursor_problems(good | edit)
    assert problem.field == field
    assert "reset" in sentence(problem.code, problem.params)
    assert cursor_problems({"byte": 0, "row": 0}) == ()


@pytest.mark.parametrize("invalid", [b"x\n", b'a "stray" quote,b,c\n', b'1,"open ""and"" closed\n",3\n', b"\xff,2,3\n"])
@pytest.mark.parametrize("every", [3, 97, 4001])
def test_invalid_rows_do_not_affect_other_rows(invalid: bytes, every: int) -> None:
    rows = [b"%d,some text,%d\n" % (number, number * 7) for number in range(12_000)]
    rows[::every] = [invalid] * len(rows[::every])
    data = b"a,b,c\n" + b"".join(rows)
    small = Limits(batch_bytes=5_000, record_bytes=5_000, clock=lambda: NOW)
    assert read_all(data, limits=WIDE).records == read_all(data, limits=small).records


def test_small_limits_read_every_record() -> None:
    assert LIMITS.batch_bytes < 100
    outcome = read_all(b"a,b\n" + b"1,2\n" * 100)
    assert len(outcome.batches) > 3
    assert len(outcome.lines) == 100
