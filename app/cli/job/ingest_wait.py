"""`--wait` of uploads: stay until the messages of a job are in the profiles."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import click

from app.cli.job.wait import ENDED
from app.cli.output import moment, visible
from app.cli.progress import bar
from app.cli.session import Session

LOOK_SECONDS: Final = 0.5


async def arrived(session: Session, job_id: str, lane: str) -> None:
    """Wait until all that a job wrote has arrived; say so when its lane is paused, and wait on."""
    told = False
    with bar("into profiles") as update:
        while True:
            job = await session.api.get(f"/v2/job/{job_id}")
            found = job["profiles"]
            if job["status"] in ENDED and found["complete"]:
                break
            paused = (await session.api.get(f"/v2/lane/{lane}"))["paused"]
            if paused and not told:
                click.echo(f"the lane is paused; `entrepot lane resume {lane}` lets it go on", err=True)
            told = paused
            update(found["mapped"], found["written"], brought(found))
            await asyncio.sleep(LOOK_SECONDS)
    if found["unmapped"]:
        click.echo(visible(brought(found)), err=True)


def brought(found: Mapping[str, Any]) -> str:
    """Return how far the messages of a job are, in one line, and whether they were undone."""
    undone = f"; undone is what came before {moment(found['undone_before'])}" if found["undone_before"] else ""
    return _how_far(found) + undone


def _how_far(found: Mapping[str, Any]) -> str:
    written, mapped = found["written"], found["mapped"]
    if not written:
        return ""
    these = "the message is" if written == 1 else f"all {written:,} messages are"
    if found["complete"] and found["unmapped"]:
        return f"{these} kept; {found['unmapped']} has no mapping, so nothing is said of anybody"
    if found["complete"]:
        return f"{these} in"
    share = f" ({100 * mapped // written} %)" if mapped < written else "; profiles take them up"
    return f"{mapped:,} of {written:,} messages are mapped{share}"
