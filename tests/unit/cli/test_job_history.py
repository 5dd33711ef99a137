"""Configuration versions in a terminal: changes, actors and differences."""

import re
from typing import Any

import pytest

from app.cli.client import ApiClient
from app.cli.job.read import job_diff, job_history
from app.cli.session import Session

ONCE = {"kind": "once", "every_seconds": 0, "cron": "", "time_zone": "UTC", "blackout_windows": []}
NIGHTLY = ONCE | {
    "kind": "cron",
    "cron": "0 3 * * *",
    "blackout_windows": [{"start": "10:00", "end": "11:00", "days": ["mon"]}],
}


def version(number: int, fields: dict[str, Any], cadence: dict[str, Any] = ONCE, **more: Any) -> dict[str, Any]:
    facts = {"at": "2026-11-25T02:29:39Z", "by": "user:admin", "reverted_from": None, "retry": {"base_seconds": 60}}
    return {"version": number, "configuration": fields, "cadence": cadence} | facts | more


class Versions(ApiClient):
    """An API with one job and the given versions, newest first."""

    def __init__(self, *versions: dict[str, Any]) -> None:
        self.versions = list(versions)

    async def get(self, path: str, **query: Any) -> Any:
        return [{"id": "job-1", "name": "Planes"}] if path == "/v2/job" else self.versions


PLANES = Versions(
    version(4, {"source": "a.csv"}, NIGHTLY, reverted_from=1),
    version(3, {"source": "a.csv", "header_row": False}, NIGHTLY),
    version(2, {"source": "a.csv", "timestamp_field": "year"}),
    version(1, {"source": "a.csv"}),
)


async def asked(command: Any, api: ApiClient, **arguments: Any) -> None:
    await command.callback.__wrapped__(Session(api, "table"), job="Planes", **arguments)


async def test_the_history_lists_the_changes_of_each_version(capsys: pytest.CaptureFixture[str]) -> None:
    await asked(job_history, PLANES)
    lines = [re.split(r"  +", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["VERSION", "AT", "BY", "CADENCE", "CHANGES"]
    nightly = "cron `0 3 * * *` (UTC), with blackout windows"
    assert [line[2:] for line in lines[1:]] == [
        ["user:admin", nightly, "reverted to version 1, -header_row"],
        ["user:admin", nightly, "header_row:=false, -timestamp_field, cadence"],
        ["user:admin", "once", "timestamp_field=year"],
        ["user:admin", "once", "created"],
    ]


async def test_at_80_columns_no_column_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    await asked(job_history, PLANES)
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert out.splitlines()[0].split() == ["VERSION", "AT", "BY", "CADENCE", "CHANGES"]
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        (PLANES.versions[-1:], "only version 1 exists: nothing to compare"),
        ([version(2, {"source": "a.csv"}), PLANES.versions[-1]], "versions 1 and 2 are identical"),
    ],
)
async def test_a_comparison_without_differences_prints_a_notice(
    versions: list[dict[str, Any]], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await asked(job_diff, Versions(*versions), old=None, new=None)
    assert capsys.readouterr().out == f"{text}\n"
