"""`entrepot mapping preview`: apply a mapping to recent messages of its stream, without effect."""

from collections.abc import Mapping
from typing import Any, Final

import click

from app.cli.data.definitions import path_of, read_body
from app.cli.output import Column, moment, print_facts, serialized, show
from app.cli.session import Session

MESSAGES: Final = (
    Column("timestamp", lambda row: moment(row["timestamp"]), drop=1),
    Column("identities", lambda row: ", ".join(row["identities"]) or "none", wraps=12),
    Column("attributes", lambda row: serialized(row["attributes"], "line"), shrinks=True),
    Column("faults", lambda row: ", ".join(f"{each['part']}: {each['code']}" for each in row["faults"]), wraps=12),
    Column("message", lambda row: row["message_id"], drop=2),
)
FAULTS: Final = (
    Column("fault", lambda row: f"{row['part']}: {row['code']}"),
    Column("messages", lambda row: row["messages"], right=True),
    Column("example", lambda row: row["example"], shrinks=True),
)


async def preview_mapping(session: Session, stream: str, file: str | None) -> None:
    """Print the result of mapping recent messages by a file, or by the draft."""
    body = read_body(file) if file else None
    found = await session.api.send("POST", path_of(f"mapping:{stream}", "/preview"), body)
    if session.output != "table":
        click.echo(serialized(found, session.output))
        return
    show(found["messages"], "table", MESSAGES)
    click.echo()
    _print_summary(found["summary"])


def _print_summary(summary: Mapping[str, Any]) -> None:
    filled = ", ".join(f"{name} {count}" for name, count in summary["attributes"].items())
    print_facts(
        {
            "messages": f"{summary['messages']} from {summary['records']:,} records",
            "with identities": f"{summary['mapped']} of {summary['messages']}",
            "attributes": filled,
        }
    )
    if summary["faults"]:
        click.echo()
        show(summary["faults"], "table", FAULTS)
