"""Lanes in a terminal: lag, ETA, and waiting for an upload."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from app.cli.client import ApiClient
from app.cli.data.lane import lane_list, lane_pause, lane_show, rate, short_duration
from app.cli.job.ingest import describe_ingest, wait_ingested
from app.cli.session import Session

AT = "2026-02-01T10:00:00Z"
BUSY = {"topic": "t", "lag": 12_345, "records_per_second": 3.21, "eta_seconds": 3_845.9, "oldest_pending_at": AT}
IDLE = {"topic": "t", "lag": 0, "records_per_second": 0.0, "eta_seconds": 0.0, "oldest_pending_at": None}
PARTITIONS = {"partitions": [{"partition": 3, "position": 5, "end": 12_350, "lag": 12_345, "oldest_pending_at": AT}]}
BACKFILL = {
    "name": "backfill", "paused": True, "switched_by": "user:ada", "switched_at": AT, "messages_per_second": 45_678.9,
    "mapping": BUSY | PARTITIONS, "profiles": IDLE | PARTITIONS,
}  # fmt: skip
HOW_FAR = {"unmapped_stream": None, "excluded_before": None}
REALTIME = BACKFILL | {"name": "realtime", "paused": False, "switched_by": None, "mapping": IDLE}


class Lanes(ApiClient):
    """An API with two lanes, and a job that progresses with each request."""

    def __init__(self) -> None:
        """Needs no session."""
        self.sent: list[str] = []
        self.jobs: Iterator[Any] = iter(
            {
                "status": status,
                "profiles": HOW_FAR
                | {"written": written, "mapped": mapped, "complete": complete, "unmapped_stream": unmapped},
            }
            for status, written, mapped, complete, unmapped in (
                ("Running", 0, 0, True, None),
                ("Completed", 9, 3, False, "visits"),
                ("Completed", 9, 9, False, None),
                ("Completed", 9, 9, False, "visits"),  # its messages will never be in a profile
            )
        )

    async def get(self, path: str, **query: object) -> Any:
        if path.startswith("/v2/job/"):
            return next(self.jobs)
        return BACKFILL if path == "/v2/lane/backfill" else [REALTIME, BACKFILL]

    async def send(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        self.sent.append(f"{method} {path}")
        return BACKFILL


async def asked(command: Any, output: Any = "table", **arguments: Any) -> Lanes:
    api = Lanes()
    await command.callback.__wrapped__(Session(api, output), **arguments)
    return api


async def test_list_shows_each_lane_and_its_profiles(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await asked(lane_list)
    rows = [re.split(r"  +", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert [row[:3] for row in rows[1:]] == [
        ["realtime", "mapping", "0"],
        ["realtime", "profiles", "0"],
        ["backfill", "mapping", "12,345"],
        ["backfill", "profiles", "0"],
    ]
    assert rows[3][3:6] == ["3.2", "45,679", "1 h 4 min"]
    assert (rows[3][-1], rows[1][-1]) == ("Paused", "Running")
    await asked(lane_list, "yaml")
    assert yaml.safe_load(capsys.readouterr().out) == [REALTIME, BACKFILL]
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    await asked(lane_list)
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 80
    assert "OLDEST PENDING" in out


async def test_show_and_pause_a_lane(capsys: pytest.CaptureFixture[str]) -> None:
    await asked(lane_show, lane="backfill")
    out = capsys.readouterr().out
    assert re.search(r"state +Paused, by user:ada at 2026-02-01 \d\d:00:00 \S+$", out, re.MULTILINE)
    assert re.search(r"mapping +12,345 records pending, oldest since .*, ETA 1 h 4 min$", out, re.MULTILINE)
    assert re.search(r"profiles +caught up$", out, re.MULTILINE)
    assert re.search(r"mapping +3 +5 +12,350 +12,345 +2026", out)
    assert (await asked(lane_pause, lane="backfill")).sent == ["POST /v2/lane/backfill/pause"]
    assert "Paused" in capsys.readouterr().out
    await asked(lane_show, "json", lane="backfill")
    assert yaml.safe_load(capsys.readouterr().out) == BACKFILL


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, ""), (0, "0 s"), (0.2, "1 s"), (59.4, "59 s"), (61, "1 min 1 s"), (7_300, "2 h 1 min")],
)
def test_durations_for_display(seconds: float | None, shown: str) -> None:
    assert short_duration(seconds) == shown


@pytest.mark.parametrize(("given", "shown"), [(None, ""), (0.0, "0"), (0.04, "0.04"), (12.6, "13"), (1e6, "1,000,000")])
def test_rates_for_display(given: float | None, shown: str) -> None:
    assert rate(given) == shown


async def test_waiting_for_an_upload_reports_a_paused_lane_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.cli.job.ingest.POLL_INTERVAL_SECONDS", 0)
    api = Lanes()
    await wait_ingested(Session(api, "table"), "job", "backfill", None)
    assert next(api.jobs, None) is None, "to the end"
    errors = capsys.readouterr().err
    assert errors.count("entrepot lane resume backfill") == 1
    assert "visits has no mapping" in errors


@pytest.mark.parametrize(
    ("written", "mapped", "complete", "shown"),
    [
        (0, 0, True, ""),
        (2_699, 0, False, "0 of 2,699 messages mapped (0 %)"),
        (2_699, 2_698, False, "2,698 of 2,699 messages mapped (99 %)"),
        (2_699, 2_699, False, "2,699 of 2,699 messages mapped; waiting for profiles"),
        (2_699, 2_699, True, "all 2,699 messages applied to profiles"),
    ],
)
def test_ingest_progress_in_one_line(written: int, mapped: int, complete: bool, shown: str) -> None:  # noqa: FBT001  # pytest passes parameters by keyword
    assert describe_ingest(HOW_FAR | {"written": written, "mapped": mapped, "complete": complete}) == shown


def test_ingest_progress_reports_an_undo() -> None:
    undone = HOW_FAR | {"written": 2, "mapped": 2, "complete": True, "excluded_before": "2026-11-25T10:00:00Z"}
    assert re.fullmatch(
        r"all 2 messages applied to profiles; messages before 2026-11-25 \d\d:00:00 \S+ are undone",
        describe_ingest(undone),
    )
