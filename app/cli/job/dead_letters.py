"""`entrepot job dead-letters` and `entrepot stream dead-letters`: rejected records with the reasons."""

from typing import Any, Final
from uuid import UUID

import click

from app.cli.exits import NOT_FOUND, Stopped
from app.cli.job.reference import find_job
from app.cli.output import Column, moment, show
from app.cli.param_types import MOMENTS, PAST
from app.cli.session import Session, talks

PAGE: Final = 200
EXCERPT: Final = 60
COLUMNS: Final = (
    Column("rejected", lambda row: moment(row["rejected_at"]), drop=3),
    Column("where", lambda row: f"{row['source']} {row['position']}", wraps=14),
    Column("reason", lambda row: row["reason"], wraps=24),
    Column("excerpt", lambda row: row["excerpt"][:EXCERPT], wraps=16),
    Column("code", lambda row: row["code"], drop=2),
    Column("stream", lambda row: row["stream"], drop=1),
)
SINCE: Final = click.option("--since", metavar="MOMENT", type=PAST, help=f"Rejected since then: {MOMENTS}")
LIMIT: Final = click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True)


@click.command(short_help="List rejected records with the reasons.")
@click.argument("job")
@SINCE
@LIMIT
@talks
async def job_dead_letters(session: Session, job: str, since: str | None, limit: int) -> None:
    """List the rejected records of a JOB, or of an upload by its id, with the reasons."""
    await _print(session, since, limit, job_id=await _owner(session, job))


@click.command("dead-letters", short_help="List rejected records with the reasons.")
@click.argument("stream", required=False)
@SINCE
@LIMIT
@talks
async def stream_dead_letters(session: Session, stream: str | None, since: str | None, limit: int) -> None:
    """List the rejected records of a STREAM, or of all streams, with the reasons.

    Without --since, only the last thousand of each partition are searched. A record that cannot be parsed belongs to
    no stream.
    """
    await _print(session, since, limit, stream=stream)


async def _owner(session: Session, job: str) -> str:
    """Return the id that dead letters carry: that of a job, or of an upload without a job."""
    try:
        found: str = (await find_job(session.api, job))["id"]
    except Stopped as stopped:
        if stopped.exit_code != NOT_FOUND or not _is_id(job):
            raise
        return job
    return found


def _is_id(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


async def _print(session: Session, since: str | None, limit: int, **which: str | None) -> None:
    letters: list[Any] = []
    cursor: str | None = None
    while len(letters) < limit:
        query = {**which, "since": since, "limit": min(PAGE, limit - len(letters)), "cursor": cursor}
        page = await session.api.answer("GET", "/v2/dead-letters", query=query)
        letters += page["data"]
        cursor = page.get("next_cursor")
        if cursor is None:
            break
    show(letters, session.output, COLUMNS)
    if cursor is not None:
        click.echo(f"there may be more than {limit:,}; raise --limit to see them", err=True)
    elif not letters and session.output == "table":
        click.echo("no rejected records; dead letters are retained for 30 days", err=True)
