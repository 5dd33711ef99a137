"""The log of jobs in a terminal: complete, in order, without repeats."""

import asyncio
import re
from datetime import datetime
from typing import Any

import pytest
import yaml

from app.cli.client import ApiClient
from app.cli.job import logs as module
from app.cli.job.logs import MAX_VISIBILITY_DELAY, job_logs, print_lines
from app.cli.session import Session

FLIGHTS, PLANES = {"id": "flights-1", "name": "Flights"}, {"id": "planes-1", "name": "Planes"}


def line(seq: int, kind: str, second: float, job: str = "flights-1", message: str = "") -> dict[str, Any]:
    at = f"2026-11-25T02:29:{second:09.6f}Z"
    return {"job_id": job, "seq": seq, "at": at, "kind": kind, "message": message or kind, "detail": "", "by": "runner"}


def test_yaml_lines_form_one_list(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session(Log([]), "yaml")
    entries = [line(1, "Created", 1), line(2, "Started", 2)]
    for entry in entries:
        print_lines(session, [entry], {})
    assert yaml.safe_load(capsys.readouterr().out) == entries


class Log(ApiClient):
    """An API whose log grows by one batch a poll; following ends after the last batch."""

    def __init__(self, lines: list[dict[str, Any]], *later: list[dict[str, Any]]) -> None:
        self.lines = lines
        self.later = list(later)
        self.jobs = [FLIGHTS]

    async def get(self, path: str, **query: Any) -> Any:
        if path == "/v2/job":
            return [job for job in self.jobs if query.get("search", job["name"]) == job["name"]]
        return self._found(path, query["since"])[::-1][: query["limit"]]

    async def request(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        query = more["query"]
        if query["cursor"] is None:
            if not self.later:
                raise asyncio.CancelledError
            self.lines += self.later.pop(0)
        page = int(query["cursor"] or 0)
        found = self._found(path, query["since"])
        return {"data": found[page : page + 2], "next_cursor": str(page + 2) if page + 2 < len(found) else None}

    def _found(self, path: str, since: str | None) -> list[dict[str, Any]]:
        begin = datetime.fromisoformat(since or "2000-01-01T00:00:00Z")
        found = [line for line in self.lines if datetime.fromisoformat(line["at"]) >= begin]
        found = [item for item in found if path == "/v2/job/logs" or item["job_id"] in path]
        return sorted(found, key=lambda item: (item["at"], item["job_id"], item["seq"]))


async def wait_for_rebuild(monkeypatch: pytest.MonkeyPatch, log: Log, job: str | None, limit: int) -> None:
    monkeypatch.setattr(module, "POLL_INTERVAL_SECONDS", 0)
    command: Any = job_logs.callback
    with pytest.raises(asyncio.CancelledError):
        await command.__wrapped__(Session(log, "table"), job=job, kind=(), since=None, limit=limit, follow=True)


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()[3:]) for line in capsys.readouterr().out.splitlines()]


async def test_following_continues_after_the_last_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [line(1, "Created", 1), line(2, "Started", 1), line(4, "Synced", 5.25), line(5, "Completed", 5.25)]
    log = Log(before, [], [line(6, "Started", 5.25)], [line(8, "Synced", 9), line(9, "Completed", 9)])
    await wait_for_rebuild(monkeypatch, log, "Flights", 1)
    assert shown(capsys) == ["Completed", "Started", "Synced", "Completed"]


async def test_following_prints_late_lines_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert MAX_VISIBILITY_DELAY.total_seconds() > 10
    log = Log([line(1, "Created", 1), line(2, "Started", 30)], [line(1, "Created", 29, "planes-1")])
    log.jobs = [FLIGHTS]
    log.later.append([line(3, "Paused", 31)])
    log.jobs.append(PLANES)
    await wait_for_rebuild(monkeypatch, log, None, 1)
    assert shown(capsys) == ["Started Flights", "Created Planes", "Paused Flights"]


async def test_following_an_empty_log_prints_the_first_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await wait_for_rebuild(monkeypatch, Log([], [], [line(1, "Created", 1)], [line(2, "Started", 1)]), "Flights", 50)
    assert shown(capsys) == ["Created", "Started"]


@pytest.mark.parametrize(
    ("kind", "message", "expected"),
    [
        ("Configured", "Configured: version 2", "Configured version 2"),
        ("Started", "Started run 2: it was resumed", "Started run 2: it was resumed"),
        ("Paused", "Paused", "Paused"),
        ("CursorMoved", "Cursor moved from {} to {}", "CursorMoved from {} to {}"),
        ("Described", "Description changed", "Described"),
        (
            "Refused",
            "Refused configure: configure is not allowed while the job is Killed; allowed: rename, edit_cursor",
            "Refused edit: edit is not allowed while the job is Killed; allowed: edit, edit --cursor",
        ),
    ],
)
def test_a_line_has_its_kind_once_and_command_names(
    kind: str, message: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    print_lines(Session(Log([]), "table"), [line(1, kind, 1, message=message)], {"flights-1": ""})
    assert shown(capsys) == [expected]


def test_a_long_line_wraps_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    long = [line(1, "Error", 1, message="Error: " + "the provider did not answer " * 8)]
    print_lines(Session(Log([]), "table"), long, {"flights-1": ""})
    assert len(capsys.readouterr().out.splitlines()) == 1
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    print_lines(Session(Log([]), "table"), long, {"flights-1": ""})
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80
    begin = lines[0].index("the provider")
    assert len(lines) > 3
    assert all(line[:begin].isspace() and not line[begin].isspace() for line in lines[1:])
