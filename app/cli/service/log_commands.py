"""`verify` and `views rebuild`: commands that read the whole event log. They need no API."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click
from aiokafka.errors import KafkaError
from sqlalchemy.exc import DBAPIError

from app.cli.exits import DIFFERS, NEWER_RULES, UNAVAILABLE, CommandError
from app.cli.lazy import FullHelpGroup
from app.cli.output import Column, OutputFormat, show
from app.cli.progress import bar
from app.cli.service.cluster import load_cluster
from app.cli.service.settings_errors import DATA_DIR
from app.control.rebuild_views import rebuild_views
from app.control.verify import audit
from app.kafka.patches.decompression import apply
from app.records.commands import NewerRulesError
from app.settings import Settings
from app.store.models import BehindError
from app.supervisor.preflight import describe_store_error

logging.getLogger("aiokafka").addHandler(logging.NullHandler())  # the error messages are clearer than its log lines

COLUMNS = (
    Column("log", lambda row: row["log"]),
    Column("partition", lambda row: row["partition"], right=True),
    Column("commands", lambda row: row["commands"], right=True),
    Column("unreadable", lambda row: row["unreadable_commands"], right=True, drop=2),
    Column("events", lambda row: row["events"], right=True),
    Column("repeats", lambda row: row["repeats"], right=True, drop=1),
    Column("unanswered", lambda row: row["unanswered"], right=True),
    Column("differences", lambda row: row["difference_count"], right=True),
)
T = TypeVar("T")
DIFFERENCES = (
    Column("difference", lambda row: row["kind"]),
    Column("id", lambda row: row["subject"], shrinks=True),
    Column("seq", lambda row: row["seq"], right=True),
    Column("event", lambda row: row["event"]),
    Column("offset", lambda row: row["offset"], right=True),
    Column("command offset", lambda row: row["command_offset"], right=True, drop=1),
)


@click.command()
@click.argument("job_id", required=False)
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
@DATA_DIR
def verify(data_dir: Path | None, job_id: str | None, output: OutputFormat) -> None:
    """Replay all commands, of one JOB_ID or all jobs, and verify that they produce the recorded events, byte for byte.

    `unanswered` counts recent commands whose events are not written yet. Exit code 7 when any event differs.
    """
    settings, cluster = load_cluster(data_dir)
    with bar("verify") as update:
        tallies = asyncio.run(
            _reached(
                settings,
                audit(
                    cluster,
                    settings.partitions,
                    job_id,
                    lambda title, done, end: update(done, end, f"{title}: {done:,} of {end:,}"),
                ),
            )
        )
    rows = [{"log": log, "partition": number, **asdict(tally)} for (log, number), tally in tallies.items()]
    show(rows, output, COLUMNS)
    differences = [difference for row in rows for difference in row["differences"]]
    if output == "table":
        click.echo()
        if differences:
            show(differences, output, DIFFERENCES)
        else:
            click.echo(_proven(rows))
    if any(row["difference_count"] for row in rows):
        raise click.exceptions.Exit(DIFFERS)


def _proven(rows: Sequence[Mapping[str, Any]]) -> str:
    events, commands, waiting = (sum(row[name] for row in rows) for name in ("events", "commands", "unanswered"))
    fresh = f"; {waiting:,} commands are too recent to have events" if waiting else ""
    return f"Verified: {commands:,} commands reproduce all {events:,} events, byte for byte{fresh}."


@click.group(cls=FullHelpGroup)
def views() -> None:
    """Manage the read models, which serve lists, logs and counts."""


@views.command("rebuild")
@DATA_DIR
def views_rebuild(data_dir: Path | None) -> None:
    """Rebuild the read models (projections) from the event log, beside the current ones, and then swap them.

    Entrepot can keep running meanwhile.
    """
    settings, cluster = load_cluster(data_dir)
    with bar("rebuild") as update:
        count = asyncio.run(
            _reached(
                settings,
                rebuild_views(
                    cluster,
                    settings,
                    lambda partition, done, end: update(done, end, f"partition {partition}: {done:,} of {end:,}"),
                ),
            )
        )
    click.echo(f"read models rebuilt from {count:,} events")


async def _reached(settings: Settings, work: Awaitable[T]) -> T:
    apply()  # as roles do
    try:
        return await work
    except DBAPIError as error:
        raise CommandError(describe_store_error(settings, error), UNAVAILABLE) from error
    except KafkaError as error:
        raise CommandError(
            f"cannot read from {settings.bootstrap_servers} ({type(error).__name__}): check Kafka with "
            "`entrepot doctor`",
            UNAVAILABLE,
        ) from error
    except NewerRulesError as error:
        raise CommandError(str(error), NEWER_RULES) from error
    except BehindError as error:
        raise CommandError(
            f"the read models are ahead of {settings.bootstrap_servers}, so they belong to another cluster: check "
            "ENTREPOT_BOOTSTRAP_SERVERS and ENTREPOT_DATABASE_URL",
            DIFFERS,
        ) from error
