"""`--wait`: stay until a job has done what it can do now, and end with a code that says how it went."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from app.cli.client import Api
from app.cli.exits import ERROR
from app.cli.output import visible
from app.cli.progress import bar
from app.cli.session import Session

WAIT: Final = click.option("-w", "--wait", is_flag=True, help="Stay until it is done; exit code 1 when it is not.")


def is_visible(job: Mapping[str, Any]) -> bool:
    """Whether an answer has the job as it is now; otherwise what was asked is kept, and control has not done it yet."""
    return "status" in job


async def waited(session: Session, job: Mapping[str, Any]) -> int:
    """Follow a job to its end and return the exit code; one that is not visible can't be followed."""
    if not is_visible(job):
        return ERROR
    with bar("waiting") as update:
        ended = await follow(
            session.api,
            job["id"],
            lambda each: update(each["progress"]["bytes_read"], each["progress"]["bytes_total"], says(each)),
        )
    click.echo(f"{ended['status']}: {counts(ended)}", err=session.output != "table")
    if ended["status"] in {"Completed", "Sleeping"}:
        return 0
    click.echo(visible(ended["summary"]), err=True)
    return ERROR


LOOK_SECONDS: Final = 0.3
ENDED: Final = frozenset({"Completed", "Failed", "Killed", "Paused"})

Job = Mapping[str, Any]


async def follow(api: Api, job_id: str, on_look: Callable[[Job], None]) -> Job:
    """Return the job once it is Completed, Failed, Killed, Paused, or sleeps until its cadence wakes it."""
    while True:
        job: Job = await api.get(f"/v2/job/{job_id}")
        on_look(job)
        if job["status"] in ENDED or (job["status"] == "Sleeping" and job["reason"] == "cadence"):
            return job
        await asyncio.sleep(LOOK_SECONDS)


def says(job: Job) -> str:
    """Return how far a job is, in one line."""
    read, total = job["progress"]["bytes_read"], job["progress"]["bytes_total"]
    parts = [job["status"], f"{job['pass_counts']['read']:,} read in this pass"]
    if total and job["status"] == "Running":
        parts.append(f"{100 * read / total:.0f} %")
    if job["reason"]:
        parts.insert(1, job["reason"])
    return ", ".join(parts)


def counts(job: Job) -> str:
    """Return a job's counts over all its runs, in one line; what is always 0 for its kind is left out."""
    found = job["total_counts"]
    names = ["read", "accepted", "rejected", "duplicate", "omitted"]
    names += [name for name in ("added", "removed") if found[name]]
    return ", ".join(f"{found[name]:,} {name}" for name in names) + " in all"
