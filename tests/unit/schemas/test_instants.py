"""Timestamp parsing: formats, limits and local times."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.instants import EARLIEST, LATEST, NAMED_FORMATS, is_timestamp_format, micros, timestamp_parser

UTC_ZONE = ZoneInfo("UTC")
VIENNA = ZoneInfo("Europe/Vienna")
SECOND = 1_000_000


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("auto", "1970-01-01T00:00:01Z", SECOND),
        ("auto", " 1970-01-01T01:00:01+01:00 ", SECOND),
        ("auto", "9999-12-31T23:59:59.999999Z", LATEST),
        ("auto", "0001-01-01T00:00:00", EARLIEST),
        ("auto", "0001-01-01T00:00:00+01:00", None),
        ("auto", "yesterday", None),
        ("auto", "1970-01-01" + " " * 100, None),
        ("auto", 5, None),
        ("%d.%m.%Y", "02.01.1970", 86_400 * SECOND),
        ("%d.%m.%Y", "1970-01-02", None),
        ("rfc2822", "Thu, 01 Jan 1970 00:00:01 +0000", SECOND),
        ("rfc2822", "Thu, 01 Jan 1970 00:00:01 -0000", SECOND),
        ("rfc2822", "nothing", None),
        ("epoch_s", 1, SECOND),
        ("epoch_s", "1.5", SECOND * 3 // 2),
        ("epoch_s", 1.5, SECOND * 3 // 2),
        ("epoch_s", "0x1f", None),
        ("epoch_s", "1" * 200, None),
        ("epoch_s", True, None),
        ("epoch_s", 10**600, None),
        ("epoch_s", float("nan"), None),
        ("epoch_s", float("-inf"), None),
        ("epoch_s", 10**17, None),
        ("epoch_ms", "-1000", -SECOND),
        ("epoch_us", 7, 7),
        ("epoch", 1_000_000_000, 1_000_000_000 * SECOND),
        ("epoch", "1000000000000", 1_000_000_000 * SECOND),
        ("epoch", 1_000_000_000 * SECOND, 1_000_000_000 * SECOND),
        ("epoch", "20130101", None),
        ("epoch", "no number", None),
    ],
)
def test_a_value_is_parsed_in_its_format_or_rejected(form: str, value: Any, expected: int | None) -> None:
    assert timestamp_parser((form,), UTC_ZONE)(value) == expected


def test_formats_are_tried_in_order() -> None:
    parse = timestamp_parser(("epoch", "auto", "%d.%m.%Y"), UTC_ZONE)
    assert [parse(value) for value in ("1000000000", "2001-09-09T01:46:40Z", "09.09.2001", "?")] == [
        *[1_000_000_000 * SECOND] * 2,
        micros(datetime(2001, 9, 9, tzinfo=UTC_ZONE)),
        None,
    ]


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.booleans())  # noqa: DTZ001 -- local times
def test_local_times_use_the_time_zone(local: datetime, with_offset: bool) -> None:  # noqa: FBT001
    moment = local.replace(tzinfo=VIENNA)
    text = (moment if with_offset else local).isoformat()
    assert timestamp_parser(("auto",), VIENNA)(text) == micros(moment)


def test_ambiguous_and_skipped_local_times_use_the_earlier_offset() -> None:
    parse = timestamp_parser(("auto",), VIENNA)
    assert parse("2026-10-25T02:30:00") == parse("2026-10-25T00:30:00Z")
    assert parse("2026-03-29T02:30:00") == parse("2026-03-29T01:30:00Z")


@pytest.mark.parametrize("form", ["%H:%M", "%Y", "no directive", "%Y-%m-%d %Y"])
def test_a_format_must_include_the_full_date(form: str) -> None:
    assert not is_timestamp_format(form)
    assert all(map(is_timestamp_format, (*NAMED_FORMATS, "%d.%m.%Y")))
