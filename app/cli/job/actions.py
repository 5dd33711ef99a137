"""`entrepot job pause`, `resume`, `run`, `kill` and `restore`."""

from typing import Any

import click

from app.cli.job.reference import find_job
from app.cli.job.wait import WAIT, is_visible, waited
from app.cli.output import serialized, visible
from app.cli.param_types import DURATION
from app.cli.session import Session, talks


@click.command(short_help="Pause at the next record.")
@click.argument("job")
@click.option("--for", "span", metavar="SPAN", type=DURATION, help="Resume after this duration: 90s, 15m, 1h30m, 2d.")
@talks
async def pause(session: Session, job: str, span: str | None) -> None:
    """Pause a JOB at the next record, for a duration or until it is resumed."""
    await _act(session, job, "pause", span=span)


@click.command(short_help="Resume after a pause or a failure.")
@click.argument("job")
@WAIT
@talks
async def resume(session: Session, job: str, *, wait: bool) -> int:
    """Resume a JOB after a pause or a failure."""
    found = await _act(session, job, "resume")
    return await waited(session, found) if wait else 0


@click.command(short_help="Run now.")
@click.argument("job")
@WAIT
@talks
async def run(session: Session, job: str, *, wait: bool) -> int:
    """Run a JOB now instead of at its scheduled time, or again after it completed."""
    found = await _act(session, job, "run")
    return await waited(session, found) if wait else 0


@click.command(short_help="Delete (archive) a job.")
@click.argument("job")
@talks
async def kill(session: Session, job: str) -> None:
    """Delete (archive) a JOB: it stops, and can be restored for 90 days."""
    await _act(session, job, "kill")


@click.command(short_help="Restore a deleted job.")
@click.argument("job")
@talks
async def restore(session: Session, job: str) -> None:
    """Restore a deleted JOB. It is paused until it is resumed."""
    await _act(session, job, "restore")


async def _act(session: Session, job: str, action: str, *, span: str | None = None) -> dict[str, Any]:
    found = await find_job(session.api, job)
    after: dict[str, Any] = await session.api.send("POST", f"/v2/job/{found['id']}/{action}", for_=span)
    now = found | after if is_visible(after) else after
    say_done(session, now)
    return now


def say_done(session: Session, job: dict[str, Any], message: str = "") -> None:
    """Print the state of a job after a change, and the message of the API."""
    if session.output == "table" and not is_visible(job):
        click.echo(f"accepted; not visible yet, check with: entrepot job show {job['id']}")
    elif session.output == "table":
        reason = f", {job['reason']}" if job["reason"] else ""
        click.echo(f"{job['id']}  {visible(job['name'])}: {job['status']}{reason}")
        if message:
            click.echo(visible(message))
    else:
        click.echo(serialized(job, session.output))
