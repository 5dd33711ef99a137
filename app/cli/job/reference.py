"""How people name a job: by its id, the beginning of it, or its name."""

from typing import Any, Final

from app.cli.client import Api
from app.cli.exits import NOT_FOUND, Stopped
from app.cli.output import moment, visible

EVERY_STATUS: Final = ("Running", "Sleeping", "Failed", "Paused", "Completed", "Killed")
SHORTEST_PREFIX: Final = 4
USAGE: Final = 2


async def find_job(api: Api, reference: str) -> dict[str, Any]:
    """Return the job that is meant; raise `Stopped` when there is none or more than one."""
    found: list[dict[str, Any]] = await api.get("/v2/job", search=reference, status=EVERY_STATUS, limit=1000)
    named = [each for each in found if reference in {each["id"], each["name"]}]
    if not named and len(reference) >= SHORTEST_PREFIX:
        named = [each for each in found if each["id"].startswith(reference)]
    if not named:
        near = "".join(f"\n  {each['id']}  {visible(each['name'])}" for each in found[:5])
        raise Stopped(f"there is no job {reference!r}" + (f"; near to it:{near}" if near else ""), NOT_FOUND)
    if len(named) > 1:
        which = "".join(
            f"\n  {each['id']}  {visible(each['name'])}, created {moment(each['created_at'])}" for each in named
        )
        raise Stopped(f"{reference!r} could be any of these; name one by its id:{which}", USAGE)
    return named[0]
