"""`--wait`: follow a job until it completes or waits for its schedule."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from app.cli.client import ApiClient
from app.cli.exits import ERROR
from app.cli.output import visible
from app.cli.progress import bar
from app.cli.session import Session

WAIT: Final = click.option(
    "-w", "--wait", is_flag=True, help="Wait for completion; exit code 1 when the job does not succeed."
)


def is_visible(job: Mapping[str, Any]) -> bool:
    """Whether a response has the job state; without it, the command is accepted but not processed yet."""
    return "status" in job


async def waited(session: Session, job: Mapping[str, Any]) -> int:
    """Follow a job to its end and return the exit code; fails for a job that is not visible yet."""
    if not is_visible(job):
        return ERROR
    with bar("waiting") as update:
        ended = await follow(
            session.api,
            job["id"],
            lambda now: update(now["progress"]["bytes_read"], now["progress"]["bytes_total"], job_progress(now)),
        )
    click.echo(f"{ended['status']}: {counts(ended)}", err=session.output != "table")
    if ended["status"] in {"Completed", "Sleeping"}:
        return 0
    click.echo(visible(ended["summary"]), err=True)
    return ERROR


POLL_INTERVAL_SECONDS: Final = 0.3
ENDED: Final = frozenset({"Completed", "Failed", "Killed", "Paused"})

Job = Mapping[str, Any]


async def follow(api: ApiClient, job_id: str, on_poll: Callable[[Job], None]) -> Job:
    """Return the job once it is Completed, Failed, Killed, Paused, or sleeps until its next scheduled run."""
    while True:
        job: Job = await api.get(f"/v2/job/{job_id}")
        on_poll(job)
        if job["status"] in ENDED or (job["status"] == "Sleeping" and job["reason"] == "cadence"):
            return job
        await asyncio.sleep(POLL_INTERVAL_SECONDS)


def job_progress(job: Job) -> str:
    """Describe the progress of a running job in one line."""
    read, total = job["progress"]["bytes_read"], job["progress"]["bytes_total"]
    parts = [job["status"], f"{job['pass_counts']['read']:,} read in this sync"]
    if total and job["status"] == "Running":
        parts.append(f"{100 * read / total:.0f} %")
    if job["reason"]:
        parts.insert(1, job["reason"])
    return ", ".join(parts)


def counts(job: Job) -> str:
    """Return the total counts of a job in one line; omits `added` and `removed` when 0."""
    totals = job["total_counts"]
    names = ["read", "accepted", "rejected", "duplicate", "omitted"]
    names += [name for name in ("added", "removed") if totals[name]]
    return ", ".join(f"{totals[name]:,} {name}" for name in names) + " in total"
