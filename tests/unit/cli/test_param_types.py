"""Timestamps are typed as RFC 3339, as in tables, or relative to now."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from app.cli.main import cli
from app.cli.output import local_time
from app.cli.param_types import AS_OF, FUTURE, PAST, TimestampParam


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/Sao_Paulo"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-03T14:03:00Z", "2026-11-03T14:03:00Z"),
        ("2026-11-03t15:03:00.5+01:00", "2026-11-03T14:03:00.500000Z"),
        ("2026-11-03 14:03:00 UTC", "2026-11-03T14:03:00Z"),
        ("2026-11-03 14:03:00Z", "2026-11-03T14:03:00Z"),
    ],
)
def test_timestamp_formats(text: str, expected: str) -> None:
    assert PAST.convert(text, None, None) == expected


@pytest.mark.usefixtures("zone")
@pytest.mark.parametrize("month", [1, 7])
def test_a_timestamp_of_a_table_can_be_typed(month: int) -> None:
    at = datetime(2026, month, 25, 2, 29, 39, tzinfo=UTC)
    assert datetime.fromisoformat(PAST.convert(local_time(at.isoformat()), None, None)) == at


def test_an_ambiguous_local_time_is_resolved_by_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    summer, winter = (PAST.convert(f"2026-10-25 02:30:00 {item}", None, None) for item in ("CEST", "CET"))
    monkeypatch.undo()
    time.tzset()
    assert (summer, winter) == ("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z")


def test_as_of_includes_the_whole_second() -> None:
    assert AS_OF.convert("2026-11-25 02:29:39 UTC", None, None) == "2026-11-25T02:29:39.999999Z"
    assert AS_OF.convert("2026-11-25T02:29:39.000Z", None, None) == "2026-11-25T02:29:39Z"


@pytest.mark.parametrize(("kind", "hours"), [(PAST, -1.5), (FUTURE, 1.5)])
def test_a_duration_is_relative_to_now(kind: TimestampParam, hours: float) -> None:
    found = datetime.fromisoformat(kind.convert("1h30m", None, None))
    assert abs(found - datetime.now(UTC) - timedelta(hours=hours)) < timedelta(minutes=1)


@given(st.one_of(st.text(), st.from_regex(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ?([A-Z]{1,4}|[+-]\d\d)?", fullmatch=True)))
def test_other_text_is_rejected_with_examples(text: str) -> None:
    try:
        found = PAST.convert(text, None, None)
    except click.BadParameter as error:
        found = error.message
    assert "invalid timestamp" in found or datetime.fromisoformat(found).tzinfo is not None


@pytest.mark.parametrize(
    "command",
    [
        ["job", "show", "x", "--as-of", "yesterday"],
        ["job", "show", "x", "--as-of", "2026-11-03 14:03:00 XYZ"],
        ["job", "logs", "--since", "2026-13-03T14:03:00Z"],
        ["metric", "--since", "999999999w"],
        ["metric", "--until", ""],
        ["metric", "--interval", "5 minutes"],
        ["job", "pause", "x", "--for", "-1h"],
        ["token", "create", "--name", "x", "--role", "viewer", "--expires", "never"],
    ],
    ids=" ".join,
)
def test_an_invalid_timestamp_or_duration_is_a_usage_error(command: list[str]) -> None:
    assert CliRunner().invoke(cli, command).exit_code == 2
