"""`entrepot rebuild`: profiles made anew beside those that are live, compared, and put in their place or dropped."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from app.cli.exits import CONFLICT, NOT_FOUND, Stopped
from app.cli.lazy import SpelledOut
from app.cli.output import Column, moment, show
from app.cli.rebuild.show import print_rebuild, status_of
from app.cli.rebuild.start import start
from app.cli.rebuild.wait import followed
from app.cli.session import Session, talks

SHORTEST_PREFIX: Final = 4
REBUILD: Final = click.argument("rebuild", required=False)
COLUMNS: Final = (
    Column("id", lambda row: row["id"][:8]),
    Column("status", status_of),
    Column("started", lambda row: moment(row["started_at"])),
    Column("by", lambda row: row["started_by"], drop=2),
    Column("ended", lambda row: moment(row["ended_at"]), drop=1),
    Column("note", lambda row: row["note"], wraps=16),
)


@click.group(cls=SpelledOut)
def rebuild() -> None:
    """Make profiles anew by other rules or without some messages, compare, and promote or discard them.

    REBUILD is an id or the beginning of one; left out, the one that is under way. One can be at a time.
    """


rebuild.add_command(start)


@rebuild.command("list")
@talks
async def list_rebuilds(session: Session) -> None:
    """List rebuilds, the newest first."""
    found = await session.api.get("/v2/rebuild")
    show(found, session.output, COLUMNS)
    if not found and session.output == "table":
        click.echo("no rebuilds; `entrepot rebuild start --help` says how to make one", err=True)


@rebuild.command("show")
@REBUILD
@talks
async def show_rebuild(session: Session, rebuild: str | None) -> None:
    """Show a REBUILD (left out: the newest): by what it is made, how far it is, and what the report says."""
    known = await session.api.get("/v2/rebuild")
    name = _named(known, rebuild) if rebuild else _first(known)
    print_rebuild(session, await session.api.get(f"/v2/rebuild/{name}"))


@rebuild.command("promote")
@REBUILD
@click.option("-w", "--wait", is_flag=True, help="Stay until look-ups are answered from it.")
@talks
async def promote_rebuild(session: Session, rebuild: str | None, *, wait: bool) -> None:
    """Make a REBUILD live and activate its rules. To roll back: rebuild start --previous.

    Exit code 4 when it isn't ready, or other rules were applied meanwhile.
    """
    found = await _act(session, rebuild, "promote")
    print_rebuild(session, await followed(session, found["id"], "live") if wait else found)


@rebuild.command("discard")
@REBUILD
@talks
async def discard_rebuild(session: Session, rebuild: str | None) -> None:
    """Drop what a REBUILD has built, finished or not. What is live stays as it is."""
    print_rebuild(session, await _act(session, rebuild, "discard"))


async def _act(session: Session, reference: str | None, action: str) -> Mapping[str, Any]:
    known = await session.api.get("/v2/rebuild")
    name = _named(known, reference) if reference else _under_way(known, action)
    found: Mapping[str, Any] = await session.api.send("POST", f"/v2/rebuild/{name}/{action}")
    return found


def _named(known: Sequence[Mapping[str, Any]], reference: str) -> str:
    found = [each["id"] for each in known if each["id"].startswith(reference)]
    if len(found) != 1 or len(reference) < SHORTEST_PREFIX:
        raise Stopped(f"there is no rebuild {reference!r}; `entrepot rebuild list` has them", NOT_FOUND)
    return str(found[0])


def _first(known: Sequence[Mapping[str, Any]]) -> str:
    if not known:
        raise Stopped("there is no rebuild; `entrepot rebuild start --help` says how to make one", NOT_FOUND)
    return str(known[0]["id"])


def _under_way(known: Sequence[Mapping[str, Any]], action: str) -> str:
    found = next((each["id"] for each in known if each["status"] in {"under_way", "ready"}), None)
    if found is None:
        raise Stopped(f"no rebuild is under way, so there is nothing to {action}", CONFLICT)
    return str(found)
