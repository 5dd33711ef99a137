"""Timestamp parsing: formats, limits and local times."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.instants import EARLIEST, LATEST, micros
from schemas.timestamps.formats import NAMED_FORMATS, is_timestamp_format, timestamp_parser

UTC_ZONE = ZoneInfo("UTC")
VIENNA = ZoneInfo("Europe/Vienna")
NEW_YORK = ZoneInfo("America/New_York")
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
        ("epoch", 20130101, None),
        ("epoch", "45292.4166666667", None),
        ("epoch", 43349.31836805555, None),
        ("epoch", "20240131.0", None),
        ("epoch", 20240131.0, None),
        ("epoch", "0000008.37", None),
        ("epoch", "11.0600000", None),
        ("epoch", "000000045292", None),
        ("epoch", "-45292.41666", None),
        ("epoch", 0, None),
        ("epoch", 99_999_999.9, None),
        ("epoch", "100000000", 100_000_000 * SECOND),
        ("epoch", "-1700000000.5", -1_700_000_000_500_000),
        ("epoch", 202401311010, None),
        ("epoch", "199912312359", None),
        ("epoch", 202462000000, 202_462_000_000_000),  # month 62: milliseconds
        ("epoch", 1_700_000_000 * 10**9, None),
        ("epoch", "\u0661700000000", None),
        ("auto", "20240131.0", None),
        ("auto", "20240131.00", None),
        ("auto", "1611112100123", None),
        ("auto", "45292.4166666667", None),
        ("excel", "45292.4166666667", micros(datetime(2024, 1, 1, 10, tzinfo=UTC_ZONE))),
        ("excel", 43349.31836805555, micros(datetime(2018, 9, 6, 7, 38, 27, tzinfo=UTC_ZONE))),
        ("excel", 45292, micros(datetime(2024, 1, 1, tzinfo=UTC_ZONE))),
        ("excel", "45292.999999999", micros(datetime(2024, 1, 2, tzinfo=UTC_ZONE))),
        ("excel", 1, micros(datetime(1900, 1, 1, tzinfo=UTC_ZONE))),
        ("excel", 59, micros(datetime(1900, 2, 28, tzinfo=UTC_ZONE))),
        ("excel", 60, None),
        ("excel", 61, micros(datetime(1900, 3, 1, tzinfo=UTC_ZONE))),
        ("excel", 0.5, None),
        ("excel", -1, None),
        ("excel", 20240131.0, None),
        ("excel", 1e300, None),
        ("excel", True, None),
        ("excel", "2024-01-01", None),
        ("epoch", "no number", None),
        ("epoch", "1609459200.", None),
        ("epoch", "1,609,459,200", None),
        ("epoch", "1.6094592e9", None),
        ("epoch", "1609459200L", None),
        ("epoch", "/Date(1493308346140)/", None),
        ("epoch", 2021, None),
        ("epoch", "202101.0", None),
        ("epoch", "1609459200123456789", None),
        ("epoch", 637_450_560_000_000_000, None),
        ("epoch", True, None),
        ("epoch", "0001609459200", 1_609_459_200 * SECOND),
        ("epoch", 1_609_459_200_000.0, 1_609_459_200 * SECOND),
        ("epoch", "1609459200.123456789", 1_609_459_200_123_456),
        ("excel", "44197,5", None),
        ("excel", "20210101", None),
        ("excel", "1609459200", None),
    ],
)
def test_a_value_is_parsed_in_its_format_or_rejected(form: str, value: Any, expected: int | None) -> None:
    assert timestamp_parser((form,), UTC_ZONE)(value) == expected


@given(st.integers(-(10**8) + 1, 10**8 - 1) | st.floats(-(10.0**8) + 1, 10.0**8 - 1))
def test_a_number_of_fewer_than_nine_digits_is_no_epoch(number: float) -> None:
    parse = timestamp_parser(("epoch",), UTC_ZONE)
    assert (parse(number), parse(f"{number:.9f}"), parse(f"{number:020.3f}")) == (None, None, None)


def test_formats_are_tried_in_order() -> None:
    parse = timestamp_parser(("epoch", "auto", "%d.%m.%Y"), UTC_ZONE)
    assert [parse(value) for value in ("1000000000", "2001-09-09T01:46:40Z", "09.09.2001", "?")] == [
        *[1_000_000_000 * SECOND] * 2,
        micros(datetime(2001, 9, 9, tzinfo=UTC_ZONE)),
        None,
    ]


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)), st.booleans())  # noqa: DTZ001 -- local times
def test_local_times_use_the_time_zone(local: datetime, with_offset: bool) -> None:  # noqa: FBT001  # pytest passes parameters by keyword
    moment = local.replace(tzinfo=VIENNA)
    text = (moment if with_offset else local).isoformat()
    assert timestamp_parser(("auto",), VIENNA)(text) == micros(moment)


def test_ambiguous_and_skipped_local_times_use_the_earlier_offset() -> None:
    parse = timestamp_parser(("auto",), VIENNA)
    assert parse("2026-10-25T02:30:00") == parse("2026-10-25T00:30:00Z")
    assert parse("2026-03-29T02:30:00") == parse("2026-03-29T01:30:00Z")


def test_days_of_a_spreadsheet_are_local_time() -> None:
    assert timestamp_parser(("excel",), VIENNA)(45292.5) == micros(datetime(2024, 1, 1, 11, tzinfo=UTC_ZONE))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2024-01-01t10:00:00z", "2024-01-01T10:00:00Z"),
        ("2024-01-01 10:00:00 UTC", "2024-01-01T10:00:00Z"),
        ("2024-01-01 10:00:00 utc", "2024-01-01T10:00:00Z"),
        ("2024-01-01T10:00:00GMT", "2024-01-01T10:00:00Z"),
        ("2024-01-01 10:00:00 +0100", "2024-01-01T09:00:00Z"),
        ("2024-01-01T10:00:00\N{MINUS SIGN}05:00", "2024-01-01T15:00:00Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2016-12-31T15:59:60.5-08:00", "2017-01-01T00:00:00.5Z"),
        ("2024-12-31T24:00:00Z", "2025-01-01T00:00:00Z"),
        ("2024-02-28 24:00", "2024-02-29T00:00:00-05:00"),
        ("2024-01-01T24:00:00.000+01:00", "2024-01-01T23:00:00Z"),
        ("2024-01-01T10:00:00.123456789Z", "2024-01-01T10:00:00.123456Z"),
        ("2024-01-01T10:00:00,5Z", "2024-01-01T10:00:00.5Z"),
        ("2024-01-01T10:00+01", "2024-01-01T09:00:00Z"),
        ("2024-01-01T10:30.25Z", "2024-01-01T10:30:15Z"),
        ("2024-01-01T10,5Z", "2024-01-01T10:30:00Z"),
        ("20240101T101010Z", "2024-01-01T10:10:10Z"),
        ("20240101", "2024-01-01T05:00:00Z"),
        ("2024-W01-1", "2024-01-01T05:00:00Z"),
        ("2024W017T10Z", "2024-01-07T10:00:00Z"),
        ("2024-060", "2024-02-29T05:00:00Z"),
        ("2024366T1000Z", "2024-12-31T10:00:00Z"),
        ("2020-W53-7", "2021-01-03T05:00:00Z"),
        ("2024-01-01T10:00:00,5", "2024-01-01T15:00:00.5Z"),
        ("2024-01-01 10:00:00 -05:30", "2024-01-01T15:30:00Z"),
        ("2021-06-30T23:59:60Z", "2021-07-01T00:00:00Z"),
    ],
)
def test_iso_8601_and_rfc_3339_are_read_in_every_form(text: str, same: str) -> None:
    parse = timestamp_parser(("auto",), NEW_YORK)
    assert parse(text) == parse(same) is not None


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01-05:00",  # a date with an offset is no time of the day
        "2024-01-01+05:00",
        "2024-01-01x10:00",
        "2024-01",
        "2024-W01",
        "2024-W54-1",
        "2024-W01-8",
        "2023-366",
        "2024-000",
        "2024-02-30",
        "2024-01-01T24:00:01Z",
        "2024-01-01T24:00:00.1Z",
        "2024-01-01T25:00:00Z",
        "2024-01-01T10:00:60Z",
        "2024-12-15T23:59:60Z",
        "2016-12-31T23:59:60+01:00",
        "2024-01-01T10:00:61Z",
        "2024-01-01T10:60Z",
        "2024-01-01T10:00:00:123Z",
        "2024-01-01T9:00:00Z",
        "2024-01-01 12:00:00 PM",
        "2024-01-01  10:00:00",
        "+002024-01-01T00:00:00Z",
        "2024-01-01T10:00:00+1",
        "2024-01-01/2024-01-02",
        "2024-01-01 10.30",  # half past ten, or the third part of an hour
        "2024-01-01T10:00:00 CET",
        "2024-01-01T10:00:00 UTC+1",
        "2024-01-01T10:00:00+24:00",
        "2024-01-01T10:00:00+01:00[Europe/Vienna]",
        "9999-12-31T24:00:00Z",
        "0000-01-01",
        "00010101T000000+0100",
        "2024-01-01 10:00:00 Europe/Vienna",
    ],
)
def test_a_text_that_is_not_exactly_iso_8601_is_rejected(text: str) -> None:
    assert timestamp_parser(("auto",), UTC_ZONE)(text) is None


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("Mon, 1 Jan 2024 10:00:00 +0100", "2024-01-01T09:00:00Z"),
        ("1 jan 2024 10:00 -0530", "2024-01-01T15:30:00Z"),
        ("Mon, 01 Jan 2024 10:00:00 EST", "2024-01-01T15:00:00Z"),
        ("Mon, 1 Jan 2024 10:00:00 GMT", "2024-01-01T10:00:00Z"),
        ("Mon, 1 Jan 2024 10:00:00 +0100 (CET)", "2024-01-01T09:00:00Z"),
        ("Mon,\r\n 1 Jan 2024 10:00:00 -0000", "2024-01-01T10:00:00Z"),
        ("Sun, 06 Nov 94 08:49:37 GMT", "1994-11-06T08:49:37Z"),
        ("1 Jan 03 10:00 UT", "2003-01-01T10:00:00Z"),
        ("Mon, 1 Jan 2024 10:00:00", "2024-01-01T15:00:00Z"),
        ("Sat, 31 Dec 2016 23:59:60 +0000", "2017-01-01T00:00:00Z"),
    ],
)
def test_dates_of_emails_are_read_by_rfc_5322(text: str, same: str) -> None:
    formats = ("rfc2822", "auto")
    assert timestamp_parser(formats, NEW_YORK)(text) == timestamp_parser(formats, NEW_YORK)(same) is not None


@pytest.mark.parametrize(
    "text",
    [
        "Mon, 18 Nov 2013 09:26:24 GMT +0100",
        "Mon Jan 01 2024 10:00:00 GMT+0100 (Central European Standard Time)",
        "Sat, 15 Aug 0001 23:12:09 +0500",
        "Sun, 15 Aug 1899 23:12:09 +0500",
        "Mon, 1 Jan 2024 10:00:00 CET",
        "Mon, 1 Jan 2024 10:00:00 A",
        "Tue, 1 Jan 2024 10:00:00 +0100",
        "Mon, 1 Jan 2024 10:00:00 +01:00",
        "Mon, 1 Jan 2024 10:00:00 +2500",
        "Mon, 1 Jan 2024 10:00:00 PM",
        "Mon, 1 Jan 2024 24:00:00 GMT",
        "Mon, 1 Jan 2024 10:00:60 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "30 Feb 2024 10:00 GMT",
        "Mon, 1 Jan 2024 9:00:00 GMT",
        "Monday, 1 Jan 2024 10:00:00 GMT",
        "Mon, 1 January 2024 10:00:00 GMT",
        "Mon, 1 Jan 2024 10:00:00.5 GMT",
        "Mon, 1 Jan 2024 10:00:00 MSK",
    ],
)
def test_a_text_that_is_not_exactly_rfc_5322_is_rejected(text: str) -> None:
    assert timestamp_parser(("rfc2822",), NEW_YORK)(text) is None


@pytest.mark.parametrize(
    ("form", "text", "same"),
    [
        ("%d%m%Y", "01012024", "2024-01-01"),
        ("%d%m%Y", "1012024", None),  # 1 January or 10 January
        ("%Y%m%d", "2024113", None),
        ("%Y%m%d %H:%M", "20240131 9:05", "2024-01-31 09:05"),
        ("%Y%m%dt%H%M%S%f", "20240131T101112123", "2024-01-31 10:11:12.123"),
        ("%Y%j", "2024060", "2024-02-29"),
        ("%d.%m.%Y", "1.2.2024", "2024-02-01"),
        ("%m/%d/%Y %I:%M:%S %p", "02/17/2022 4:16:51 PM", "2022-02-17 16:16:51"),
        ("%d/%b/%Y:%H:%M:%S %z", "10/Oct/2000:13:55:36 -0700", "2000-10-10T20:55:36Z"),
        ("%a %d.%m.%Y %H:%M %z", "Mon 01.01.2024 00:30 +0100", "2023-12-31T23:30Z"),
        ("%a %d.%m.%Y", "Tue 01.01.2024", None),
        ("%A, %d %B %Y", "monday, 1 january 2024", "2024-01-01"),
        ("%Y-%W-%w", "2024-01-0", "2024-01-07"),
        ("%G-W%V-%u", "2024-W01-7", "2024-01-07"),
        ("%c", "Tue Jan  1 10:00:00 2024", None),
        ("%m/%d/%Y %I:%M %p", "01/02/2024 12:30 AM", "2024-01-02 00:30"),
        ("%m/%d/%Y %I:%M %p", "01/02/2024 13:30 PM", None),
    ],
)
def test_a_strptime_format_is_not_guessed(form: str, text: str, same: str | None) -> None:
    expected = None if same is None else timestamp_parser(("auto",), UTC_ZONE)(same)
    assert timestamp_parser((form,), UTC_ZONE)(text) == expected


@pytest.mark.parametrize("form", [*NAMED_FORMATS, "%d.%m.%Y", "%d/%b/%Y:%H:%M:%S %z", "%m/%d/%y %I:%M %p", "%Y-%j"])
def test_a_format_that_keeps_the_timestamp_is_accepted(form: str) -> None:
    assert is_timestamp_format(form)


@pytest.mark.parametrize(
    "form",
    [
        "%H:%M", "%Y", "%Y-%m", "no directive", "%Y-%m-%d %Y", "%Y-%m-%d %Q",
        "%m/%d/%Y %H:%M:%S %p", "%m/%d/%Y %I:%M:%S", "%d.%m.%Y %p", "%c %p", "%Y-%m-%d %H %I %p",
        "%Y-%m-%d %j", "%Y-%j %d", "%Y-%m-%d %U", "%Y-%j %w", "%Y %y-%m-%d", "%B %b %d %Y", "%x %j", "%c %I",
        "%Y-%m-%d %H:%M:%S %Z", "%a, %d %b %Y %T %Z", "%Y-%m-%d %M:%S", "%Y-%m-%d %H:%S",
    ],
)  # fmt: skip
def test_a_format_that_drops_or_guesses_a_part_is_refused(form: str) -> None:
    assert not is_timestamp_format(form)
