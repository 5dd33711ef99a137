"""Options for the schedule, the blackout windows and the retry policy of a job."""

import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final

import click

from app.cli.param_types import DURATION, DURATION_TEXT, seconds

CRON_FIELDS: Final = 5
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NO_WINDOWS: Final = "none"
_WINDOW: Final = re.compile(r"(?:(\S+) )?(\d\d:\d\d)-(\d\d:\d\d)", re.ASCII)
_RETRY: Final = {
    "retry_base": ("base_seconds", "Delay after the first error; it doubles with each further one."),
    "retry_cap": ("cap_seconds", "Longest delay."),
    "retry_floor": ("floor_seconds", "Shortest delay."),
    "give_up_after": ("give_up_seconds", "Fail the job after errors have lasted this long."),
}


def with_policy_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options; the command gets them as `policies`, with the keys `cadence` and `retry` if they are given."""

    @wraps(command)
    def run(
        cadence_text: str | None, time_zone: str | None, blackout_windows: tuple[str, ...], **arguments: Any
    ) -> None:
        when = {**(cadence(cadence_text, time_zone) or {}), **_windows(blackout_windows)}
        delays = {field: arguments.pop(name) for name, (field, _) in _RETRY.items()}
        retry = {field: seconds(delay) for field, delay in delays.items() if delay}
        command(policies={**({"cadence": when} if when else {}), **({"retry": retry} if retry else {})}, **arguments)

    decorated: Callable[..., None] = run
    for name, (_, text) in reversed(_RETRY.items()):
        decorated = click.option(f"--{name.replace('_', '-')}", metavar="DURATION", type=DURATION, help=text)(decorated)
    decorated = click.option(
        "--blackout-window",
        "blackout_windows",
        metavar="[DAYS ]FROM-TO",
        multiple=True,
        help='Daily time without runs, in the time zone of the schedule: "22:00-06:00", "sat,sun 00:00-12:00" or '
        '"mon-fri 09:00-17:00". May be repeated; `none` removes all.',
    )(decorated)
    decorated = click.option("--time-zone", help="Time zone of the schedule, such as Europe/Berlin.")(decorated)
    return click.option(
        "--cadence",
        "cadence_text",
        metavar="WHEN",
        help="Schedule: once, continuous, a duration (15m), a cron expression, or @hourly, @daily, @weekly, @monthly.",
    )(decorated)


def cadence(text: str | None, time_zone: str | None) -> dict[str, Any] | None:
    """Parse a schedule: `once`, `continuous`, a duration such as `15m`, or cron: five fields or `@daily`."""
    if text is None:
        return {"time_zone": time_zone} if time_zone else None
    zone = {"time_zone": time_zone} if time_zone else {}
    if text == "once":
        return {"kind": "once", **zone}
    if text == "continuous":
        return {"kind": "continuous", "every_seconds": 5, **zone}
    if DURATION_TEXT.fullmatch(text):
        return {"kind": "interval", "every_seconds": seconds(text), **zone}
    if len(text.split()) == CRON_FIELDS or text.startswith("@"):
        return {"kind": "cron", "cron": text, **zone}
    raise click.BadParameter(
        f"invalid schedule {text!r}; expected once, continuous, a duration (15m) or a cron expression",
        param_hint="--cadence",
    )


def _windows(texts: Sequence[str]) -> dict[str, Any]:
    if not texts:
        return {}
    return {"blackout_windows": [] if tuple(texts) == (NO_WINDOWS,) else [_window(text) for text in texts]}


def _window(text: str) -> dict[str, Any]:
    match = _WINDOW.fullmatch(text.strip().lower())
    days = _days(match[1] or "") if match else None
    if match is None or days is None:
        raise click.BadParameter(
            f"invalid blackout window {text!r}; expected times, after days if not every day: mon-fri 22:00-06:00",
            param_hint="--blackout-window",
        )
    return {"start": match[2], "end": match[3], "days": days}


def _days(text: str) -> list[str] | None:
    """Return the days of `sat,sun` or `mon-fri`; none for every day, None if a name is unknown."""
    days: list[str] = []
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        last = last if dash else first
        if first not in DAYS or last not in DAYS:
            return None
        begin = DAYS.index(first)
        count = (DAYS.index(last) - begin) % len(DAYS) + 1
        days += [DAYS[(begin + offset) % len(DAYS)] for offset in range(count)]
    return list(dict.fromkeys(days))
