"""`entrepot rebuild` and `entrepot job undo`: build profiles beside the live ones, compare, promote or discard."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from app.cli.client import api_path
from app.cli.data.rebuild_report import print_rebuild, status_of, wait_for_rebuild
from app.cli.exits import CONFLICT, ERROR, NOT_FOUND, CommandError
from app.cli.job.arguments import JOB, job_by_reference
from app.cli.job.wait import TIMEOUT, check_time_limit
from app.cli.lazy import FullHelpGroup
from app.cli.names import complete_jobs
from app.cli.output import Column, local_time, show
from app.cli.param_types import PAST, TIME_FORMATS
from app.cli.session import Session, api_command
from app.sentences.escapes import escaped

MIN_PREFIX_LENGTH: Final = 4
WAIT: Final = click.option("-w", "--wait", is_flag=True, help="Wait until it is ready, and show the report.")
REBUILD: Final = click.argument("rebuild", required=False)
COLUMNS: Final = (
    Column("id", lambda row: row["id"][:8]),
    Column("status", status_of),
    Column("started", lambda row: local_time(row["started_at"])),
    Column("by", lambda row: row["started_by"], drop=2),
    Column("ended", lambda row: local_time(row["ended_at"]), drop=1),
    Column("comment", lambda row: row["note"], wraps=16),
)


@click.group(cls=FullHelpGroup)
def rebuild() -> None:
    """Reprocess profiles with other rules or without some messages, compare, and promote or discard the result.

    REBUILD is an id or an id prefix; default: the rebuild in progress. Only one can run at a time.
    """


@rebuild.command("list")
@api_command
async def rebuild_list(session: Session) -> None:
    """List rebuilds, newest first."""
    rebuilds = await session.api.get("/v2/rebuild")
    show(rebuilds, session.output, COLUMNS)
    if not rebuilds and session.output == "table":
        click.echo("no rebuilds; to start one, see `entrepot rebuild start --help`", err=True)


@rebuild.command("show")
@REBUILD
@api_command
async def rebuild_show(session: Session, rebuild: str | None) -> None:
    """Show a REBUILD (default: the newest) with its rules, progress and report."""
    rebuilds = await session.api.get("/v2/rebuild")
    name = _named(rebuilds, rebuild) if rebuild else _newest(rebuilds)
    print_rebuild(session, await session.api.get(f"/v2/rebuild/{name}"))


@rebuild.command("promote")
@REBUILD
@click.option("-w", "--wait", is_flag=True, help="Wait until it serves look-ups.")
@TIMEOUT
@api_command
async def rebuild_promote(session: Session, rebuild: str | None, time_limit: int | None, *, wait: bool) -> None:
    """Make a REBUILD live and activate its rules. To roll back: rebuild start --previous.

    Exit code 4 when it is not ready, or other rules were applied in the meantime.
    """
    check_time_limit(time_limit, wait=wait)
    promoted = await _act(session, rebuild, "promote")
    ended = await wait_for_rebuild(session, promoted["id"], "live", time_limit) if wait else promoted
    print_rebuild(session, ended, report=False)


@rebuild.command("discard")
@REBUILD
@api_command
async def rebuild_discard(session: Session, rebuild: str | None) -> None:
    """Discard a REBUILD, finished or not. Live profiles are unchanged."""
    print_rebuild(session, await _act(session, rebuild, "discard"), report=False)


async def _act(session: Session, reference: str | None, action: str) -> Mapping[str, Any]:
    rebuilds = await session.api.get("/v2/rebuild")
    name = _named(rebuilds, reference) if reference else _in_progress(rebuilds, action)
    changed: Mapping[str, Any] = await session.api.send("POST", f"/v2/rebuild/{name}/{action}")
    return changed


def _named(rebuilds: Sequence[Mapping[str, Any]], reference: str) -> str:
    matches = [row["id"] for row in rebuilds if row["id"].startswith(reference)]
    if len(matches) != 1 or len(reference) < MIN_PREFIX_LENGTH:
        raise CommandError(f"no rebuild matches {reference!r}; see `entrepot rebuild list`", NOT_FOUND)
    return str(matches[0])


def _newest(rebuilds: Sequence[Mapping[str, Any]]) -> str:
    if not rebuilds:
        raise CommandError("no rebuilds; to start one, see `entrepot rebuild start --help`", NOT_FOUND)
    return str(rebuilds[0]["id"])


def _in_progress(rebuilds: Sequence[Mapping[str, Any]], action: str) -> str:
    rebuild_id = next((row["id"] for row in rebuilds if row["status"] in {"under_way", "ready"}), None)
    if rebuild_id is None:
        raise CommandError(f"no rebuild in progress to {action}", CONFLICT)
    return str(rebuild_id)


@rebuild.command("start", short_help="Build profiles from scratch, beside the live ones.")
@click.option(
    "--identity", type=click.IntRange(1), metavar="VERSION", help="Version of the identity rules; may be a draft."
)
@click.option(
    "--mapping", "mappings", multiple=True, metavar="STREAM=VERSION", help="Version of a mapping; may be a draft."
)
@click.option(
    "--stream", "streams", multiple=True, help="Only these streams; promotion removes the mappings of all others."
)
@click.option("--since", type=PAST, metavar="TIME", help=f"Only messages after this event time: {TIME_FORMATS}")
@click.option("--until", type=PAST, metavar="TIME", help="Only messages before this event time.")
@click.option("--all-time", is_flag=True, help="Remove the time range of the active rules.")
@click.option(
    "--exclude-job",
    multiple=True,
    metavar="JOB",
    shell_complete=complete_jobs,
    help="Exclude the messages that it has sent so far.",
)
@click.option(
    "--include-job",
    multiple=True,
    metavar="JOB",
    shell_complete=complete_jobs,
    help="Re-include a job that was excluded.",
)
@click.option("--previous", is_flag=True, help="Roll back to the rules before the latest promotion.")
@click.option("--note", help="Comment.")
@WAIT
@TIMEOUT
@api_command
async def rebuild_start(
    session: Session,
    identity: int | None,
    mappings: tuple[str, ...],
    streams: tuple[str, ...],
    since: str | None,
    until: str | None,
    exclude_job: tuple[str, ...],
    include_job: tuple[str, ...],
    note: str | None,
    time_limit: int | None,
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
    check_time_limit(time_limit, wait=wait)
    body: dict[str, Any] = {"since": None, "until": None} if all_time else {}
    options = {
        "identity": identity,
        "mappings": _versions(mappings),
        "streams": streams,
        "since": since,
        "until": until,
        "exclude_jobs": [await _job(session, job) for job in exclude_job],
        "include_jobs": [await _job(session, job) for job in include_job],
        "previous": previous,
        "note": note,
    }
    body |= {name: value for name, value in options.items() if value}
    return await _finish(session, await session.api.send("POST", "/v2/rebuild", body), time_limit, wait=wait)


@click.command("undo")
@JOB
@WAIT
@TIMEOUT
@api_command
async def job_undo(session: Session, job: str, time_limit: int | None, *, wait: bool) -> int:
    """Rebuild profiles without the messages that a JOB or an upload has sent so far; all else is unchanged.

    Live profiles are unchanged until `entrepot rebuild promote`. Exit code 4 when the job has sent no messages,
    or another rebuild is in progress.
    """
    check_time_limit(time_limit, wait=wait)
    path = api_path("/v2/job", await _job(session, job), "undo")
    response = await session.api.request("POST", path)
    if warning := response.get("message", "").partition("; ")[2]:
        click.echo(escaped(warning), err=True)
    return await _finish(session, response["data"], time_limit, wait=wait)


async def _finish(session: Session, started: Mapping[str, Any], time_limit: int | None, *, wait: bool) -> int:
    """Print a started rebuild, with --wait once it is ready; return the exit code."""
    is_visible = "status" in started
    ended = await wait_for_rebuild(session, started["id"], "ready", time_limit) if wait and is_visible else started
    print_rebuild(session, ended)
    if ended.get("status") == "ready":
        click.echo("to make it live: entrepot rebuild promote", err=True)
    return ERROR if wait and (not is_visible or ended["status"] == "discarded") else 0


async def _job(session: Session, reference: str) -> str:
    """Return the id of a job reference; an unknown one may be the id of an upload without a job."""
    try:
        job_id: str = (await job_by_reference(session.api, reference))["id"]
    except CommandError as error:
        if error.exit_code != NOT_FOUND:
            raise
        return reference
    return job_id


def _versions(mappings: Sequence[str]) -> dict[str, int]:
    versions = {}
    for mapping in mappings:
        stream, equals, version = mapping.rpartition("=")
        if not equals or not stream or not (version.isascii() and version.isdigit()):
            raise click.BadParameter(
                f"invalid mapping version {mapping!r}; expected STREAM=VERSION, such as orders=3",
                param_hint="--mapping",
            )
        versions[stream] = int(version)
    return versions
