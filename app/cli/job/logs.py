"""`entrepot job logs` and the dead letters of jobs and streams."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, get_args

import click

from app.cli.exits import NOT_FOUND, CommandError
from app.cli.job.arguments import DEFAULT_LIMIT, JOB, job_by_reference
from app.cli.names import complete_jobs, complete_streams
from app.cli.output import COLOURS, Column, hanging, local_time, serialized, show
from app.cli.param_types import PAST, TIME_FORMATS
from app.cli.session import Session, api_command
from app.cli.vocabulary import in_commands
from app.sentences.escapes import escaped
from app.sentences.job_log import LogKind
from projections.jobs.state import VISIBLE_STATUSES
from schemas.names import is_uuid

POLL_INTERVAL_SECONDS: Final = 1.0
MAX_VISIBILITY_DELAY: Final = timedelta(minutes=1)  # partitions become visible at different times
LOG_PAGE_SIZE: Final = 1000
KINDS: Final[tuple[str, ...]] = get_args(LogKind)
PREFIXES: Final = {
    "CursorMoved": "Cursor moved",
    "Described": "Description changed",
}  # other messages begin with the kind
KIND_WIDTH: Final = max(map(len, KINDS))

Line = Mapping[str, Any]
LETTERS_PAGE_SIZE: Final = 200
MAX_EXCERPT_CHARACTERS: Final = 60
LETTERS: Final = (
    Column("rejected", lambda row: local_time(row["rejected_at"]), drop=3),
    Column("where", lambda row: f"{row['source']} {row['position']}", wraps=14),
    Column("reason", lambda row: row["reason"], wraps=24),
    Column("excerpt", lambda row: row["excerpt"][:MAX_EXCERPT_CHARACTERS], wraps=16),
    Column("code", lambda row: row["code"], drop=2),
    Column("stream", lambda row: row["stream"], drop=1),
)
SINCE: Final = click.option("--since", metavar="TIME", type=PAST, help=f"Rejected since then: {TIME_FORMATS}")
LIMIT: Final = click.option("-n", "--limit", type=click.IntRange(1), default=DEFAULT_LIMIT, show_default=True)


@click.command("logs")
@click.argument("job", required=False, shell_complete=complete_jobs)
@click.option("-f", "--follow", is_flag=True, help="Print new entries as they arrive, until Ctrl-C.")
@click.option("--kind", multiple=True, type=click.Choice(KINDS, case_sensitive=False), help="May be repeated.")
@click.option("--since", metavar="TIME", type=PAST, help=f"Entries since then: {TIME_FORMATS}")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, LOG_PAGE_SIZE),
    default=50,
    show_default=True,
    help="Show the last N entries.",
)
@api_command
async def job_logs(
    session: Session, job: str | None, kind: tuple[str, ...], since: str | None, limit: int, *, follow: bool
) -> None:
    """Show the log of a JOB, or of all jobs, newest last."""
    job_id = (await job_by_reference(session.api, job))["id"] if job is not None else None
    path = f"/v2/job/{job_id}/logs" if job_id else "/v2/job/logs"
    names = {job_id: ""} if job_id else await _names(session)
    fetched = LOG_PAGE_SIZE if follow else limit  # following needs the newest entries of every job
    lines = list(reversed(await session.api.get(path, kind=kind, since=since, limit=fetched)))
    print_lines(session, lines[-limit:], names)
    if follow:
        async for line in _later(session, path, kind, since, lines):
            if line["job_id"] not in names:
                names |= await _names(session)
            print_lines(session, [line], names)


async def _later(
    session: Session, path: str, kind: tuple[str, ...], since: str | None, lines: Sequence[Line]
) -> AsyncIterator[Line]:
    """Yield lines after those given: for each job, lines with a higher `seq`, whatever their time."""
    last_seq = {line["job_id"]: line["seq"] for line in lines}
    newest = max((datetime.fromisoformat(line["at"]) for line in lines), default=None)
    while True:
        await asyncio.sleep(POLL_INTERVAL_SECONDS)
        begin = (newest - MAX_VISIBILITY_DELAY).isoformat() if newest else since
        pages = session.api.pages(path, LOG_PAGE_SIZE, kind=kind, since=begin, order="oldest_first")
        async for line in (line async for page, _ in pages for line in page):
            if line["seq"] > last_seq.get(line["job_id"], 0):
                last_seq[line["job_id"]] = line["seq"]
                newest = max(newest or datetime.fromisoformat(line["at"]), datetime.fromisoformat(line["at"]))
                yield line


async def _names(session: Session) -> dict[str, str]:
    jobs = await session.api.get("/v2/job", status=VISIBLE_STATUSES, limit=LOG_PAGE_SIZE)
    return {job["id"]: job["name"] for job in jobs}


def print_lines(session: Session, lines: Sequence[Line], names: Mapping[str, str]) -> None:
    """Print log entries, one a line; the wrapped text hangs below the message."""
    for line in lines:
        if session.output != "table":
            click.echo(serialized([line], "yaml") if session.output == "yaml" else serialized(line, "line"))
            continue
        kind = escaped(str(line["kind"]))
        name = names.get(line["job_id"], line["job_id"][:8])
        message = in_commands(line["message"].removeprefix(PREFIXES.get(kind, kind)).lstrip(": "))
        detail = f" ({line['detail']})" if line["detail"] else ""
        actor = f" [{line['by']}]" if line["by"].startswith("user:") else ""
        text = escaped(f"{name + ': ' if name and message else name}{message}{detail}{actor}".lstrip())
        head = f"{local_time(line['at'])}  {kind:<{KIND_WIDTH}}  "
        shown = head.replace(kind, click.style(kind, fg=COLOURS.get(kind)), 1)
        click.echo(f"{shown}{hanging(text, len(head))}".rstrip())


@click.command("dead-letters")
@JOB
@SINCE
@LIMIT
@api_command
async def job_dead_letters(session: Session, job: str, since: str | None, limit: int) -> None:
    """List the rejected records of a JOB, or of an upload by its id, with the reasons."""
    await _print_letters(session, since, limit, job_id=await _owner(session, job))


@click.command("dead-letters")
@click.argument("stream", required=False, shell_complete=complete_streams)
@SINCE
@LIMIT
@api_command
async def stream_dead_letters(session: Session, stream: str | None, since: str | None, limit: int) -> None:
    """List the rejected records of a STREAM, or of all streams, with the reasons.

    Without --since, only the last thousand of each partition are searched. A record that cannot be parsed belongs to
    no stream.
    """
    await _print_letters(session, since, limit, stream=stream)


async def _owner(session: Session, job: str) -> str:
    """Return the id that dead letters carry: that of a job, or of an upload without a job."""
    try:
        job_id: str = (await job_by_reference(session.api, job))["id"]
    except CommandError as error:
        if error.exit_code != NOT_FOUND or not is_uuid(job):
            raise
        return job
    return job_id


async def _print_letters(session: Session, since: str | None, limit: int, **which: str | None) -> None:
    letters, more = await session.api.first("/v2/dead-letters", limit, LETTERS_PAGE_SIZE, since=since, **which)
    show(letters, session.output, LETTERS)
    if more:
        click.echo(f"there may be more than {limit:,}; raise --limit to see them", err=True)
    elif not letters and session.output == "table":
        click.echo("no rejected records; dead letters are retained for 30 days", err=True)
