"""Dead letters of jobs, uploads and streams in a terminal."""

import re
from typing import Any

import pytest

from app.cli.client import ApiClient
from app.cli.exits import NOT_FOUND, CommandError
from app.cli.job.logs import job_dead_letters, stream_dead_letters
from app.cli.session import Session

JOB = {"id": "5f0c9e0a-0000-4000-8000-000000000000", "name": "People"}
UPLOAD = "6f0c9e0a-0000-4000-8000-000000000000"
LETTER = {
    "rejected_at": "2026-02-01T10:00:00Z", "code": "bad_row", "reason": "3 values, and there are 2 columns",
    "source": "people.csv", "position": "line 7", "stream": "people", "job_id": JOB["id"], "run": 1, "topic": "",
    "partition": None, "offset": None, "excerpt": "7,Ada\x1b[31m,x",
}  # fmt: skip


class Letters(ApiClient):
    """An API with one job and three dead letters, one on a page."""

    def __init__(self, count: int = 3) -> None:
        """Needs no session."""
        self.count = count
        self.asked: list[Any] = []

    async def get(self, path: str, **query: object) -> Any:
        return [JOB] if query.get("reference") in JOB.values() else []

    async def request(self, method: str, path: str, body: Any = None, *, query: Any = None, headers: Any = None) -> Any:
        self.asked.append(query)
        page = int(query["cursor"] or 0)
        following = str(page + 1) if page + 1 < self.count else None
        return {"data": [LETTER][: self.count], "next_cursor": following}


async def asked(api: Letters, command: Any = job_dead_letters, output: Any = "table", **arguments: Any) -> None:
    await command.callback.__wrapped__(Session(api, output), **{"since": None, "limit": 50} | arguments)


async def test_dead_letters_of_a_job_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    api = Letters()
    await asked(api, job="People")
    assert [item["job_id"] for item in api.asked] == [JOB["id"]] * 3
    rows = [re.split(r"  +", line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["REJECTED", "WHERE", "REASON", "EXCERPT", "CODE", "STREAM"]
    assert len(rows) == 4
    assert rows[1][1:4] == ["people.csv line 7", "3 values, and there are 2 columns", r"7,Ada\x1b[31m,x"]


async def test_dead_letters_of_an_upload_without_a_job(capsys: pytest.CaptureFixture[str]) -> None:
    api = Letters(1)
    await asked(api, job=UPLOAD, output="json")
    assert api.asked[0]["job_id"] == UPLOAD
    with pytest.raises(CommandError) as error:
        await asked(api, job="nothing of the kind")
    assert error.value.exit_code == NOT_FOUND


async def test_dead_letters_of_a_stream_up_to_a_limit(capsys: pytest.CaptureFixture[str]) -> None:
    api = Letters()
    await asked(api, stream_dead_letters, stream="people", limit=2, since="2026-01-01T00:00:00Z")
    assert [(item["stream"], item["since"]) for item in api.asked] == [("people", "2026-01-01T00:00:00Z")] * 2
    assert "--limit" in capsys.readouterr().err
    await asked(Letters(0), stream_dead_letters, stream=None)
    assert "no rejected records" in capsys.readouterr().err


async def test_at_80_columns_it_fits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    await asked(Letters(), job="People")
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 80
    assert "REASON" in out
