"""Tables fit the terminal, and a pipe gets everything."""

import re

import pytest

from app.cli.client import problem_text
from app.cli.output import Column, cell, fitted, local_time, print_facts, print_table, serialized

COLUMNS = (
    Column("id", lambda row: row["id"], drop=1),
    Column("name", lambda row: row["name"], shrinks=True),
    Column("read", lambda row: row["read"], right=True),
    Column("note", lambda row: row["note"], drop=2),
)
ROWS = [
    {"id": "0190a", "name": "Flights, January 2013, all of New York", "read": 27004, "note": "x" * 30},
    {"id": "0190b", "name": "連絡先", "read": 3, "note": ""},
]


def widths(room: int) -> list[int]:
    return fitted(COLUMNS, [[cell(column.value(row)) for column in COLUMNS] for row in ROWS], room)


def test_a_wide_terminal_shows_everything() -> None:
    assert widths(200) == [5, 38, 6, 30]


def test_columns_are_dropped_by_priority_then_the_name_is_truncated() -> None:
    assert widths(80) == [5, 38, 6, 0]
    assert widths(50) == [0, 38, 6, 0]
    assert widths(30) == [0, 20, 6, 0]
    assert widths(5) == [0, 8, 6, 0]


def test_a_pipe_gets_plain_text_without_trailing_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(ROWS, COLUMNS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ID     NAME                                      READ  NOTE"
    assert lines[1].startswith("0190a  Flights, January 2013, all of New York  27,004  xxx")
    assert lines[2] == f"0190b  連絡先{' ' * 39}3"


def test_brackets_are_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"id": "[red]", "name": "[/]", "read": 1, "note": "a\nb"}], COLUMNS)
    assert capsys.readouterr().out.splitlines()[1] == "[red]  [/]      1  a b"


def test_an_empty_table_is_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], COLUMNS)
    assert capsys.readouterr().out == "ID  NAME  READ  NOTE\n"


def test_a_timestamp_has_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_time("2026-11-03T14:03:00Z")[-3:].strip()
    assert local_time(None) == ""


def test_json_and_yaml_are_the_data() -> None:
    assert serialized({"a": [1, None]}, "line") == '{"a":[1,null]}'
    assert serialized({"a": [1, None]}, "json") == '{\n  "a": [\n    1,\n    null\n  ]\n}'
    assert serialized({"a": "é"}, "yaml") == "a: é"


def test_a_problem_names_each_field_and_the_request() -> None:
    problem = {
        "detail": "these fields are not as they have to be: /name",
        "errors": [{"pointer": "/name", "code": "missing", "message": "Field required"}],
        "code": "invalid",
        "request_id": "r1",
    }
    assert problem_text(422, problem).splitlines() == [
        "these fields are not as they have to be: /name",
        "  /name: Field required",
        "  (invalid, request r1)",
    ]
    conflict = {"detail": "no kind `cookie`", "errors": [{"pointer": "", "message": "no kind `cookie`"}]}
    assert problem_text(409, conflict) == "no kind `cookie`", "once is enough"
    assert problem_text(502, "<html>") == "the API returned status 502"


WRAPPED = (
    Column("field", lambda row: row["field"]),
    Column("type", lambda row: row["type"], wraps=12, drop=2),
    Column("default", lambda row: row["default"], wraps=10, drop=1),
    Column("what it is", lambda row: row["says"], wraps=20, shrinks=True),
)
FIELD = {"field": "timestamp_format", "type": "csv, ndjson, json_array", "default": '["auto"]', "says": "word " * 30}


@pytest.mark.parametrize("width", [80, 120])
def test_a_description_wraps_before_columns_are_dropped(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(width))
    print_table([FIELD], WRAPPED)
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0].split() == ["FIELD", "TYPE", "DEFAULT", "WHAT", "IT", "IS"]
    assert max(map(len, lines)) <= width
    assert " ".join(lines).count("word") == 30
    assert "…" not in "".join(lines)


def test_a_pipe_gets_a_description_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([FIELD], WRAPPED)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_long_fact_wraps_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    print_facts({"summary": "Imports with file/import, once. Completed: 3,322 read."})
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert lines == ["summary  Imports with file/import, once.", "         Completed: 3,322 read."]
