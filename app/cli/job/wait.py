"""`--wait`: follow a job until it ends, or until its messages are applied to profiles."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from app.cli.client import ApiClient
from app.cli.exits import ERROR
from app.cli.output import local_time
from app.cli.progress import bar
from app.cli.session import Session
from app.sentences.escapes import escaped

WAIT: Final = click.option(
    "-w", "--wait", is_flag=True, help="Wait for completion; exit code 1 when the job does not succeed."
)
POLL_INTERVAL_SECONDS: Final = 0.3
ENDED: Final = frozenset({"Completed", "Failed", "Killed", "Paused"})
JobJson = Mapping[str, Any]
INGEST_POLL_INTERVAL_SECONDS: Final = 0.5


def is_visible(job: Mapping[str, Any]) -> bool:
    """Whether a response has the job state; without it, the command is accepted but not processed yet."""
    return "status" in job


async def wait_for_job(session: Session, job: Mapping[str, Any]) -> int:
    """Follow a job to its end and return the exit code; fails for a job that is not visible yet."""
    if not is_visible(job):
        return ERROR
    with bar("waiting") as update:
        ended = await follow_job(
            session.api,
            job["id"],
            lambda now: update(now["progress"]["bytes_read"], now["progress"]["bytes_total"], job_progress(now)),
        )
    click.echo(escaped(f"{ended['status_label']}: {counts(ended)}"), err=session.output != "table")
    if ended["status"] in {"Completed", "Sleeping"}:
        return 0
    click.echo(escaped(ended["summary"]), err=True)
    return ERROR


async def follow_job(api: ApiClient, job_id: str, on_poll: Callable[[JobJson], None]) -> JobJson:
    """Return the job once it is Completed, Failed, Killed, Paused, or sleeps until its next scheduled run."""
    while True:
        job: JobJson = await api.get(f"/v2/job/{job_id}")
        on_poll(job)
        if job["status"] in ENDED or (job["status"] == "Sleeping" and job["reason"] == "cadence"):
            return job
        await asyncio.sleep(POLL_INTERVAL_SECONDS)


def job_progress(job: JobJson) -> str:
    """Describe the progress of a running job in one line."""
    read, total = job["progress"]["bytes_read"], job["progress"]["bytes_total"]
    parts = [job["status"], f"{job['pass_counts']['read']:,} read in this sync"]
    if total and job["status"] == "Running":
        parts.append(f"{100 * read / total:.0f} %")
    if job["reason"]:
        parts.insert(1, job["reason"])
    return ", ".join(parts)


def counts(job: JobJson) -> str:
    """Return the total counts of a job in one line; omits `added` and `removed` when 0."""
    totals = job["total_counts"]
    names = ["read", "accepted", "rejected", "duplicate", "omitted"]
    names += [name for name in ("added", "removed") if totals[name]]
    return ", ".join(f"{totals[name]:,} {name}" for name in names) + " in total"


async def wait_ingested(session: Session, job_id: str, lane: str) -> None:
    """Wait until all messages of a job are applied; print a hint while its lane is paused."""
    warned = False
    with bar("into profiles") as update:
        while True:
            job = await session.api.get(f"/v2/job/{job_id}")
            progress = job["profiles"]
            if job["status"] in ENDED and progress["complete"]:
                break
            paused = (await session.api.get(f"/v2/lane/{lane}"))["paused"]
            if paused and not warned:
                click.echo(f"the lane is paused; resume it with `entrepot lane resume {lane}`", err=True)
            warned = paused
            update(progress["mapped"], progress["written"], describe_ingest(progress))
            await asyncio.sleep(INGEST_POLL_INTERVAL_SECONDS)
    if progress["unmapped_stream"]:
        click.echo(escaped(describe_ingest(progress)), err=True)


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
    if progress["complete"] and progress["unmapped_stream"]:
        return f"{messages} stored; stream {progress['unmapped_stream']} has no mapping, so no profiles were updated"
    if progress["complete"]:
        return f"{messages} applied to profiles"
    share = f" ({100 * mapped // written} %)" if mapped < written else "; waiting for profiles"
    return f"{mapped:,} of {written:,} messages mapped{share}"
