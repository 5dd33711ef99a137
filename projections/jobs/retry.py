"""What happens after an error or a rate limit: wait and try again, or give up. Pure; the chance is in the seed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isnan
from typing import Final

from schemas.commands import Advice
from schemas.policies import RetryPolicy

SEED_BITS: Final = 63
MAX_WAIT_SECONDS: Final = 30 * 86_400.0
INCURABLE: Final[frozenset[Advice]] = frozenset({"fix_configuration", "renew_authorization"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """Consecutive errors since the last success.

    `since` is the time of the first, moved on by the waits that are no errors.
    """

    consecutive: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Retry:
    """Sleep until then; `ceiling_seconds` is what the jitter was drawn below."""

    at: datetime
    ceiling_seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The errors have gone on for too long."""


def after_error(
    policy: RetryPolicy, streak: Streak, at: datetime, seed: int, asked_seconds: float | None
) -> Retry | GiveUp:
    """Return what to do about the latest error of a streak, which includes it.

    Full jitter below a doubling ceiling; what the provider asked for wins over it, but not over the floor. The last
    sleep ends no later than the moment of giving up, so that the last try happens then.
    """
    give_up_at = streak.since + timedelta(seconds=policy.give_up_seconds)
    if at >= give_up_at:
        return GiveUp()
    doublings = min(streak.consecutive - 1, 32)
    ceiling = float(min(policy.cap_seconds, policy.base_seconds * 2**doublings))
    jittered = ceiling * (seed % 2**SEED_BITS) / 2**SEED_BITS
    delay = max(float(policy.floor_seconds), jittered if asked_seconds is None else asked_seconds)
    return Retry(min(at + timedelta(seconds=delay), give_up_at), ceiling)


def after_rate_limit(policy: RetryPolicy, at: datetime, asked_seconds: float | None) -> datetime:
    """Return when to try again after a rate limit: as asked, but never in a tight loop."""
    return at + timedelta(
        seconds=max(policy.floor_seconds, policy.base_seconds if asked_seconds is None else asked_seconds)
    )


def asked(seconds: float | None) -> float | None:
    """Return what a provider asked to wait as a number to go by: between 0 and 30 days; None when it is no number."""
    return None if seconds is None or isnan(seconds) else min(max(seconds, 0.0), MAX_WAIT_SECONDS)
