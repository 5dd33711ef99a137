"""When a job runs next, by cadence and blackout windows. Wall-clock times are in the cadence's zone, DST included."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Final, assert_never
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from projections.time_zones import zone
from schemas.coded import CodedError, Params
from schemas.policies import BlackoutWindow, Cadence

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CONTINUOUS_SECONDS: Final = 5
FREQUENT_SECONDS: Final = 60
MAX_BLACKOUT: Final = timedelta(days=14)
MAX_BLACKOUT_WINDOWS: Final = 50
MAX_CRON: Final = 200  # characters
MAX_INTERVAL_SECONDS: Final = 366 * 86_400
CRON_NICKNAMES: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
CRON_VALUES: Final = {
    "minute": range(60),
    "hour": range(24),
    "day-of-month": range(1, 32),
    "month": range(1, 13),
    "day-of-week": range(8),
}
SHOWN_TIMES: Final = 3
KINDS: Final = ("once", "continuous", "interval", "cron")


class InvalidCadenceError(CodedError):
    """The cadence is invalid. `pointer` is a JSON pointer into it."""

    def __init__(self, pointer: str, code: str, params: Params) -> None:
        super().__init__(code, params)
        self.pointer = pointer


def check_cadence(cadence: Cadence, at: datetime) -> None:
    """Check a cadence as of `at`.

    Raises:
        InvalidCadenceError: a part of it is invalid.

    """
    try:
        zone(cadence.time_zone)
    except KeyError as error:
        raise InvalidCadenceError("/time_zone", "unknown_time_zone", {"time_zone": cadence.time_zone}) from error
    least = 1 if cadence.kind == "interval" else 0
    if not least <= cadence.every_seconds <= MAX_INTERVAL_SECONDS:
        raise InvalidCadenceError("/every_seconds", "bad_interval", {"min": least, "max": MAX_INTERVAL_SECONDS})
    if cadence.kind not in KINDS:
        raise InvalidCadenceError("/kind", "unknown_cadence_kind", {"kind": cadence.kind, "kinds": KINDS})
    if len(cadence.cron) > MAX_CRON:
        raise InvalidCadenceError("/cron", "cron_too_long", {"max": MAX_CRON})
    if cadence.kind == "cron":
        _check_cron(cadence, at)
    if len(cadence.blackout_windows) > MAX_BLACKOUT_WINDOWS:
        raise InvalidCadenceError("/blackout_windows", "too_many_blackout_windows", {"max": MAX_BLACKOUT_WINDOWS})
    for index, window in enumerate(cadence.blackout_windows):
        _check_window(window, f"/blackout_windows/{index}")
    if cadence.blackout_windows and (blackout_until(cadence, at) or at) >= at + MAX_BLACKOUT:
        raise InvalidCadenceError("/blackout_windows", "always_blackout", {})


def _check_cron(cadence: Cadence, at: datetime) -> None:
    cron = cron_fields(cadence.cron)
    parts = cron.split()
    if len(parts) != len(CRON_VALUES):
        raise InvalidCadenceError("/cron", "bad_cron", {"cron": cadence.cron, "part": None})
    try:
        times = tuple(islice(CronSim(cron, at.astimezone(zone(cadence.time_zone))), SHOWN_TIMES))
    except CronSimError as error:
        part = next((part for part in CRON_VALUES if str(error).endswith(f" {part}")), None)
        raise InvalidCadenceError("/cron", "bad_cron", {"cron": cadence.cron, "part": part}) from error
    if not times:
        raise InvalidCadenceError("/cron", "cron_never_matches", {"cron": cadence.cron})
    shown = tuple(time.strftime("%Y-%m-%d %H:%M") for time in times)
    for (part, values), text in zip(CRON_VALUES.items(), parts, strict=True):
        for term in text.split(","):
            if _has_idle_step(term, values):
                raise InvalidCadenceError("/cron", "cron_step_too_large", {"term": term, "part": part, "times": shown})


def _has_idle_step(term: str, values: range) -> bool:
    """Whether a step of a valid term is too large to match a second value: `*/90` minutes are those at minute 0.

    A step over all values is meant so: `*/60` minutes are an hour.
    """
    start, slash, step = term.partition("/")
    first, _, last = start.partition("-")
    if not slash or not first.isdigit() or (last and not last.isdigit()):
        return bool(slash) and start == "*" and int(step) > len(values)
    return int(first) + int(step) > (int(last) if last else values[-1])


def _check_window(window: BlackoutWindow, pointer: str) -> None:
    for name, text in (("start", window.start), ("end", window.end)):
        try:
            _wall(text)
        except ValueError as error:
            raise InvalidCadenceError(f"{pointer}/{name}", "bad_time_of_day", {"time": text}) from error
    if len(window.days) > len(WEEKDAYS):
        raise InvalidCadenceError(f"{pointer}/days", "too_many_days", {"max": len(WEEKDAYS)})
    for day in window.days:
        if day not in WEEKDAYS:
            raise InvalidCadenceError(f"{pointer}/days", "unknown_weekday", {"day": day, "days": WEEKDAYS})


def next_start(cadence: Cadence, started: datetime, now: datetime) -> datetime | None:
    """Return the start of the pass after one from `started` to `now`; None when there is none."""
    match cadence.kind:
        case "once":
            return None
        case "continuous":
            return now + poll_interval(cadence)
        case "interval":
            return max(now, started + timedelta(seconds=cadence.every_seconds))
        case "cron":
            return _next_match(cadence, now)
        case _:
            assert_never(cadence.kind)


def next_scheduled(cadence: Cadence, anchor: datetime, now: datetime) -> datetime | None:
    """Return the next time of a schedule; an interval counts from `anchor`. None: the job may run at any time."""
    match cadence.kind:
        case "once" | "continuous":
            return None
        case "interval":
            interval = timedelta(seconds=cadence.every_seconds)
            return anchor + interval * ((now - anchor) // interval + 1)
        case "cron":
            return _next_match(cadence, now)
        case _:
            assert_never(cadence.kind)


def is_frequent(cadence: Cadence) -> bool:
    """Whether passes follow so closely that one without news is not worth an event."""
    return cadence.kind == "continuous" or (cadence.kind == "interval" and cadence.every_seconds < FREQUENT_SECONDS)


def poll_interval(cadence: Cadence) -> timedelta:
    """Return the time between two polls of a frequent cadence."""
    return timedelta(seconds=cadence.every_seconds or CONTINUOUS_SECONDS)


def _next_match(cadence: Cadence, now: datetime) -> datetime:
    times = CronSim(cron_fields(cadence.cron), now.astimezone(zone(cadence.time_zone)))
    # When clocks are set back, an hour repeats; in the second one, cronsim yields times of the first.
    following: datetime = next(time.astimezone(UTC) for time in times if time.astimezone(UTC) > now)
    return following


def cron_fields(cron: str) -> str:
    """Return the fields of a cron expression, also of a nickname such as `@daily`."""
    return CRON_NICKNAMES.get(cron.strip().lower(), cron)


def blackout_until(cadence: Cadence, at: datetime) -> datetime | None:
    """Return the end of the blackout at `at`; None outside blackouts."""
    return next((end for start, end in _blackout_periods(cadence, at) if start <= at < end), None)


def next_blackout(cadence: Cadence, since: datetime, now: datetime) -> datetime | None:
    """Return the start of the first blackout that starts after `since` and ends after `now`; None without one.

    It may have started already.
    """
    return next((start for start, end in _blackout_periods(cadence, now) if start > since and end > now), None)


def _blackout_periods(cadence: Cadence, around: datetime) -> list[tuple[datetime, datetime]]:
    """Return the blackouts near a time, in order; windows that touch are merged."""
    times: list[tuple[datetime, datetime]] = []
    for start, end in sorted(_windows(cadence, around)):
        if times and start <= times[-1][1]:
            times[-1] = (times[-1][0], max(times[-1][1], end))
        elif start < end:  # a window can be empty when clocks are set forward
            times.append((start, end))
    return times


def _windows(cadence: Cadence, around: datetime) -> Iterator[tuple[datetime, datetime]]:
    today = around.astimezone(zone(cadence.time_zone)).date()
    for window in cadence.blackout_windows:
        for offset in range(-8, MAX_BLACKOUT.days + 2):
            day = today + timedelta(days=offset)
            if not window.days or WEEKDAYS[day.weekday()] in window.days:
                yield _span(window, day, zone(cadence.time_zone))


def _span(window: BlackoutWindow, day: date, where: ZoneInfo) -> tuple[datetime, datetime]:
    start, end = _wall(window.start), _wall(window.end)
    last = datetime.combine(day if end > start else day + timedelta(days=1), end, where)
    return (
        datetime.combine(day, start, where).astimezone(UTC),
        max(last.astimezone(UTC), last.replace(fold=1).astimezone(UTC)),  # of a repeated hour, the second
    )


def _wall(text: str) -> time:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise ValueError(text)
    return time(int(text[:2]), int(text[3:]))
