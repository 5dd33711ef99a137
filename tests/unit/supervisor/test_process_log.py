"""The output of a role is written to a file, and warnings are shown."""

from pathlib import Path

import pytest

from app.supervisor.process_log import MAX_CONSOLE_LINES, WARNING_INTERVAL_SECONDS, RoleLog

SHOWN = "WARNING app.control.role: the broker is slow"  # the console adds the time
WARNING = f"2026-11-03T14:03:00Z {SHOWN}"


def console_lines(path: Path, lines: list[str]) -> list[str]:
    shown: list[str] = []
    log = RoleLog(path, shown.append, monotonic=lambda: 0.0)
    for line in lines:
        log.write(line)
    log.close()
    return shown


@pytest.mark.parametrize(
    ("line", "is_shown"),
    [
        (WARNING, True),
        ('{"event": "slow", "level": "error"}', True),
        ("2026-11-03T14:03:00Z INFO app.control.role: an ERROR before", False),
        ('{"event": "slow", "level": "info"}', False),
        ("  File x.py, line 3", False),
        ("2026-11-03T14:03:00Z WARNING aiokafka.consumer.group_coordinator: Heartbeat failed for group g", False),
        ("2026-11-03T14:03:00Z ERROR aiokafka.consumer.group_coordinator: Group Coordinator Request failed: x", False),
        ('{"event": "Marking the coordinator dead", "level": "warning", "logger": "aiokafka"}', False),
        ('{"logger": "aiokafka", "event": "Marking the coordinator dead", "level": "warning"}', False),
        ("2026-11-03T14:03:00Z WARNING mode.timers: Timer commit is overlapping (interval=0.5 runtime=0.8)", False),
        ("2026-11-03T14:03:00Z ERROR app.lanes.role: Heartbeat failed", True),
        ("2026-11-03T14:03:00Z ERROR aiokafka: Unable connect to node", True),
    ],
)
def test_all_lines_are_written_and_warnings_are_shown(tmp_path: Path, line: str, *, is_shown: bool) -> None:
    assert console_lines(tmp_path / "control.log", [line]) == (
        [line.removeprefix("2026-11-03T14:03:00Z ")] if is_shown else []
    )
    assert (tmp_path / "control.log").read_text() == line + "\n"


def test_the_number_of_warnings_on_the_console_is_limited(tmp_path: Path) -> None:
    shown = console_lines(tmp_path / "control.log", [WARNING] * 100)
    assert shown == [SHOWN] * MAX_CONSOLE_LINES + [f"… further messages in {tmp_path / 'control.log'}"]


def test_output_of_a_process_is_escaped(tmp_path: Path) -> None:
    shown = console_lines(tmp_path / "control.log", [f"{WARNING}\x1b[2J\r\x9b2J\u202e"])
    assert shown == [rf"{SHOWN}\x1b[2J\r\x9b2J\u202e"]
    assert (tmp_path / "control.log").read_text() == f"2026-11-03T14:03:00Z {shown[0]}\n"


def test_warnings_are_shown_again_after_the_interval(tmp_path: Path) -> None:
    shown: list[str] = []
    now = 0.0
    log = RoleLog(tmp_path / "control.log", shown.append, monotonic=lambda: now)
    for _ in range(10):
        log.write(WARNING)
    now = WARNING_INTERVAL_SECONDS + 1
    log.write(WARNING)
    log.close()
    assert shown[-1] == SHOWN


def test_the_log_files_of_a_role_are_bounded(tmp_path: Path) -> None:
    console_lines(tmp_path / "control.log", ["x" * 1_000_000] * 30)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 17 * 1024 * 1024
