"""`entrepot job logs`: what happened to a job, or to all, and what happens from then on."""

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

LOOK_SECONDS: Final = 1.0
LATE: Final = timedelta(minutes=1)  # a partition whose events become visible later than those of another
PAGE: Final = 1000
KINDS: Final = (
    "Started", "Synced", "Error", "Sleeping", "Failed", "Completed", "Created", "Configured", "Renamed", "Described",
    "Paused", "Resumed", "Killed", "Restored", "CursorMoved", "Purged", "Refused",
)  # fmt: skip
BEGINS: Final = {"CursorMoved": "Cursor moved", "Described": "Description changed"}  # else with its kind
WIDEST_KIND: Final = max(map(len, KINDS))

Line = Mapping[str, Any]


@click.command(short_help="What happened.")
@click.argument("job", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option("--kind", multiple=True, type=click.Choice(KINDS, case_sensitive=False), help="May be repeated.")
@click.option("--since", metavar="MOMENT", type=PAST, help=f"From then on, {MOMENTS}")
@click.option("-n", "--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, help="The last so many.")
@talks
async def logs(
    session: Session, job: str | None, kind: tuple[str, ...], since: str | None, limit: int, *, follow: bool
) -> None:
    """What happened to a JOB, or to all, the newest at the end."""
    found = await find_job(session.api, job) if job is not None else None
    path = f"/v2/job/{found['id']}/logs" if found else "/v2/job/logs"
    names = {found["id"]: ""} if found else await _names(session)
    asked = PAGE if follow else limit  # whoever follows has to know what was there
    lines = list(reversed(await session.api.get(path, kind=kind, since=since, limit=asked)))
    _print(session, lines[-limit:], names)
    if follow:
        async for each in _later(session, path, kind, since, lines):
            if each["job_id"] not in names:
                names |= await _names(session)
            _print(session, [each], names)


async def _later(
    session: Session, path: str, kind: tuple[str, ...], since: str | None, known: Sequence[Line]
) -> AsyncIterator[Line]:
    """Yield what comes behind the known lines: of each job those of a higher `seq`, whatever second they are of."""
    told = {each["job_id"]: each["seq"] for each in known}
    newest = max((datetime.fromisoformat(each["at"]) for each in known), default=None)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        begin = (newest - LATE).isoformat() if newest else since
        async for each in _since(session, path, kind, begin):
            if each["seq"] > told.get(each["job_id"], 0):
                told[each["job_id"]] = each["seq"]
                newest = max(newest or datetime.fromisoformat(each["at"]), datetime.fromisoformat(each["at"]))
                yield each


async def _since(session: Session, path: str, kind: tuple[str, ...], since: str | None) -> AsyncIterator[Line]:
    cursor: str | None = None
    while True:
        query = {"kind": kind, "since": since, "order": "oldest_first", "limit": PAGE, "cursor": cursor}
        page = await session.api.answer("GET", path, query=query)
        for each in page["data"]:
            yield each
        cursor = page.get("next_cursor")
        if cursor is None:
            return


async def _names(session: Session) -> dict[str, str]:
    jobs = await session.api.get("/v2/job", status=EVERY_STATUS, limit=PAGE)
    return {each["id"]: each["name"] for each in jobs}


def _print(session: Session, lines: Sequence[Line], names: Mapping[str, str]) -> None:
    for each in lines:
        if session.output != "table":
            click.echo(serialized([each], "yaml") if session.output == "yaml" else serialized(each, "line"))
            continue
        kind = str(each["kind"])
        name = names.get(each["job_id"], each["job_id"][:8])
        said = in_commands(each["message"].removeprefix(BEGINS.get(kind, kind)).lstrip(": "))
        detail = f" ({each['detail']})" if each["detail"] else ""
        who = f" [{each['by']}]" if each["by"].startswith("user:") else ""
        told = visible(f"{name + ': ' if name and said else name}{said}{detail}{who}".lstrip())
        head = f"{moment(each['at'])}  {kind:<{WIDEST_KIND}}  "
        shown = head.replace(kind, click.style(kind, fg=COLOURS.get(kind)), 1)
        click.echo(f"{shown}{hanging(told, len(head))}".rstrip())
