"""What a role prints is kept, and what matters of it is shown."""

from pathlib import Path

import pytest

from app.supervisor.process_log import SHOWN, WARNING_INTERVAL_SECONDS, RoleLog

WARNING = "2026-11-03T14:03:00Z WARNING app.control.role: the broker is slow"


def logged(path: Path, lines: list[str]) -> list[str]:
    shown: list[str] = []
    log = RoleLog(path, shown.append, clock=lambda: 0.0)
    for each in lines:
        log.line(each)
    log.close()
    return shown


@pytest.mark.parametrize(
    ("line", "is_shown"),
    [
        (WARNING, True),
        ('{"event": "slow", "level": "error"}', True),
        ("2026-11-03T14:03:00Z INFO app.control.role: an ERROR of the past", False),
        ('{"event": "slow", "level": "info"}', False),
        ("  File x.py, line 3", False),
    ],
)
def test_warnings_and_worse_are_shown_and_everything_is_kept(tmp_path: Path, line: str, *, is_shown: bool) -> None:
    assert logged(tmp_path / "control.log", [line]) == ([line] if is_shown else [])
    assert (tmp_path / "control.log").read_text() == line + "\n"


def test_a_flood_of_warnings_is_cut_and_the_console_says_where_the_rest_is(tmp_path: Path) -> None:
    shown = logged(tmp_path / "control.log", [WARNING] * 100)
    assert shown == [WARNING] * SHOWN + [f"… more of this in {tmp_path / 'control.log'}"]


def test_after_a_pause_warnings_are_shown_again(tmp_path: Path) -> None:
    shown: list[str] = []
    now = 0.0
    log = RoleLog(tmp_path / "control.log", shown.append, clock=lambda: now)
    for _ in range(10):
        log.line(WARNING)
    now = WARNING_INTERVAL_SECONDS + 1
    log.line(WARNING)
    log.close()
    assert shown[-1] == WARNING


def test_the_files_of_a_role_stay_bounded(tmp_path: Path) -> None:
    logged(tmp_path / "control.log", ["x" * 1_000_000] * 30)
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 17 * 1024 * 1024
