"""`--wait`: stay until a job has done what it can do now, and end with a code that says how it went."""

from typing import Final

import click

from app.cli.exits import ERROR
from app.cli.following import counts, follow, says
from app.cli.output import visible
from app.cli.progress import bar
from app.cli.session import Session

WAIT: Final = click.option("-w", "--wait", is_flag=True, help="Stay until it is done; exit code 1 when it is not.")


async def waited(session: Session, job_id: str) -> int:
    """Follow a job to its end and return the exit code."""
    with bar("waiting") as update:
        job = await follow(
            session.api,
            job_id,
            lambda each: update(each["progress"]["bytes_read"], each["progress"]["bytes_total"], says(each)),
        )
    click.echo(f"{job['status']}: {counts(job)}", err=session.output != "table")
    if job["status"] in {"Completed", "Sleeping"}:
        return 0
    click.echo(visible(job["summary"]), err=True)
    return ERROR
