"""`--wait` of rebuilds: stay until one is ready, or until what was promoted is live."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal

from app.cli.data.lane import length, rate
from app.cli.progress import bar
from app.cli.session import Session

LOOK_SECONDS: Final = 0.5
PHASES: Final = {
    "building": "reads messages",
    "comparing": "compares profiles",
    "keeping_up": "has caught up, and keeps up with what comes in",
    "waiting_for_lanes": "waits until the lanes map by its rules",
    "handing_over": "hands over what it built",
    "going_live": "is opened beside the profiles that are live",
    "live": "is live",
}


async def followed(session: Session, rebuild_id: str, until: Literal["ready", "live"]) -> Mapping[str, Any]:
    """Return a rebuild once it is ready, or live; or discarded, or the one before another that is live."""
    with bar("rebuild") as update:
        while True:
            found: Mapping[str, Any] = await session.api.get(f"/v2/rebuild/{rebuild_id}")
            if _is_over(found, until):
                return found
            progress = found["progress"] or {}
            update(progress.get("share") or 0, 1, says(found))
            await asyncio.sleep(LOOK_SECONDS)


def _is_over(found: Mapping[str, Any], until: Literal["ready", "live"]) -> bool:
    match found["status"]:
        case "under_way":
            return False
        case "promoted" if until == "live":
            return found["live"] or found["progress"] is None
        case _:
            return True


def says(found: Mapping[str, Any]) -> str:
    """Return how far a rebuild is, in one line; empty when it is over, or nobody has begun."""
    progress = found["progress"]
    if progress is None:
        return "nobody works on it yet: it is done by the role `rebuild`" if found["status"] == "under_way" else ""
    if found["status"] == "ready":
        return PHASES["keeping_up"]
    parts = [PHASES.get(progress["phase"], progress["phase"])]
    if progress["phase"] == "building":
        parts += [f"{100 * progress['share']:.0f} %"] if progress["share"] is not None else []
        parts.append(f"{progress['messages']:,} messages")
        parts += [f"{rate(progress['messages_per_second'])} a second"] if progress["messages_per_second"] else []
        parts += [f"through in about {length(progress['eta_seconds'])}"] if progress["eta_seconds"] else []
    if progress["phase"] == "waiting_for_lanes" and progress["waiting_for"]:
        parts.append(f"{len(progress['waiting_for'])} partitions are left")
    return ", ".join(parts)
