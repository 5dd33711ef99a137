"""`entrepot job logs`, `history`, `diff`, `revert`: what happened to jobs, and their older configurations."""

import asyncio
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from app.cli.exits import NOT_FOUND, Stopped
from app.cli.job_act import say_done
from app.cli.job_reference import EVERY_STATUS, find_job
from app.cli.output import COLOURS, Column, moment, serialized, show, visible
from app.cli.session import Session, talks

LOOK_SECONDS: Final = 1.0
PAGE: Final = 1000
KINDS: Final = (
    "Started", "Synced", "Error", "Sleeping", "Failed", "Completed", "Created", "Configured", "Renamed", "Paused",
    "Resumed", "Killed", "Restored", "CursorMoved", "Purged", "Refused",
)  # fmt: skip
COLOURS_OF_LINES: Final = {"+": "green", "-": "red", "@": "cyan"}
HISTORY: Final = (
    Column("version", lambda row: row["version"], right=True),
    Column("at", lambda row: moment(row["at"])),
    Column("by", lambda row: row["by"], drop=1),
    Column("from", lambda row: f"version {row['reverted_from']}" if row["reverted_from"] else "", drop=2),
    Column("configuration", lambda row: serialized(row["configuration"], "line"), shrinks=True),
)


@click.command(short_help="What happened.")
@click.argument("job", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option("--kind", multiple=True, type=click.Choice(KINDS, case_sensitive=False), help="May be repeated.")
@click.option("--since", metavar="MOMENT", help="From then on, such as 2026-11-03T14:03:00Z.")
@click.option("-n", "--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, help="The last so many.")
@talks
async def logs(
    session: Session, job: str | None, kind: tuple[str, ...], since: str | None, limit: int, *, follow: bool
) -> None:
    """What happened to a JOB, or to all, the newest at the end."""
    found = await find_job(session.api, job) if job is not None else None
    path = f"/v2/job/{found['id']}/logs" if found else "/v2/job/logs"
    names = {found["id"]: ""} if found else {each["id"]: each["name"] for each in await _all_jobs(session)}
    lines = list(reversed(await session.api.get(path, kind=kind, since=since, limit=limit)))
    _print(session, lines, names)
    while follow:
        await asyncio.sleep(LOOK_SECONDS)
        last = lines[-1]["at"] if lines else since
        seen = {(each["job_id"], each["seq"]) for each in lines}
        later = await session.api.get(path, kind=kind, since=last, limit=PAGE)
        fresh = [each for each in reversed(later) if (each["job_id"], each["seq"]) not in seen]
        _print(session, fresh, names)
        lines = [each for each in lines if each["at"] == last] + fresh


@click.command(short_help="The versions of a configuration.")
@click.argument("job")
@talks
async def history(session: Session, job: str) -> None:
    """The versions of a JOB's configuration, the newest first."""
    _, versions = await _versions(session, job)
    show(versions, session.output, HISTORY)


@click.command(short_help="Compare two versions of a configuration.")
@click.argument("job")
@click.argument("old", type=int, required=False)
@click.argument("new", type=int, required=False)
@talks
async def diff(session: Session, job: str, old: int | None, new: int | None) -> None:
    """Compare version OLD of a JOB's configuration (by default the one before) with version NEW (the newest)."""
    _, versions = await _versions(session, job)
    after = _version(versions, new or versions[0]["version"])
    before = _version(versions, old or max(1, after["version"] - 1))
    if session.output != "table":
        click.echo(serialized([before, after], session.output))
        return
    for line in difflib.unified_diff(_text(before), _text(after), _title(before), _title(after), lineterm=""):
        click.echo(click.style(visible(line), fg=COLOURS_OF_LINES.get(line[:1])))


@click.command(short_help="Bring an older configuration back.")
@click.argument("job")
@click.argument("version", type=int)
@talks
async def revert(session: Session, job: str, version: int) -> None:
    """Bring VERSION of a JOB's configuration back, with its cadence and retry policy, as a new version."""
    found = await find_job(session.api, job)
    after = await session.api.send("POST", f"/v2/job/{found['id']}/revert/{version}")
    say_done(session, found | after)


async def _versions(session: Session, job: str) -> tuple[str, list[Mapping[str, Any]]]:
    found = await find_job(session.api, job)
    return found["id"], await session.api.get(f"/v2/job/{found['id']}/configurations")


def _version(versions: Sequence[Mapping[str, Any]], number: int) -> Mapping[str, Any]:
    found = next((each for each in versions if each["version"] == number), None)
    if found is None:
        raise Stopped(f"there is no version {number}; the newest is {versions[0]['version']}", NOT_FOUND)
    return found


def _title(version: Mapping[str, Any]) -> str:
    return f"version {version['version']}, {moment(version['at'])}, {version['by']}"


def _text(version: Mapping[str, Any]) -> list[str]:
    """Return all that a version says, in an order that doesn't change."""
    kept = {name: version[name] for name in ("configuration", "cadence", "retry")}
    return serialized({name: dict(sorted(part.items())) for name, part in kept.items()}, "yaml").splitlines()


async def _all_jobs(session: Session) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = await session.api.get("/v2/job", status=EVERY_STATUS, limit=PAGE)
    return found


def _print(session: Session, lines: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> None:
    for each in lines:
        if session.output != "table":
            click.echo(serialized(each, "line"))
            continue
        kind = click.style(f"{each['kind']:<10}", fg=COLOURS.get(each["kind"]))
        name = names.get(each["job_id"], each["job_id"][:8])
        detail = f" ({each['detail']})" if each["detail"] else ""
        who = f" [{each['by']}]" if each["by"].startswith("user:") else ""
        said = visible(f"{name + ': ' if name else ''}{each['message']}{detail}{who}")
        click.echo(f"{moment(each['at'])}  {kind} {said}")
