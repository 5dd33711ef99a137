"""`entrepot stream`: received messages, field statistics, and a suggested mapping."""

from collections.abc import Mapping
from typing import Any, Final

import click

from app.cli.client import api_path
from app.cli.job.logs import stream_dead_letters
from app.cli.lazy import FullHelpGroup
from app.cli.names import complete_streams
from app.cli.output import Column, cell, local_time, print_facts, serialized, show
from app.cli.session import Session, api_command, watchable
from app.sentences.escapes import escaped
from app.sentences.sentence import counted


def _percent(share: float) -> str:
    """Format a share in whole percent; only 1 is shown as 100 %, only 0 as 0 %."""
    return f"{round(share * 100) if share in {0, 1} else min(max(round(share * 100), 1), 99)} %"


def _names(counts: Mapping[str, int]) -> str:
    """Return the names, most frequent first."""
    return ", ".join(sorted(counts, key=lambda name: (-counts[name], name)))


def _range(row: Mapping[str, Any]) -> str:
    numbers = f"{cell(row['min_value'])} to {cell(row['max_value'])}" if row["min_value"] is not None else ""
    texts = _characters(row["min_length"], row["max_length"]) if row["min_length"] is not None else ""
    return ", ".join(part for part in (numbers, texts) if part)


def _characters(least: int, most: int) -> str:
    return ("" if least == most else f"{cell(least)} to ") + counted(most, "character")


STREAMS: Final = (
    Column("stream", lambda row: row["stream"], shrinks=True),
    Column("lane", lambda row: row["lane"]),
    Column("messages", lambda row: row["count"], right=True),
    Column("bytes", lambda row: row["bytes"], right=True, drop=2),
    Column("newest message", lambda row: local_time(row["last_message_at"]), drop=1),
    Column("last arrival", lambda row: local_time(row["last_arrival_at"]), drop=3),
)
FIELDS: Final = (
    Column("field", lambda row: row["name"], shrinks=True),
    Column("fill", lambda row: _percent(row["fill"]), right=True),
    Column("types", lambda row: _names(row["types"]), wraps=8),
    Column("patterns", lambda row: _names(row["patterns"]), wraps=15),
    Column("distinct", lambda row: row["distinct"], right=True),
    Column("range", _range, drop=2),
    Column("last seen", lambda row: local_time(row["last_seen_at"]), drop=1),
)
BLOCKED: Final = (
    Column("blocked identity", lambda row: f"{row['kind']}:{row['value']}", shrinks=True),
    Column("messages", lambda row: row["count"], right=True),
)
STREAM: Final = click.argument("stream", shell_complete=complete_streams)


@click.group(cls=FullHelpGroup)
def stream() -> None:
    """List streams and the statistics of their fields."""


stream.add_command(stream_dead_letters)


@stream.command("list")
@api_command
@watchable
async def stream_list(session: Session) -> None:
    """List streams with the messages that each lane received."""
    show(await session.api.get("/v2/stream"), session.output, STREAMS)


@stream.command("show")
@STREAM
@api_command
async def stream_show(session: Session, stream: str) -> None:
    """Show the messages received on a STREAM, and field statistics from a sample of them."""
    detail = await session.api.get(api_path("/v2/stream", stream))
    if session.print_unless_table(detail):
        return
    print_facts(
        {
            "stream": detail["stream"],
            "messages": ", ".join(f"{lane['count']:,} {lane['lane']}" for lane in detail["lanes"]),
            "newest message": local_time(detail["last_message_at"]),
            "last arrival": local_time(detail["last_arrival_at"]),
            "sampled": f"{detail['sampled']:,} messages",
            "more fields": f"about {detail['more_fields']:,}, not shown" if detail["more_fields"] else "",
        }
    )
    click.echo()
    show(detail["fields"], "table", FIELDS)
    if detail["blocked"]:
        click.echo()
        show(detail["blocked"], "table", BLOCKED)


@stream.command("suggest")
@STREAM
@click.option(
    "--identity", is_flag=True, help="Print the identity rules that the mapping needs, instead of the mapping."
)
@api_command
async def stream_suggest(session: Session, *, stream: str, identity: bool) -> None:
    """Print a suggested mapping of a STREAM, derived from its messages, with the reasons as comments.

    Review it, then pass it to `entrepot mapping draft`, and its identity types to `entrepot identity draft`.
    """
    suggestion = await session.api.get(api_path("/v2/stream", stream, "suggestion"))
    if session.output == "json":
        click.echo(serialized(suggestion["identity" if identity else "mapping"], "json"))
        return
    if not identity:
        click.echo(f"# from {suggestion['sampled']:,} messages")
        for reason in suggestion["reasons"]:
            click.echo(f"# {escaped(reason['pointer'])}: {escaped(reason['text'])}")
    click.echo(serialized(suggestion["identity" if identity else "mapping"], "yaml"))
