"""`entrepot job pause`, `resume`, `run`, `kill`, `restore`: what people do with a job."""

from typing import Any

import click

from app.cli.job.reference import find_job
from app.cli.job.wait import WAIT, is_visible, waited
from app.cli.output import serialized, visible
from app.cli.param_types import SPAN
from app.cli.session import Session, talks


@click.command(short_help="Stop at the next record.")
@click.argument("job")
@click.option(
    "--for", "span", metavar="SPAN", type=SPAN, help="For so long, such as 90s, 15m, 1h30m or 2d, and then go on."
)
@talks
async def pause(session: Session, job: str, span: str | None) -> None:
    """Stop a JOB at the next record, for a time or until it is resumed."""
    await _act(session, job, "pause", span=span)


@click.command(short_help="Go on after a pause or a failure.")
@click.argument("job")
@WAIT
@talks
async def resume(session: Session, job: str, *, wait: bool) -> int:
    """Go on with a JOB after a pause or a failure."""
    found = await _act(session, job, "resume")
    return await waited(session, found) if wait else 0


@click.command(short_help="Run now.")
@click.argument("job")
@WAIT
@talks
async def run(session: Session, job: str, *, wait: bool) -> int:
    """Run a JOB now instead of when its time comes, or once more after it was completed."""
    found = await _act(session, job, "run")
    return await waited(session, found) if wait else 0


@click.command(short_help="Stop and put away.")
@click.argument("job")
@talks
async def kill(session: Session, job: str) -> None:
    """Stop a JOB and put it away; it can be restored for 90 days."""
    await _act(session, job, "kill")


@click.command(short_help="Bring a killed job back.")
@click.argument("job")
@talks
async def restore(session: Session, job: str) -> None:
    """Bring a killed JOB back, paused."""
    await _act(session, job, "restore")


async def _act(session: Session, job: str, action: str, *, span: str | None = None) -> dict[str, Any]:
    found = await find_job(session.api, job)
    after: dict[str, Any] = await session.api.send("POST", f"/v2/job/{found['id']}/{action}", for_=span)
    now = found | after if is_visible(after) else after
    say_done(session, now)
    return now


def say_done(session: Session, job: dict[str, Any], message: str = "") -> None:
    """Print what became of a job, and what the API says of it."""
    if session.output == "table" and not is_visible(job):
        click.echo(f"accepted, and not visible yet; look with: entrepot job show {job['id']}")
    elif session.output == "table":
        reason = f", {job['reason']}" if job["reason"] else ""
        click.echo(f"{job['id']}  {visible(job['name'])}: {job['status']}{reason}")
        if message:
            click.echo(visible(message))
    else:
        click.echo(serialized(job, session.output))
