"""When a job runs next, and when it must be quiet. Pure; wall clocks are those of the cadence's zone, DST included."""

from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from schemas.policies import Cadence, QuietWindow

WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CONTINUOUS_SECONDS: Final = 5
LONGEST_QUIET: Final = timedelta(days=8)


class InvalidCadenceError(ValueError):
    """The cadence can't be followed. `pointer` is a JSON pointer into it."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer


def check(cadence: Cadence, at: datetime) -> None:
    """Make sure that a cadence can be followed from `at` on.

    Raises:
        InvalidCadenceError: it can't; says which part, and what would do.

    """
    try:
        zone(cadence.time_zone)
    except (KeyError, ValueError, OSError) as error:
        raise InvalidCadenceError(
            "/time_zone", f"{cadence.time_zone!r} is not an IANA time zone such as Europe/Berlin"
        ) from error
    if cadence.kind == "interval" and cadence.every_seconds < 1:
        raise InvalidCadenceError("/every_seconds", "an interval needs a number of seconds, 1 or more")
    if not 0 <= cadence.every_seconds <= 366 * 86_400:
        raise InvalidCadenceError("/every_seconds", "a number of seconds between 0 and a year is needed")
    if cadence.kind not in {"once", "continuous", "interval", "cron"}:
        raise InvalidCadenceError("/kind", f"{cadence.kind!r} is not one of once, continuous, interval, cron")
    if cadence.kind == "cron":
        _check_cron(cadence, at)
    for index, window in enumerate(cadence.quiet):
        _check_window(window, f"/quiet/{index}")
    if cadence.quiet and (quiet_until(cadence, at) or at) >= at + LONGEST_QUIET:
        raise InvalidCadenceError("/quiet", "the quiet windows leave no time to run")


def _check_cron(cadence: Cadence, at: datetime) -> None:
    try:
        next(CronSim(cadence.cron, at.astimezone(zone(cadence.time_zone))))
    except CronSimError as error:
        raise InvalidCadenceError("/cron", f"{cadence.cron!r} is not a cron expression: {error}") from error
    except StopIteration:
        raise InvalidCadenceError("/cron", f"{cadence.cron!r} never comes") from None


def _check_window(window: QuietWindow, pointer: str) -> None:
    for name, text in (("start", window.start), ("end", window.end)):
        try:
            _wall(text)
        except ValueError as error:
            raise InvalidCadenceError(f"{pointer}/{name}", f"{text!r} is not a time of day such as 22:30") from error
    for day in window.days:
        if day not in WEEKDAYS:
            raise InvalidCadenceError(f"{pointer}/days", f"{day!r} is not one of {', '.join(WEEKDAYS)}")


def next_start(cadence: Cadence, started: datetime, now: datetime) -> datetime | None:
    """Return when the pass after one that started at `started` and ended at `now` begins; None: there is none."""
    match cadence.kind:
        case "once":
            return None
        case "continuous":
            return now + timedelta(seconds=cadence.every_seconds or CONTINUOUS_SECONDS)
        case "interval":
            return max(now, started + timedelta(seconds=cadence.every_seconds))
        case "cron":
            local = now.astimezone(zone(cadence.time_zone))
            following: datetime = next(CronSim(cadence.cron, local))
            return following.astimezone(UTC)


def quiet_until(cadence: Cadence, at: datetime) -> datetime | None:
    """Return when the quiet time that covers `at` ends, windows that touch taken together; None: it is not quiet."""
    end = at
    while end < at + LONGEST_QUIET:
        ends = [window_end for start, window_end in _spans(cadence, end) if start <= end < window_end]
        if not ends:
            break
        end = max(ends)
    return end if end > at else None


def next_quiet(cadence: Cadence, after: datetime) -> datetime | None:
    """Return when the next quiet window begins, strictly after `after`; None: there is none within a week."""
    return min((start for start, _ in _spans(cadence, after, days_ahead=8) if start > after), default=None)


def _spans(cadence: Cadence, around: datetime, days_ahead: int = 1) -> list[tuple[datetime, datetime]]:
    where = zone(cadence.time_zone)
    today = around.astimezone(where).date()
    spans = []
    for window in cadence.quiet:
        for offset in range(-1, days_ahead + 1):
            day = today + timedelta(days=offset)
            if window.days and WEEKDAYS[day.weekday()] not in window.days:
                continue
            start, end = _wall(window.start), _wall(window.end)
            last = day if end > start else day + timedelta(days=1)
            spans.append(
                (
                    datetime.combine(day, start, where).astimezone(UTC),
                    datetime.combine(last, end, where).astimezone(UTC),
                )
            )
    return spans


def _wall(text: str) -> time:
    hours, colon, minutes = text.partition(":")
    if not (colon and len(hours) == len(minutes) == 2 and text.isascii()):
        raise ValueError(text)
    return time(int(hours), int(minutes))


@cache
def zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name."""
    return ZoneInfo(name)
