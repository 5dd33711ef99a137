"""The envelope of a command: an id, the time, and the seed of its jitter."""

import secrets
from typing import Any
from uuid import uuid4

from app.process import Clock
from projections.jobs.retry import SEED_BITS


def stamp(job_id: str, issued_by: str, clock: Clock) -> dict[str, Any]:
    """Return the fields of a command's envelope."""
    return {
        "command_id": str(uuid4()),
        "job_id": job_id,
        "issued_at": clock(),
        "issued_by": issued_by,
        "seed": secrets.randbits(SEED_BITS),
    }
