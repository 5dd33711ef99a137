"""`entrepot rebuild start` and `entrepot job undo`: what profiles shall be made by."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import click

from app.cli.exits import ERROR, NOT_FOUND, Stopped
from app.cli.job.reference import find_job
from app.cli.output import visible
from app.cli.param_types import MOMENTS, PAST
from app.cli.rebuild.show import print_rebuild
from app.cli.rebuild.wait import followed
from app.cli.session import Session, talks

WAIT: Final = click.option("-w", "--wait", is_flag=True, help="Stay until it is ready, and show the report.")


@click.command(short_help="Build profiles anew, beside those that are live.")
@click.option("--identity", type=click.IntRange(1), metavar="VERSION", help="Of the identity rules; also a draft.")
@click.option("--mapping", "mappings", multiple=True, metavar="STREAM=VERSION", help="Of a mapping; also a draft.")
@click.option("--stream", "streams", multiple=True, help="Only these: no other has a mapping any more once promoted.")
@click.option("--since", type=PAST, metavar="MOMENT", help=f"No message about what was before, {MOMENTS}")
@click.option("--until", type=PAST, metavar="MOMENT", help="No message about what was from then up to now.")
@click.option("--all-time", is_flag=True, help="Messages about all times again, where only some were in force.")
@click.option("--exclude-job", multiple=True, metavar="JOB", help="Exclude the messages that it has sent so far.")
@click.option("--include-job", multiple=True, metavar="JOB", help="Re-include a job that was excluded.")
@click.option("--previous", is_flag=True, help="Roll back to the rules before the latest promotion.")
@click.option("--note", help="Why, for people.")
@WAIT
@talks
async def start(
    session: Session,
    identity: int | None,
    mappings: tuple[str, ...],
    streams: tuple[str, ...],
    since: str | None,
    until: str | None,
    exclude_job: tuple[str, ...],
    include_job: tuple[str, ...],
    note: str | None,
    *,
    all_time: bool,
    previous: bool,
    wait: bool,
) -> int:
    """Build profiles anew from all raw messages, beside those that are live. What isn't named stays as it is.

    Nothing that is live changes until it is promoted. Exit code 4 when another is under way, 5 for versions, jobs or
    streams that there aren't.

    \b
    entrepot rebuild start --mapping orders=3 --note "city from the address" --wait
    entrepot rebuild start --exclude-job bad-import.csv
    """  # noqa: D301  # to click a backspace is a paragraph that keeps its lines
    body: dict[str, Any] = {"since": None, "until": None} if all_time else {}
    wishes = {
        "identity": identity,
        "mappings": _versions(mappings),
        "streams": streams,
        "since": since,
        "until": until,
        "without": [await _job(session, job) for job in exclude_job],
        "with": [await _job(session, job) for job in include_job],
        "former": previous,
        "note": note,
    }
    body |= {name: value for name, value in wishes.items() if value}
    return await _begun(session, await session.api.send("POST", "/v2/rebuild", body), wait=wait)


@click.command(short_help="Build profiles anew without what a job has brought.")
@click.argument("job")
@WAIT
@talks
async def undo(session: Session, job: str, *, wait: bool) -> int:
    """Build profiles anew without what a JOB or an upload has brought up to now; all else stays as it is.

    Nothing that is live changes until `entrepot rebuild promote`. Exit code 4 when it brought no messages, or another
    rebuild is under way.
    """
    job_id = quote(await _job(session, job), safe="")
    answer = await session.api.answer("POST", f"/v2/job/{job_id}/undo")
    if warning := answer.get("message", "").partition("; ")[2]:
        click.echo(visible(warning), err=True)
    return await _begun(session, answer["data"], wait=wait)


async def _begun(session: Session, found: Mapping[str, Any], *, wait: bool) -> int:
    """Print a rebuild that was started, once it is ready when that is waited for; return the exit code."""
    is_visible = "status" in found
    ended = await followed(session, found["id"], "ready") if wait and is_visible else found
    print_rebuild(session, ended)
    return ERROR if wait and (not is_visible or ended["status"] == "discarded") else 0


async def _job(session: Session, reference: str) -> str:
    """Return the id of a job that is named; what isn't found may be the id of an upload that made no job."""
    try:
        found: str = (await find_job(session.api, reference))["id"]
    except Stopped as stopped:
        if stopped.exit_code != NOT_FOUND:
            raise
        return reference
    return found


def _versions(mappings: Sequence[str]) -> dict[str, int]:
    found = {}
    for each in mappings:
        stream, equals, version = each.rpartition("=")
        if not equals or not stream or not (version.isascii() and version.isdigit()):
            raise click.BadParameter(f"{each!r} is no STREAM=VERSION, such as orders=3", param_hint="--mapping")
        found[stream] = int(version)
    return found
