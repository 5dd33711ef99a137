"""`entrepot job list` and `show`."""

from collections.abc import Mapping
from typing import Any, Final

import click

from app.cli.job.ingest_wait import ingest_progress
from app.cli.job.reference import EVERY_STATUS, find_job
from app.cli.job.wait import counts
from app.cli.output import Column, moment, print_facts, serialized, show
from app.cli.param_types import AS_OF, MOMENTS
from app.cli.session import Session, talks
from app.cli.vocabulary import possible

PAGE: Final = 200
SORTS: Final = ("name", "status", "created", "updated", "next_at")

COLUMNS: Final = (
    Column("id", lambda job: job["id"][:8], drop=3),
    Column("name", lambda job: job["name"], shrinks=True),
    Column("type", lambda job: f"{job['provider']} {job['job_type']}", drop=4),
    Column("status", lambda job: job["status"]),
    Column("reason", lambda job: job["reason"], drop=6),
    Column("read", lambda job: job["total_counts"]["read"], right=True, drop=1),
    Column("accepted", lambda job: job["total_counts"]["accepted"], right=True, drop=5),
    Column("rejected", lambda job: job["total_counts"]["rejected"], right=True, drop=2),
    Column("next", lambda job: moment(job["next_at"]), drop=7),
    Column("updated", lambda job: moment(job["updated_at"]), drop=8),
)


@click.command("list", short_help="List jobs.")
@click.option("--status", multiple=True, type=click.Choice(EVERY_STATUS, case_sensitive=False), help="May be repeated.")
@click.option("--provider", help="Only jobs of this provider.")
@click.option("--search", help="Text in the name, the description or the id.")
@click.option(
    "--sort", type=click.Choice([*SORTS, *(f"-{key}" for key in SORTS)]), default="name", help="Sort key; - reverses."
)
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="Maximum number of jobs.")
@talks
async def list_jobs(
    session: Session, status: tuple[str, ...], provider: str | None, search: str | None, sort: str, limit: int
) -> None:
    """List jobs; deleted ones only with --status Killed."""
    jobs: list[Any] = []
    cursor: str | None = None
    while len(jobs) < limit:
        query = {"status": status, "provider": provider, "search": search, "sort": sort, "cursor": cursor}
        page = await session.api.answer("GET", "/v2/job", query={**query, "limit": min(PAGE, limit - len(jobs))})
        jobs += page["data"]
        cursor = page.get("next_cursor")
        if cursor is None:
            break
    show(jobs, session.output, COLUMNS)
    if cursor is not None:
        click.echo(f"there are more than {limit:,}; raise --limit to see them", err=True)
    elif not jobs and session.output == "table":
        click.echo("no jobs; to create one, see `entrepot job create --help`", err=True)


@click.command("show", short_help="Show a job.")
@click.argument("job")
@click.option("--as-of", metavar="MOMENT", type=AS_OF, help=f"State at this time: {MOMENTS}")
@talks
async def show_job(session: Session, job: str, as_of: str | None) -> None:
    """Show a JOB, now or at a point in time."""
    shown = await session.api.get(f"/v2/job/{(await find_job(session.api, job))['id']}", as_of=as_of)
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
        "status": job["status"] + (f", {job['reason']}" if job["reason"] else ""),
        "since": moment(job["since"]),
        "until": moment(job["sleep_until"]),
        "next": moment(job["next_at"]),
        "summary": job["summary"],
        "counts": counts(job),
        "profiles": ingest_progress(job["profiles"]) if job["profiles"] else "",
        "errors": f"{errors['consecutive']} consecutive, since {moment(errors['since'])}" if errors else "",
        "synced": moment(job["synced_at"]),
        "cadence": serialized(cadence, "yaml"),
        "configuration": serialized(job["configuration"], "yaml"),
        "version": f"{job['configuration_version']}, revision {job['revision']}",
        "cursor": serialized(job["cursor"], "yaml") if job["cursor"] else "",
        "created": moment(job["created_at"]),
        "updated": moment(job["updated_at"]),
        "actions": possible(job["allowed"]),
    }
