"""Start times and blackout windows of a cadence, including days on which the clocks change."""

from datetime import UTC, datetime, timedelta
from time import process_time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.jobs.cadence import InvalidCadenceError, blackout_until, check_cadence, next_blackout, next_start
from projections.time_zones import zone
from schemas.policies import BlackoutWindow, Cadence

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NOW = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


def local(text: str, name: str = BERLIN) -> datetime:
    """A wall-clock time; a trailing `+` means the second occurrence of a repeated hour."""
    moment = datetime.fromisoformat(text.removesuffix("+")).replace(tzinfo=ZoneInfo(name), fold=text.endswith("+"))
    return moment.astimezone(UTC)


def new_york(text: str) -> datetime:
    return local(text, NEW_YORK)


def lord_howe(text: str) -> datetime:
    return local(text, LORD_HOWE)


def cron(expression: str, name: str = BERLIN) -> Cadence:
    return Cadence(kind="cron", cron=expression, time_zone=name)


def blackouts(*windows: tuple[str, ...], name: str = BERLIN) -> Cadence:
    return Cadence(
        time_zone=name, blackout_windows=tuple(BlackoutWindow(start=w[0], end=w[1], days=tuple(w[2:])) for w in windows)
    )


def test_once_has_no_next_start() -> None:
    assert next_start(Cadence(), NOW, NOW) is None


@pytest.mark.parametrize(("seconds", "wait"), [(0, 5), (1, 1), (60, 60)])
def test_continuous_starts_again_after_a_pause(seconds: int, wait: int) -> None:
    cadence = Cadence(kind="continuous", every_seconds=seconds)
    assert next_start(cadence, NOW - timedelta(days=1), NOW) == NOW + timedelta(seconds=wait)


@pytest.mark.parametrize(("elapsed", "next_in"), [(10, 50), (60, 0), (90, 0)])
def test_an_interval_counts_from_start_to_start(elapsed: int, next_in: int) -> None:
    cadence = Cadence(kind="interval", every_seconds=60)
    started = NOW - timedelta(seconds=elapsed)
    assert next_start(cadence, started, NOW) == NOW + timedelta(seconds=next_in)


@pytest.mark.parametrize(
    ("cadence", "now", "following"),
    [
        (cron("30 2 * * *"), local("2026-05-04 02:30"), local("2026-05-05 02:30")),
        (cron("30 2 * * *"), local("2026-05-04 02:29:59.999999"), local("2026-05-04 02:30")),
        (cron("0 9 * * MON"), local("2026-05-05 09:00"), local("2026-05-11 09:00")),
        (cron("0 0 29 2 *"), local("2026-05-05 09:00"), local("2028-02-29 00:00")),
        (cron("@daily"), local("2026-05-04 09:00"), local("2026-05-05 00:00")),
        (cron("@Hourly"), local("2026-05-04 09:10"), local("2026-05-04 10:00")),
        (cron("@weekly"), local("2026-05-04 09:10"), local("2026-05-10 00:00")),
        (cron("@monthly"), local("2026-05-04 09:10"), local("2026-06-01 00:00")),
        (cron("@yearly"), local("2026-05-04 09:10"), local("2027-01-01 00:00")),
        (cron("*/60 */24 * * *"), local("2026-05-04 09:10"), local("2026-05-05 00:00")),
        (cron("5/50 * * * *"), local("2026-05-04 09:10"), local("2026-05-04 09:55")),
        (cron("0 8-20/12,22 * * *"), local("2026-05-04 09:10"), local("2026-05-04 20:00")),
        (cron("0 0 L/2 * *"), local("2026-02-05 09:00"), local("2026-02-28 00:00")),
        (cron("0 0 L * *"), local("2026-02-05 09:00"), local("2026-02-28 00:00")),
        # forward: 02:30 does not exist; it runs once, right after the change
        (cron("30 2 * * *"), local("2026-03-29 01:00"), local("2026-03-29 03:00")),
        (cron("30 2 * * *"), local("2026-03-29 03:00"), local("2026-03-30 02:30")),
        (cron("30 2 * * *", NEW_YORK), local("2026-03-08 01:00", NEW_YORK), local("2026-03-08 03:00", NEW_YORK)),
        (cron("15 2 * * *", LORD_HOWE), local("2026-10-04 01:00", LORD_HOWE), local("2026-10-04 02:30", LORD_HOWE)),
        (cron("*/30 * * * *"), local("2026-03-29 01:30"), local("2026-03-29 03:00")),
        # back: a repeated time of day runs once; a step of minutes runs through both hours
        (cron("30 2 * * *"), local("2026-10-25 02:00"), local("2026-10-25 02:30")),
        (cron("30 2 * * *"), local("2026-10-25 02:30"), local("2026-10-26 02:30")),
        (cron("30 2 * * *"), local("2026-10-25 02:10+"), local("2026-10-26 02:30")),
        (cron("30 1 * * *", NEW_YORK), local("2026-11-01 01:10+", NEW_YORK), local("2026-11-02 01:30", NEW_YORK)),
        (cron("45 1 * * *", LORD_HOWE), local("2026-04-05 01:35+", LORD_HOWE), local("2026-04-06 01:45", LORD_HOWE)),
        (cron("*/30 * * * *"), local("2026-10-25 02:30"), local("2026-10-25 02:00+")),
        (cron("0 0-23 * * *"), local("2026-10-25 02:10+"), local("2026-10-25 03:00")),
    ],
)
def test_cron_follows_the_wall_clock(cadence: Cadence, now: datetime, following: datetime) -> None:
    check_cadence(cadence, now)
    assert next_start(cadence, now, now) == following


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(
    st.sampled_from(["30 2 * * *", "*/7 * * * *", "0,30 1-3 * * *", "0 */2 * * *", "15 2 L * *", "0 0 * * 5#1"]),
    st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "UTC", "Pacific/Apia"]),
    st.sampled_from(["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-05", "2026-10-04", "2011-12-30"]),
    st.integers(0, 48 * 3600),
)
def test_the_next_start_is_in_the_future(expression: str, name: str, day: str, second: int) -> None:
    now = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=12) + timedelta(seconds=second)
    following = next_start(cron(expression, name), now, now)
    assert following
    assert following > now
    assert following.astimezone(ZoneInfo(name)).second == 0


@pytest.mark.parametrize(
    ("cadence", "at", "until"),
    [
        (blackouts(("12:00", "14:00")), local("2026-05-04 11:59"), None),
        (blackouts(("12:00", "14:00")), local("2026-05-04 12:00"), local("2026-05-04 14:00")),
        (blackouts(("12:00", "14:00")), local("2026-05-04 14:00"), None),
        (blackouts(("22:00", "06:00")), local("2026-05-04 23:00"), local("2026-05-05 06:00")),
        (blackouts(("22:00", "06:00")), local("2026-05-05 05:59"), local("2026-05-05 06:00")),
        (blackouts(("22:00", "06:00", "sun")), local("2026-05-04 05:00"), local("2026-05-04 06:00")),
        (blackouts(("22:00", "06:00", "mon")), local("2026-05-04 05:00"), None),
        (blackouts(("00:00", "00:00", "sat", "sun")), local("2026-05-02 09:00"), local("2026-05-04 00:00")),
        (blackouts(("12:00", "14:00"), ("13:00", "16:00")), local("2026-05-04 12:30"), local("2026-05-04 16:00")),
        (blackouts(("14:00", "16:00"), ("12:00", "14:00")), local("2026-05-04 12:30"), local("2026-05-04 16:00")),
        (blackouts(("12:00", "16:00"), ("13:00", "14:00")), local("2026-05-04 13:30"), local("2026-05-04 16:00")),
        # clocks go forward
        (blackouts(("22:00", "06:00")), local("2026-03-28 23:00"), local("2026-03-29 06:00")),
        (blackouts(("01:00", "02:30")), local("2026-03-29 01:30"), local("2026-03-29 03:30")),
        (blackouts(("02:30", "03:00")), local("2026-03-29 03:10"), None),
        # clocks go back: the window covers both hours
        (blackouts(("01:00", "02:30")), local("2026-10-25 02:15"), local("2026-10-25 02:30+")),
        (blackouts(("01:00", "02:30")), local("2026-10-25 02:29+"), local("2026-10-25 02:30+")),
        (blackouts(("01:00", "02:30")), local("2026-10-25 02:30+"), None),
        (blackouts(("02:00", "03:00")), local("2026-10-25 02:00"), local("2026-10-25 03:00")),
        (blackouts(("01:00", "01:45"), name=LORD_HOWE), lord_howe("2026-04-05 01:40+"), lord_howe("2026-04-05 01:45+")),
        (blackouts(("23:00", "07:00"), name=NEW_YORK), new_york("2026-11-01 00:00"), new_york("2026-11-01 07:00")),
    ],
)
def test_blackout_windows(cadence: Cadence, at: datetime, until: datetime | None) -> None:
    check_cadence(cadence, at)
    assert blackout_until(cadence, at) == until


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["00:00", "01:00", "02:15", "02:30", "12:00", "23:00"]),
            st.sampled_from(["00:00", "01:00", "02:30", "02:45", "03:00", "22:00"]),
            st.lists(st.sampled_from(DAYS), max_size=2).map(tuple),
        ),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, "UTC"]),
    st.integers(0, 365 * 24 * 4),
)
def test_blackout_windows_follow_the_wall_clock(windows: list[Any], name: str, quarter: int) -> None:
    """Compare with a direct reading of the wall clock, except around a clock change."""
    cadence = Cadence(
        time_zone=name, blackout_windows=tuple(BlackoutWindow(start=s, end=e, days=d) for s, e, d in windows)
    )
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * quarter)
    wall = at.astimezone(ZoneInfo(name))
    if (wall + timedelta(hours=3)).utcoffset() != (wall - timedelta(hours=27)).utcoffset():
        return
    assert (blackout_until(cadence, at) is not None) == any(
        _covers(window, wall) for window in cadence.blackout_windows
    )
    following = next_blackout(cadence, at, at)
    if following:
        assert following > at
        assert blackout_until(cadence, following)


def _covers(window: BlackoutWindow, wall: datetime) -> bool:
    now, today = wall.strftime("%H:%M"), DAYS[wall.weekday()]
    yesterday = DAYS[(wall.weekday() - 1) % 7]
    from_today = not window.days or today in window.days
    if window.start < window.end:
        return from_today and window.start <= now < window.end
    return (from_today and now >= window.start) or ((not window.days or yesterday in window.days) and now < window.end)


def test_the_next_blackout_window_is_the_first_after_the_start_that_has_not_ended() -> None:
    cadence = blackouts(("12:00", "14:00"))
    ten, one, three = (local(f"2026-05-04 {hour}:00") for hour in (10, 13, 15))
    assert next_blackout(cadence, ten, ten) == local("2026-05-04 12:00")
    assert next_blackout(cadence, ten, one) == local("2026-05-04 12:00"), "it has already begun"
    assert next_blackout(cadence, ten, three) == local("2026-05-05 12:00"), "today's window is over"
    assert next_blackout(cadence, one, one) == local("2026-05-05 12:00"), (
        "a run that started inside the window is not interrupted"
    )
    assert next_blackout(Cadence(), ten, ten) is None


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"time_zone": "Mars/Olympus"}, "/time_zone", "unknown_time_zone"),
    ({"time_zone": "../UTC"}, "/time_zone", "unknown_time_zone"),
    ({"time_zone": "Europe"}, "/time_zone", "unknown_time_zone"),
    ({"time_zone": "localtime"}, "/time_zone", "unknown_time_zone"),
    ({"time_zone": ""}, "/time_zone", "unknown_time_zone"),
    ({"kind": "sometimes"}, "/kind", "unknown_cadence_kind"),
    ({"kind": "interval"}, "/every_seconds", "bad_interval"),
    ({"kind": "continuous", "every_seconds": -1}, "/every_seconds", "bad_interval"),
    ({"kind": "interval", "every_seconds": 367 * 86_400}, "/every_seconds", "bad_interval"),
    ({"kind": "cron"}, "/cron", "bad_cron"),
    ({"kind": "cron", "cron": "61 * * * *"}, "/cron", "bad_cron"),
    ({"kind": "cron", "cron": "0 0 30 2 *"}, "/cron", "bad_cron"),
    ({"kind": "cron", "cron": "0 0 */31 2 MON#5"}, "/cron", "cron_never_matches"),
    ({"kind": "cron", "cron": "0 0 3 * * *"}, "/cron", "bad_cron"),
    ({"kind": "cron", "cron": "@dayly"}, "/cron", "bad_cron"),
    ({"kind": "cron", "cron": "@reboot"}, "/cron", "bad_cron"),
    ({"kind": "cron", "cron": "*/90 * * * *"}, "/cron", "cron_step_too_large"),
    ({"kind": "cron", "cron": "0 */36 * * *"}, "/cron", "cron_step_too_large"),
    ({"kind": "cron", "cron": "5/90 * * * *"}, "/cron", "cron_step_too_large"),
    ({"kind": "cron", "cron": "0 0 * */13 *"}, "/cron", "cron_step_too_large"),
    ({"kind": "cron", "cron": "0 0,8-20/13 * * *"}, "/cron", "cron_step_too_large"),
    ({"kind": "cron", "cron": "9" * 5_000 + " * * * *"}, "/cron", "cron_too_long"),
    ({"kind": "cron", "cron": "*/" + "9" * 150 + " * * x *"}, "/cron", "bad_cron"),
    (
        {"blackout_windows": (BlackoutWindow(start="25:00", end="06:00"),)},
        "/blackout_windows/0/start",
        "bad_time_of_day",
    ),
    ({"blackout_windows": (BlackoutWindow(start="22:00", end=" 6:+0"),)}, "/blackout_windows/0/end", "bad_time_of_day"),
    (
        {"blackout_windows": (BlackoutWindow(start="22:00", end="06:00\n"),)},
        "/blackout_windows/0/end",
        "bad_time_of_day",
    ),
    (
        {"blackout_windows": (BlackoutWindow(start="22:00", end="06:00", days=("monday",)),)},
        "/blackout_windows/0/days",
        "unknown_weekday",
    ),
    (
        {"blackout_windows": (BlackoutWindow(start="22:00", end="06:00", days=("mon",) * 8),)},
        "/blackout_windows/0/days",
        "too_many_days",
    ),
    (
        {"blackout_windows": (BlackoutWindow(start="22:00", end="06:00"),) * 51},
        "/blackout_windows",
        "too_many_blackout_windows",
    ),
    ({"blackout_windows": (BlackoutWindow(start="00:00", end="00:00"),)}, "/blackout_windows", "always_blackout"),
    (
        {"blackout_windows": (BlackoutWindow(start="00:00", end="12:00"), BlackoutWindow(start="12:00", end="00:00"))},
        "/blackout_windows",
        "always_blackout",
    ),
    (
        {"blackout_windows": (BlackoutWindow(start="03:00", end="03:00"),), "time_zone": BERLIN},
        "/blackout_windows",
        "always_blackout",
    ),
]


@pytest.mark.parametrize(("fields", "pointer", "code"), REFUSED)
def test_an_invalid_cadence_is_refused_quickly(fields: dict[str, Any], pointer: str, code: str) -> None:
    started = process_time()
    with pytest.raises(InvalidCadenceError) as refusal:
        check_cadence(Cadence(**fields), local("2026-03-29 23:30"))
    assert process_time() - started < 1
    assert (refusal.value.pointer, refusal.value.code) == (pointer, code)


@pytest.mark.parametrize(
    ("cron", "part"),
    [("61 * * * *", "minute"), ("0 0 30 2 *", "day-of-month"), ("* * * x *", "month"), ("* *", None)],
)
def test_an_invalid_cron_expression_names_its_part(cron: str, part: str | None) -> None:
    with pytest.raises(InvalidCadenceError) as refusal:
        check_cadence(Cadence(kind="cron", cron=cron), local("2026-03-29 23:30"))
    assert refusal.value.params == {"cron": cron, "part": part}


def test_time_zones_come_from_the_package_and_not_from_the_system() -> None:
    assert zone("Europe/Berlin") is zone("Europe/Berlin")
    assert str(zone("Australia/Lord_Howe")) == "Australia/Lord_Howe"


def test_a_step_without_effect_is_refused_with_the_times_that_it_would_give() -> None:
    with pytest.raises(InvalidCadenceError) as caught:
        check_cadence(cron("*/90 * * * *", "UTC"), NOW)
    times = ("2026-05-04 10:00", "2026-05-04 11:00", "2026-05-04 12:00")
    assert caught.value.params == {"term": "*/90", "part": "minute", "times": times}
