"""The way of a job's messages into profiles: `collect --wait` follows it, `job show` describes it."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import click

from app.cli.job.wait import ENDED, ended_within
from app.cli.output import local_time
from app.cli.progress import bar
from app.cli.session import Session
from app.sentences.escapes import escaped

POLL_INTERVAL_SECONDS: Final = 0.5


async def wait_ingested(session: Session, job_id: str, lane: str, timeout_seconds: int | None) -> None:
    """Wait until all messages of a job are applied.

    Raises:
        CommandError: they are not within the timeout.

    """
    advice = f"the messages are stored, see: entrepot job show {job_id}"
    async with ended_within(timeout_seconds, "the update of profiles", advice):
        progress = await _follow(session, job_id, lane)
    if progress["unmapped_stream"]:
        click.echo(escaped(describe_ingest(progress)), err=True)


async def _follow(session: Session, job_id: str, lane: str) -> Mapping[str, Any]:
    """Return the progress once all messages are applied, or have no mapping; print a hint while the lane is paused."""
    warned = False
    with bar("into profiles") as update:
        while True:
            job = await session.api.get(f"/v2/job/{job_id}")
            progress: Mapping[str, Any] = job["profiles"]
            is_mapped = progress["unmapped_stream"] and progress["mapped"] >= progress["written"]
            if job["status"] in ENDED and (progress["complete"] or is_mapped):
                return progress
            paused = (await session.api.get(f"/v2/lane/{lane}"))["paused"]
            if paused and not warned:
                click.echo(f"the lane is paused; resume it with `entrepot lane resume {lane}`", err=True)
            warned = paused
            update(progress["mapped"], progress["written"], describe_ingest(progress))
            await asyncio.sleep(POLL_INTERVAL_SECONDS)


def describe_ingest(progress: Mapping[str, Any]) -> str:
    """Describe the ingest progress of a job in one line, and whether it was undone."""
    undone = (
        f"; messages before {local_time(progress['excluded_before'])} are undone" if progress["excluded_before"] else ""
    )
    return _stage(progress) + undone


def _stage(progress: Mapping[str, Any]) -> str:
    written, mapped = progress["written"], progress["mapped"]
    if not written:
        return ""
    messages = "the message" if written == 1 else f"all {written:,} messages"
    if mapped >= written and progress["unmapped_stream"]:
        return f"{messages} stored; stream {progress['unmapped_stream']} has no mapping, so no profiles were updated"
    if progress["complete"]:
        return f"{messages} applied to profiles"
    share = f" ({100 * mapped // written} %)" if mapped < written else "; waiting for profiles"
    return f"{mapped:,} of {written:,} messages mapped{share}"
