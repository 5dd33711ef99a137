"""`entrepot provider` and `entrepot metric`: providers with their configuration, and record counts."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import click

from app.cli.client import api_path
from app.cli.job.arguments import job_by_reference
from app.cli.lazy import FullHelpGroup
from app.cli.names import complete_jobs, complete_providers, complete_streams
from app.cli.output import Column, local_time, print_facts, serialized, show
from app.cli.param_types import DURATION, PAST, TIME_FORMATS
from app.cli.session import Session, api_command
from schemas.commands import COUNT_NAMES


def _count(name: str) -> Callable[[Mapping[str, Any]], object]:
    return lambda row: row["counts"][name]


PROVIDERS: Final = (
    Column("name", lambda row: row["name"]),
    Column("types", lambda row: ", ".join(job_type["name"] for job_type in row["job_types"])),
    Column("description", lambda row: row["description"], wraps=24),
)
FIELDS: Final = (
    Column("field", lambda row: row["field"]),
    Column("type", lambda row: row["type"], wraps=12, drop=2),
    Column("default", lambda row: row["default"], wraps=10, drop=1),
    Column("description", lambda row: row["description"], wraps=20, shrinks=True),
)
METRIC: Final = (
    Column("from", lambda row: row["from"]),
    *(Column(name, _count(name), right=True, drop=position) for position, name in enumerate(COUNT_NAMES)),
)


@click.group(cls=FullHelpGroup)
def provider() -> None:
    """List the providers that jobs connect to, and their configuration."""


@provider.command("list")
@api_command
async def provider_list(session: Session) -> None:
    """List providers."""
    show(await session.api.get("/v2/provider"), session.output, PROVIDERS)


@provider.command("show")
@click.argument("name", shell_complete=complete_providers)
@api_command
async def provider_show(session: Session, name: str) -> None:
    """Show a provider: its job types and the configuration fields of each."""
    provider = await session.api.get(api_path("/v2/provider", name))
    if session.print_unless_table(provider):
        return
    print_facts({name: provider[name] for name in ("name", "title", "description", "documentation")})
    for kind in provider["job_types"]:
        click.echo()
        print_facts({kind["name"]: f"{kind['title']}. {kind['description']}"})
        show(list(_fields(kind["configuration"])), "table", FIELDS)


@click.command()
@click.option("--job", help="Only this job.", shell_complete=complete_jobs)
@click.option("--provider", "provider_name", help="Only this provider.", shell_complete=complete_providers)
@click.option("--stream", "stream_name", help="Only this stream.", shell_complete=complete_streams)
@click.option("--since", metavar="TIME", type=PAST, help=f"Default: one day before the end. {TIME_FORMATS}")
@click.option("--until", metavar="TIME", type=PAST, help="Default: now.")
@click.option(
    "--interval", metavar="DURATION", type=DURATION, default="1h", show_default=True, help="Bucket width, such as 5m."
)
@api_command
async def metric(
    session: Session,
    job: str | None,
    provider_name: str | None,
    stream_name: str | None,
    since: str | None,
    until: str | None,
    interval: str,
) -> None:
    """Show record counts over a time range, one row for each interval, and the total."""
    counts = await session.api.get(
        "/v2/metric",
        job_id=(await job_by_reference(session.api, job))["id"] if job else None,
        provider=provider_name,
        stream=stream_name,
        since=since,
        until=until,
        interval=interval,
    )
    rows = [{"from": local_time(bucket["start"]), "counts": bucket["counts"]} for bucket in counts["buckets"]]
    show(counts, session.output, METRIC, [*rows, {"from": "total", "counts": counts["total"]}])


def _fields(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        yield {
            "field": name + ("*" if name in required else ""),
            "type": _type(field),
            "default": "" if field.get("default") is None else serialized(field["default"], "line"),
            "description": field.get("description", ""),
        }


def _type(field: Mapping[str, Any]) -> str:
    """Return what a JSON schema takes: the values of an enumeration, or the names of its types."""
    kinds: dict[str, None] = {}
    for option in field.get("anyOf", [field]):
        values = option["enum"] if "enum" in option else [option.get("const") or option.get("type", "object")]
        kinds |= dict.fromkeys(str(name) or '""' for name in values if name != "null")
    return ", ".join(kinds)
