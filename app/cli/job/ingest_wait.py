"""`--wait` of uploads: wait until the messages of a job are applied to profiles."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import click

from app.cli.job.wait import ENDED
from app.cli.output import moment, visible
from app.cli.progress import bar
from app.cli.session import Session

POLL_INTERVAL_SECONDS: Final = 0.5


async def wait_ingested(session: Session, job_id: str, lane: str) -> None:
    """Wait until all messages of a job are applied; print a hint while its lane is paused."""
    warned = False
    with bar("into profiles") as update:
        while True:
            job = await session.api.get(f"/v2/job/{job_id}")
            found = job["profiles"]
            if job["status"] in ENDED and found["complete"]:
                break
            paused = (await session.api.get(f"/v2/lane/{lane}"))["paused"]
            if paused and not warned:
                click.echo(f"the lane is paused; resume it with `entrepot lane resume {lane}`", err=True)
            warned = paused
            update(found["mapped"], found["written"], ingest_progress(found))
            await asyncio.sleep(POLL_INTERVAL_SECONDS)
    if found["unmapped"]:
        click.echo(visible(ingest_progress(found)), err=True)


def ingest_progress(found: Mapping[str, Any]) -> str:
    """Describe the ingest progress of a job in one line, and whether it was undone."""
    undone = f"; messages before {moment(found['undone_before'])} are undone" if found["undone_before"] else ""
    return _stage(found) + undone


def _stage(found: Mapping[str, Any]) -> str:
    written, mapped = found["written"], found["mapped"]
    if not written:
        return ""
    messages = "the message" if written == 1 else f"all {written:,} messages"
    if found["complete"] and found["unmapped"]:
        return f"{messages} stored; stream {found['unmapped']} has no mapping, so no profiles were updated"
    if found["complete"]:
        return f"{messages} applied to profiles"
    share = f" ({100 * mapped // written} %)" if mapped < written else "; waiting for profiles"
    return f"{mapped:,} of {written:,} messages mapped{share}"
