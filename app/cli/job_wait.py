"""`--wait`: stay until a job has done what it can do now, and end with a code that says how it went."""

from collections.abc import Mapping
from typing import Any, Final

import click

from app.cli.exits import ERROR
from app.cli.following import counts, follow, says
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
