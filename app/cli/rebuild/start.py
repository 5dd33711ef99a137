"""`entrepot rebuild start` and `entrepot job undo`."""

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

WAIT: Final = click.option("-w", "--wait", is_flag=True, help="Wait until it is ready, and show the report.")


@click.command(short_help="Build profiles from scratch, beside the live ones.")
@click.option(
    "--identity", type=click.IntRange(1), metavar="VERSION", help="Version of the identity rules; may be a draft."
)
@click.option(
    "--mapping", "mappings", multiple=True, metavar="STREAM=VERSION", help="Version of a mapping; may be a draft."
)
@click.option(
    "--stream", "streams", multiple=True, help="Only these streams; promotion removes the mappings of all others."
)
@click.option("--since", type=PAST, metavar="MOMENT", help=f"Only messages after this event time: {MOMENTS}")
@click.option("--until", type=PAST, metavar="MOMENT", help="Only messages before this event time.")
@click.option("--all-time", is_flag=True, help="Remove the time range of the active rules.")
@click.option("--exclude-job", multiple=True, metavar="JOB", help="Exclude the messages that it has sent so far.")
@click.option("--include-job", multiple=True, metavar="JOB", help="Re-include a job that was excluded.")
@click.option("--previous", is_flag=True, help="Roll back to the rules before the latest promotion.")
@click.option("--note", help="Comment.")
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
    """Build profiles from all raw messages, beside the live ones. Options not given keep the active rules.

    Live profiles are unchanged until promotion. Exit code 4 when another rebuild is in progress, 5 for unknown
    versions, jobs or streams.

    \b
    entrepot rebuild start --mapping orders=3 --note "city from the address" --wait
    entrepot rebuild start --exclude-job bad-import.csv
    """  # noqa: D301  # to click a backspace is a paragraph that keeps its lines
    body: dict[str, Any] = {"since": None, "until": None} if all_time else {}
    options = {
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
    body |= {name: value for name, value in options.items() if value}
    return await _finish(session, await session.api.send("POST", "/v2/rebuild", body), wait=wait)


@click.command(short_help="Rebuild profiles without the messages of a job.")
@click.argument("job")
@WAIT
@talks
async def undo(session: Session, job: str, *, wait: bool) -> int:
    """Rebuild profiles without the messages that a JOB or an upload has sent so far; all else is unchanged.

    Live profiles are unchanged until `entrepot rebuild promote`. Exit code 4 when it sent no messages, or another
    rebuild is in progress.
    """
    job_id = quote(await _job(session, job), safe="")
    answer = await session.api.answer("POST", f"/v2/job/{job_id}/undo")
    if warning := answer.get("message", "").partition("; ")[2]:
        click.echo(visible(warning), err=True)
    return await _finish(session, answer["data"], wait=wait)


async def _finish(session: Session, found: Mapping[str, Any], *, wait: bool) -> int:
    """Print a started rebuild, with --wait once it is ready; return the exit code."""
    is_visible = "status" in found
    ended = await followed(session, found["id"], "ready") if wait and is_visible else found
    print_rebuild(session, ended)
    return ERROR if wait and (not is_visible or ended["status"] == "discarded") else 0


async def _job(session: Session, reference: str) -> str:
    """Return the id of a job reference; an unknown one may be the id of an upload without a job."""
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
            raise click.BadParameter(
                f"invalid mapping version {each!r}; expected STREAM=VERSION, such as orders=3", param_hint="--mapping"
            )
        found[stream] = int(version)
    return found
