"""Retry policy: after an error or a rate limit, wait and retry, or give up. Pure; the jitter comes from the seed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isnan
from typing import Final

from schemas.commands import Advice
from schemas.policies import RetryPolicy

SEED_BITS: Final = 63
MAX_WAIT_SECONDS: Final = 30 * 86_400.0
INCURABLE: Final[frozenset[Advice]] = frozenset({"fix_configuration", "renew_authorization", "restore_source"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Streak:
    """Consecutive errors since the last success.

    `since` is the time of the first, moved forward by waits that are not errors.
    """

    consecutive: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Retry:
    """Sleep until `at`; `ceiling_seconds` is the upper bound of the jitter."""

    at: datetime
    ceiling_seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The streak of errors has lasted too long."""


def after_error(
    policy: RetryPolicy, streak: Streak, at: datetime, seed: int, retry_after_seconds: float | None
) -> Retry | GiveUp:
    """Return what to do after the latest error; `streak` includes it.

    Full jitter below a doubling ceiling. A `Retry-After` of the provider replaces the jitter, but not the floor. The
    last sleep ends when the job would give up, so that one more try is made then.
    """
    give_up_at = streak.since + timedelta(seconds=policy.give_up_seconds)
    if at >= give_up_at:
        return GiveUp()
    doublings = min(streak.consecutive - 1, 32)
    ceiling = float(min(policy.cap_seconds, policy.base_seconds * 2**doublings))
    jittered = ceiling * (seed % 2**SEED_BITS) / 2**SEED_BITS
    delay = max(float(policy.floor_seconds), jittered if retry_after_seconds is None else retry_after_seconds)
    return Retry(min(at + timedelta(seconds=delay), give_up_at), ceiling)


def after_rate_limit(policy: RetryPolicy, at: datetime, retry_after_seconds: float | None) -> datetime:
    """Return when to retry after a rate limit: after the `Retry-After`, but not before the floor of the policy."""
    return at + timedelta(
        seconds=max(policy.floor_seconds, policy.base_seconds if retry_after_seconds is None else retry_after_seconds)
    )


def clamp_retry_after(seconds: float | None) -> float | None:
    """Return a `Retry-After` within 0 and 30 days; None when it is not a number."""
    return None if seconds is None or isnan(seconds) else min(max(seconds, 0.0), MAX_WAIT_SECONDS)
