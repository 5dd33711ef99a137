"""Resolves a job reference: an id, an id prefix, or a name."""

from typing import Any, Final

from app.cli.client import ApiClient
from app.cli.exits import NOT_FOUND, Stopped
from app.cli.output import moment, visible

EVERY_STATUS: Final = ("Running", "Sleeping", "Failed", "Paused", "Completed", "Killed")
MIN_PREFIX_LENGTH: Final = 4
USAGE: Final = 2


async def find_job(api: ApiClient, reference: str) -> dict[str, Any]:
    """Return the job of a reference; raise `Stopped` when none or several match."""
    candidates: list[dict[str, Any]] = await api.get("/v2/job", search=reference, status=EVERY_STATUS, limit=1000)
    matches = [job for job in candidates if reference in {job["id"], job["name"]}]
    if not matches and len(reference) >= MIN_PREFIX_LENGTH:
        matches = [job for job in candidates if job["id"].startswith(reference)]
    if not matches:
        similar = "".join(f"\n  {job['id']}  {visible(job['name'])}" for job in candidates[:5])
        raise Stopped(f"no job matches {reference!r}" + (f". Similar:{similar}" if similar else ""), NOT_FOUND)
    if len(matches) > 1:
        options = "".join(
            f"\n  {job['id']}  {visible(job['name'])}, created {moment(job['created_at'])}" for job in matches
        )
        raise Stopped(f"{reference!r} is ambiguous; use an id:{options}", USAGE)
    return matches[0]
