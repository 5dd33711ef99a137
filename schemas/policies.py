"""The cadence and the retry policy of a job, as data. `projections.jobs` implements them."""

from dataclasses import dataclass
from typing import Final, Literal

CadenceKind = Literal["once", "continuous", "interval", "cron"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlackoutWindow:
    """A daily period in which a job sleeps: wall-clock `HH:MM` in the time zone of the cadence.

    An `end` that is not after `start` is on the next day.
    """

    start: str
    end: str
    days: tuple[str, ...] = ()  # of `start`: mon … sun; empty: every day


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """When a job runs: `once`, `continuous` (polling every `every_seconds`), at an `interval`, or by `cron`."""

    kind: CadenceKind = "once"
    every_seconds: int = 0
    cron: str = ""
    time_zone: str = "UTC"
    blackout_windows: tuple[BlackoutWindow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """The back-off after errors: doubles from `base_seconds` to `cap_seconds`, with full jitter.

    The job fails `give_up_seconds` after the first error since the last success.
    """

    base_seconds: int = 60
    cap_seconds: int = 1800
    floor_seconds: int = 1
    give_up_seconds: int = 36_000


ONCE: Final = Cadence()
DEFAULT_RETRY: Final = RetryPolicy()
