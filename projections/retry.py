"""What happens after an error: try again after a back-off, or give up. Pure; the chance is in the seed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from schemas.commands import Advice
from schemas.policies import RetryPolicy

SEED_BITS: Final = 63
LONGEST_WAIT_SECONDS: Final = 30 * 86_400.0
INCURABLE: Final[frozenset[Advice]] = frozenset({"fix_configuration", "renew_authorization"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """Consecutive errors since the last success.

    `since` is the time of the first, moved on by the waits that are no errors.
    """

    consecutive: int
    since: datetime


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Sleep until then; `ceiling_seconds` is what the jitter was drawn below."""

    at: datetime
    ceiling_seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The errors have gone on for too long."""


def after_error(
    policy: RetryPolicy, streak: Streak, at: datetime, seed: int, retry_after_seconds: float | None
) -> TryAgain | GiveUp:
    """Return what to do about the latest error of a streak, which includes it.

    Full jitter below a doubling ceiling; `Retry-After` wins over both. The last sleep ends no later than the
    moment of giving up, so that the last try happens then.
    """
    give_up_at = streak.since + timedelta(seconds=policy.give_up_seconds)
    if at >= give_up_at:
        return GiveUp()
    doublings = min(streak.consecutive - 1, 32)
    ceiling = float(min(policy.cap_seconds, policy.base_seconds * 2**doublings))
    if retry_after_seconds is not None:
        return TryAgain(later(at, retry_after_seconds), ceiling)
    delay = max(float(policy.floor_seconds), ceiling * (seed % 2**SEED_BITS) / 2**SEED_BITS)
    return TryAgain(min(later(at, delay), give_up_at), ceiling)


def later(at: datetime, seconds: float) -> datetime:
    """Return a moment `seconds` after `at`: never before it, and at most 30 days on, whatever a provider says."""
    bounded = min(seconds, LONGEST_WAIT_SECONDS) if seconds > 0 else 0.0  # NaN is not > 0
    return at + timedelta(seconds=bounded)
