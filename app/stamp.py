"""What whoever writes a command stamps on it: an id, the time, and the chance that its decision may need."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from projections.retry import SEED_BITS

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Return the time of the wall clock, in UTC."""
    return datetime.now(UTC)


def stamp(job_id: str, issued_by: str, clock: Clock) -> dict[str, Any]:
    """Return the fields of a command's envelope."""
    return {
        "command_id": str(uuid4()),
        "job_id": job_id,
        "issued_at": clock(),
        "issued_by": issued_by,
        "seed": secrets.randbits(SEED_BITS),
    }
