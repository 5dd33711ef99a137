"""`entrepot job logs`: print or follow the log of a job, or of all jobs."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import click

from app.cli.job.reference import EVERY_STATUS, find_job
from app.cli.output import COLOURS, hanging, moment, serialized, visible
from app.cli.param_types import MOMENTS, PAST
from app.cli.session import Session, talks
from app.cli.vocabulary import in_commands

POLL_INTERVAL_SECONDS: Final = 1.0
MAX_VISIBILITY_DELAY: Final = timedelta(minutes=1)  # partitions become visible at different times
PAGE: Final = 1000
KINDS: Final = (
    "Started", "Synced", "Error", "Sleeping", "Failed", "Completed", "Created", "Configured", "Renamed", "Described",
    "Paused", "Resumed", "Killed", "Restored", "CursorMoved", "Purged", "Refused",
)  # fmt: skip
PREFIXES: Final = {
    "CursorMoved": "Cursor moved",
    "Described": "Description changed",
}  # other messages begin with the kind
KIND_WIDTH: Final = max(map(len, KINDS))

Line = Mapping[str, Any]


@click.command(short_help="Show the log.")
@click.argument("job", required=False)
@click.option("-f", "--follow", is_flag=True, help="Print new entries as they arrive, until Ctrl-C.")
@click.option("--kind", multiple=True, type=click.Choice(KINDS, case_sensitive=False), help="May be repeated.")
@click.option("--since", metavar="MOMENT", type=PAST, help=f"Entries since then: {MOMENTS}")
@click.option(
    "-n", "--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, help="Show the last N entries."
)
@talks
async def logs(
    session: Session, job: str | None, kind: tuple[str, ...], since: str | None, limit: int, *, follow: bool
) -> None:
    """Show the log of a JOB, or of all jobs, newest last."""
    job_id = (await find_job(session.api, job))["id"] if job is not None else None
    path = f"/v2/job/{job_id}/logs" if job_id else "/v2/job/logs"
    names = {job_id: ""} if job_id else await _names(session)
    fetched = PAGE if follow else limit  # following needs the newest entries of every job
    lines = list(reversed(await session.api.get(path, kind=kind, since=since, limit=fetched)))
    _print(session, lines[-limit:], names)
    if follow:
        async for line in _later(session, path, kind, since, lines):
            if line["job_id"] not in names:
                names |= await _names(session)
            _print(session, [line], names)


async def _later(
    session: Session, path: str, kind: tuple[str, ...], since: str | None, lines: Sequence[Line]
) -> AsyncIterator[Line]:
    """Yield lines after those given: for each job, lines with a higher `seq`, whatever their time."""
    last_seq = {line["job_id"]: line["seq"] for line in lines}
    newest = max((datetime.fromisoformat(line["at"]) for line in lines), default=None)
    while True:
        await asyncio.sleep(POLL_INTERVAL_SECONDS)
        begin = (newest - MAX_VISIBILITY_DELAY).isoformat() if newest else since
        async for line in _since(session, path, kind, begin):
            if line["seq"] > last_seq.get(line["job_id"], 0):
                last_seq[line["job_id"]] = line["seq"]
                newest = max(newest or datetime.fromisoformat(line["at"]), datetime.fromisoformat(line["at"]))
                yield line


async def _since(session: Session, path: str, kind: tuple[str, ...], since: str | None) -> AsyncIterator[Line]:
    cursor: str | None = None
    while True:
        query = {"kind": kind, "since": since, "order": "oldest_first", "limit": PAGE, "cursor": cursor}
        page = await session.api.answer("GET", path, query=query)
        for line in page["data"]:
            yield line
        cursor = page.get("next_cursor")
        if cursor is None:
            return


async def _names(session: Session) -> dict[str, str]:
    jobs = await session.api.get("/v2/job", status=EVERY_STATUS, limit=PAGE)
    return {job["id"]: job["name"] for job in jobs}


def _print(session: Session, lines: Sequence[Line], names: Mapping[str, str]) -> None:
    for line in lines:
        if session.output != "table":
            click.echo(serialized([line], "yaml") if session.output == "yaml" else serialized(line, "line"))
            continue
        kind = str(line["kind"])
        name = names.get(line["job_id"], line["job_id"][:8])
        message = in_commands(line["message"].removeprefix(PREFIXES.get(kind, kind)).lstrip(": "))
        detail = f" ({line['detail']})" if line["detail"] else ""
        actor = f" [{line['by']}]" if line["by"].startswith("user:") else ""
        text = visible(f"{name + ': ' if name and message else name}{message}{detail}{actor}".lstrip())
        head = f"{moment(line['at'])}  {kind:<{KIND_WIDTH}}  "
        shown = head.replace(kind, click.style(kind, fg=COLOURS.get(kind)), 1)
        click.echo(f"{shown}{hanging(text, len(head))}".rstrip())
