"""`--wait` of rebuilds: wait until one is ready or live."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Literal

from app.cli.data.lane import length, rate
from app.cli.progress import bar
from app.cli.session import Session

POLL_INTERVAL_SECONDS: Final = 0.5
PHASES: Final = {
    "building": "reading messages",
    "comparing": "comparing profiles",
    "keeping_up": "caught up with live messages",
    "waiting_for_lanes": "waiting for the lanes to switch to its rules",
    "handing_over": "handing over",
    "going_live": "activating",
    "live": "live",
}


async def followed(session: Session, rebuild_id: str, until: Literal["ready", "live"]) -> Mapping[str, Any]:
    """Return a rebuild once it is ready, live, discarded or superseded."""
    with bar("rebuild") as update:
        while True:
            found: Mapping[str, Any] = await session.api.get(f"/v2/rebuild/{rebuild_id}")
            if _is_over(found, until):
                return found
            progress = found["progress"] or {}
            update(progress.get("share") or 0, 1, says(found))
            await asyncio.sleep(POLL_INTERVAL_SECONDS)


def _is_over(found: Mapping[str, Any], until: Literal["ready", "live"]) -> bool:
    match found["status"]:
        case "under_way":
            return False
        case "promoted" if until == "live":
            return found["live"] or found["progress"] is None
        case _:
            return True


def says(found: Mapping[str, Any]) -> str:
    """Describe the progress of a rebuild in one line; empty when it is over."""
    progress = found["progress"]
    if progress is None:
        return "queued (no worker has picked it up)" if found["status"] == "under_way" else ""
    if found["status"] == "ready":
        return PHASES["keeping_up"]
    parts = [PHASES.get(progress["phase"], progress["phase"])]
    if progress["phase"] == "building":
        parts += [f"{100 * progress['share']:.0f} %"] if progress["share"] is not None else []
        parts.append(f"{progress['messages']:,} messages")
        parts += [f"{rate(progress['messages_per_second'])}/s"] if progress["messages_per_second"] else []
        parts += [f"ETA {length(progress['eta_seconds'])}"] if progress["eta_seconds"] else []
    if progress["phase"] == "waiting_for_lanes" and progress["waiting_for"]:
        parts.append(f"{len(progress['waiting_for'])} partitions left")
    return ", ".join(parts)
