"""Text of users and providers cannot control a terminal; a closed terminal is no error."""

import logging
import os
import sys
from typing import Any, Literal

import click
import pytest
import yaml
from click.testing import CliRunner

from app.cli.client import ApiClient, problem_text
from app.cli.exits import CommandError
from app.cli.job.arguments import job_by_reference
from app.cli.job.change import print_job
from app.cli.job.logs import print_lines
from app.cli.main import main
from app.cli.output import Column, print_facts, print_table, serialized
from app.cli.progress import bar
from app.cli.service.up import notify
from app.cli.session import Session
from app.sentences.escapes import escaped

HOSTILE = "\x1b]0;mine\x07\x1b[31mred\r\n2026-01-01  Completed  forged\x9b2J\u202egpj\u2028"
SHOWN = r"\x1b]0;mine\x07\x1b[31mred\r\n2026-01-01  Completed  forged\x9b2J\u202egpj\u2028"
JOB = {"id": "j1", "name": HOSTILE, "status": "Paused", "status_label": "Paused", "reason": "", "next_at": None}
JOB |= {"created_at": "2026-11-03T14:03:00Z"}
LINE = {"job_id": "j1", "at": "2026-11-03T14:03:00Z", "kind": "Created", "message": HOSTILE, "detail": HOSTILE}


class Jobs(ApiClient):
    """An API with two jobs of a hostile name."""

    def __init__(self) -> None:
        """Needs no session."""

    async def get(self, path: str, **query: object) -> Any:
        assert path == "/v2/job"
        return [JOB, JOB | {"id": "j2"}]


def acted_on(text: str) -> list[str]:
    return [item for item in text if item != "\n" and not item.isprintable()]


def test_control_characters_are_escaped() -> None:
    assert escaped(HOSTILE) == SHOWN
    assert escaped("Zoë, 連絡先, 👩‍🔬, עברית\u00a0") == "Zoë, 連絡先, 👩‍🔬, עברית\u00a0"


def test_tables_facts_and_lines_are_safe_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(Jobs(), "table")
    print_table([JOB], (Column("name", lambda row: row["name"]),))
    print_facts({"name": HOSTILE})
    print_job(session, JOB)
    print_lines(session, [LINE | {"by": f"user:{HOSTILE}"}], {"j1": HOSTILE})
    out = capsys.readouterr().out
    assert acted_on(out) == []
    assert len(out.splitlines()) == 2 + len(HOSTILE.splitlines()) + 1 + 1, "only facts have several lines"


async def test_problems_and_suggestions_are_safe_for_a_terminal() -> None:
    assert acted_on(problem_text(422, {"detail": HOSTILE, "errors": [{"pointer": "/a", "message": HOSTILE}]})) == []
    for reference in ("nothing", HOSTILE):
        with pytest.raises(CommandError) as error:
            await job_by_reference(Jobs(), reference)
        assert acted_on(error.value.message) == []


@pytest.mark.parametrize("output", ["json", "yaml", "line"])
def test_json_and_yaml_are_escaped_on_a_terminal_and_unchanged_in_a_pipe(
    output: Literal["json", "yaml", "line"], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"Zoë": [HOSTILE, "plain"], HOSTILE: "\N{RIGHT-TO-LEFT MARK}\x7f"}
    piped = serialized(data, output)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    shown = serialized(data, output)
    assert acted_on(piped) != []
    assert acted_on(shown) == []
    assert yaml.safe_load(shown) == data
    assert "é" in serialized({"Zoë": "é"}, output)


def test_errors_and_uncaught_exceptions_are_safe_for_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["entrepot", f"no-{HOSTILE}"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(os, "umask", int)
    monkeypatch.setattr(logging.lastResort, "formatter", None)
    with pytest.raises(SystemExit):
        main()
    sys.excepthook(ValueError, ValueError(HOSTILE), None)
    assert logging.lastResort is not None
    logging.lastResort.emit(logging.makeLogRecord({"msg": HOSTILE}))
    errors = capsys.readouterr().err
    assert errors.count(r"\x1b]0;mine\x07") == 3
    assert acted_on(errors) == []


def test_a_progress_bar_is_safe_for_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "300")
    with bar(f"[bold]{HOSTILE}") as update:
        update(1, 2, HOSTILE)
    errors = capsys.readouterr().err
    assert "\x1b]0;mine" not in errors
    assert r"[bold]\x1b]0;mine" in errors, "markup is text"


def test_console_lines_of_the_supervisor_are_safe_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    notify(f"runner: {HOSTILE}")
    assert acted_on(capsys.readouterr().err) == []


def test_closed_streams_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    print_table([JOB], (Column("name", lambda row: row["name"]),))
    with bar("waiting") as update:
        update(1, 2, "half")


def test_a_terminal_without_colour_and_unicode_gets_a_table() -> None:
    @click.command()
    def narrow() -> None:
        print_table([JOB], (Column("name", lambda row: row["name"], shrinks=True),))

    assert CliRunner(charset="ascii", env={"COLUMNS": "10", "LANG": "C"}).invoke(narrow).exit_code == 0
