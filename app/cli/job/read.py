"""`entrepot job list`, `show`, `history` and `diff`: the commands that read."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from app.cli.exits import NOT_FOUND, CommandError
from app.cli.job.arguments import JOB, job_by_reference
from app.cli.job.ingest import describe_ingest
from app.cli.job.wait import counts
from app.cli.names import complete_job_types, complete_providers
from app.cli.output import Column, local_time, print_facts, serialized, show
from app.cli.param_types import AS_OF, TIME_FORMATS
from app.cli.session import Session, api_command, watchable
from app.cli.vocabulary import possible
from app.sentences.escapes import escaped
from app.sentences.job_summary import cadence_in_words
from projections.jobs.state import VISIBLE_STATUSES
from schemas.policies import BlackoutWindow, Cadence

PAGE_SIZE: Final = 200
SORTS: Final = ("name", "status", "created", "updated", "next_at")

JOBS: Final = (
    Column("id", lambda job: job["id"][:8], drop=3),
    Column("name", lambda job: job["name"], shrinks=True),
    Column("provider", lambda job: job["provider"], drop=6),
    Column("type", lambda job: job["job_type"], drop=7),
    Column("status", lambda job: job["status_label"]),
    Column("reason", lambda job: job["reason"], drop=5),
    Column("read", lambda job: job["total_counts"]["read"], right=True, drop=1),
    Column("accepted", lambda job: job["total_counts"]["accepted"], right=True, drop=4),
    Column("rejected", lambda job: job["total_counts"]["rejected"], right=True, drop=2),
    Column("next", lambda job: local_time(job["next_at"]), drop=8),
    Column("updated", lambda job: local_time(job["updated_at"]), drop=10),
    Column("created", lambda job: local_time(job["created_at"]), drop=9),
)
LISTED: Final = tuple(status for status in VISIBLE_STATUSES if status != "Killed")
NO_JOBS: Final = "no jobs; to create one, see `entrepot job create --help`. Uploads: `entrepot job list --uploads`"
NO_MATCH: Final = "no {kind} match the filters"
NO_UPLOADS: Final = "no uploads; to send a file, see `entrepot collect --help`"
COLOURS_OF_LINES: Final = {"+": "green", "-": "red", "@": "cyan"}
HISTORY: Final = (
    Column("version", lambda row: row["version"], right=True),
    Column("at", lambda row: local_time(row["at"])),
    Column("by", lambda row: row["by"], wraps=8),
    Column("cadence", lambda row: row["cadence"], wraps=9),
    Column("changes", lambda row: row["changed"], wraps=16),
)


@click.command("list")
@click.option(
    "--status", multiple=True, type=click.Choice(VISIBLE_STATUSES, case_sensitive=False), help="May be repeated."
)
@click.option("--provider", shell_complete=complete_providers, help="Only jobs of this provider.")
@click.option("--type", "job_type", shell_complete=complete_job_types, help="Only jobs of this type.")
@click.option("--kind", type=click.Choice(["import", "export", "enrichment"]), help="Only jobs of this kind.")
@click.option("--search", help="Text in the name, the description or the id.")
@click.option("--uploads", is_flag=True, help="Uploads (`entrepot collect`) instead of jobs.")
@click.option(
    "--sort",
    type=click.Choice([*SORTS, *(f"-{key}" for key in SORTS)]),
    help="Sort key; - reverses. Default: failed jobs first, then by name.",
)
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="Maximum number of jobs.")
@api_command
@watchable
async def job_list(
    session: Session, status: tuple[str, ...], sort: str | None, limit: int, *, uploads: bool, **filters: str | None
) -> None:
    """List jobs; deleted ones only with --status Killed."""
    groups = [status or LISTED] if sort else _failed_first(status or LISTED)
    jobs: list[Any] = []
    more = False
    for group in groups:
        query = {"status": group, "sort": sort, "uploads": str(uploads).lower(), **filters}
        page, has_next = await session.api.first("/v2/job", max(1, limit - len(jobs)), PAGE_SIZE, **query)
        more = more or has_next or len(jobs) + len(page) > limit
        jobs = [*jobs, *page][:limit]
    show(jobs, session.output, JOBS)
    if more:
        click.echo(f"there are more than {limit:,}; raise --limit to see them", err=True)
    elif not jobs and session.output == "table":
        click.echo(_nothing_listed(uploads=uploads, filtered=bool(status or any(filters.values()))), err=True)


def _nothing_listed(*, uploads: bool, filtered: bool) -> str:
    if filtered:
        return NO_MATCH.format(kind="uploads" if uploads else "jobs")
    return NO_UPLOADS if uploads else NO_JOBS


def _failed_first(statuses: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the statuses in two groups, that of failed jobs first, without empty ones."""
    groups = (tuple(name for name in statuses if (name == "Failed") is failed) for failed in (True, False))
    return [group for group in groups if group]


@click.command("show")
@JOB
@click.option("--as-of", metavar="TIME", type=AS_OF, help=f"State at this time: {TIME_FORMATS}")
@api_command
@watchable
async def job_show(session: Session, job: str, as_of: str | None) -> None:
    """Show a JOB, now or at a point in time."""
    shown = await session.api.get(f"/v2/job/{(await job_by_reference(session.api, job))['id']}", as_of=as_of)
    if session.output == "table":
        print_facts(facts(shown))
    else:
        click.echo(serialized(shown, session.output))


def facts(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the facts of a job to print, empty when there is no value."""
    errors = job["errors"]
    cadence = {name: value for name, value in job["cadence"].items() if value}
    return {
        "id": job["id"],
        "name": job["name"],
        "description": job["description"],
        "type": f"{job['provider']} {job['job_type']}"
        + (f" ({job['kind']})" if job["kind"] != job["job_type"] else ""),
        "status": job["status_label"] + (f", {job['reason']}" if job["reason"] else ""),
        "since": local_time(job["since"]),
        "until": local_time(job["sleep_until"]),
        "next": local_time(job["next_at"]),
        "summary": job["summary"],
        "counts": counts(job),
        "profiles": describe_ingest(job["profiles"]) if job["profiles"] else "",
        "errors": f"{errors['consecutive']} consecutive, since {local_time(errors['since'])}" if errors else "",
        "synced": local_time(job["synced_at"]),
        "cadence": serialized(cadence, "yaml"),
        "retry": serialized(job["retry"], "yaml"),
        "configuration": serialized(job["configuration"], "yaml"),
        "version": f"{job['configuration_version']}, revision {job['revision']}",
        "cursor": serialized(job["cursor"], "yaml") if job["cursor"] else "",
        "created": local_time(job["created_at"]),
        "updated": local_time(job["updated_at"]),
        "actions": possible(job["allowed"]),
    }


@click.command("history")
@JOB
@api_command
async def job_history(session: Session, job: str) -> None:
    """List the configuration versions of a JOB, newest first, with the changes of each."""
    _, versions = await _versions(session, job)
    older = [*versions[1:], None]
    rows = [_row(version, before) for version, before in zip(versions, older, strict=True)]
    show(versions, session.output, HISTORY, rows)


@click.command("diff")
@JOB
@click.argument("old", type=int, required=False)
@click.argument("new", type=int, required=False)
@api_command
async def job_diff(session: Session, job: str, old: int | None, new: int | None) -> None:
    """Compare two configuration versions of a JOB: OLD (default: the one before NEW) and NEW (default: the newest)."""
    _, versions = await _versions(session, job)
    after = _version(versions, new or versions[0]["version"])
    before = _version(versions, old or max(1, after["version"] - 1))
    if session.print_unless_table([before, after]):
        return
    if len(versions) == 1:
        click.echo("only version 1 exists: nothing to compare")
    elif _text(before) == _text(after):
        click.echo(f"versions {before['version']} and {after['version']} are identical")
    for line in difflib.unified_diff(_text(before), _text(after), _title(before), _title(after), lineterm=""):
        click.echo(click.style(escaped(line), fg=COLOURS_OF_LINES.get(line[:1])))


async def _versions(session: Session, job: str) -> tuple[str, list[Mapping[str, Any]]]:
    match = await job_by_reference(session.api, job)
    return match["id"], await session.api.get(f"/v2/job/{match['id']}/configurations")


def _version(versions: Sequence[Mapping[str, Any]], number: int) -> Mapping[str, Any]:
    match = next((version for version in versions if version["version"] == number), None)
    if match is None:
        raise CommandError(f"no version {number}; the newest is {versions[0]['version']}", NOT_FOUND)
    return match


def _row(version: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    cadence = {name: value for name, value in version["cadence"].items() if name != "blackout_windows"}
    windows = tuple(
        BlackoutWindow(**window | {"days": tuple(window["days"])}) for window in version["cadence"]["blackout_windows"]
    )
    return {
        **{name: version[name] for name in ("version", "at", "by")},
        "cadence": cadence_in_words(Cadence(**cadence, blackout_windows=windows)),
        "changed": "created" if before is None else _changed(before, version),
    }


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the changes of a version: fields in the syntax of `job edit`, a removed one with `-`."""
    changes = [f"reverted to version {after['reverted_from']}"] if after["reverted_from"] else []
    old, new = before["configuration"], after["configuration"]
    changes += [_field(name, value) for name, value in new.items() if name not in old or old[name] != value]
    changes += [f"-{name}" for name in old if name not in new]
    changes += [part for part in ("cadence", "retry") if before[part] != after[part]]
    return ", ".join(changes) or "nothing"


def _field(name: str, value: Any) -> str:
    return f"{name}={value}" if isinstance(value, str) else f"{name}:={serialized(value, 'line')}"


def _title(version: Mapping[str, Any]) -> str:
    return f"version {version['version']}, {local_time(version['at'])}, {version['by']}"


def _text(version: Mapping[str, Any]) -> list[str]:
    """Return a version as YAML lines in a stable order."""
    kept = {name: version[name] for name in ("configuration", "cadence", "retry")}
    return serialized({name: dict(sorted(part.items())) for name, part in kept.items()}, "yaml").splitlines()
