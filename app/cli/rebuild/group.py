"""`entrepot rebuild`: build profiles from scratch beside the live ones, compare, promote or discard."""

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

MIN_PREFIX_LENGTH: Final = 4
REBUILD: Final = click.argument("rebuild", required=False)
COLUMNS: Final = (
    Column("id", lambda row: row["id"][:8]),
    Column("status", status_of),
    Column("started", lambda row: moment(row["started_at"])),
    Column("by", lambda row: row["started_by"], drop=2),
    Column("ended", lambda row: moment(row["ended_at"]), drop=1),
    Column("comment", lambda row: row["note"], wraps=16),
)


@click.group(cls=SpelledOut)
def rebuild() -> None:
    """Reprocess profiles with other rules or without some messages, compare, and promote or discard the result.

    REBUILD is an id or an id prefix; default: the rebuild in progress. Only one can run at a time.
    """


rebuild.add_command(start)


@rebuild.command("list")
@talks
async def list_rebuilds(session: Session) -> None:
    """List rebuilds, newest first."""
    found = await session.api.get("/v2/rebuild")
    show(found, session.output, COLUMNS)
    if not found and session.output == "table":
        click.echo("no rebuilds; to start one, see `entrepot rebuild start --help`", err=True)


@rebuild.command("show")
@REBUILD
@talks
async def show_rebuild(session: Session, rebuild: str | None) -> None:
    """Show a REBUILD (default: the newest) with its rules, progress and report."""
    rebuilds = await session.api.get("/v2/rebuild")
    name = _named(rebuilds, rebuild) if rebuild else _newest(rebuilds)
    print_rebuild(session, await session.api.get(f"/v2/rebuild/{name}"))


@rebuild.command("promote")
@REBUILD
@click.option("-w", "--wait", is_flag=True, help="Wait until it serves look-ups.")
@talks
async def promote_rebuild(session: Session, rebuild: str | None, *, wait: bool) -> None:
    """Make a REBUILD live and activate its rules. To roll back: rebuild start --previous.

    Exit code 4 when it is not ready, or other rules were applied meanwhile.
    """
    found = await _act(session, rebuild, "promote")
    print_rebuild(session, await followed(session, found["id"], "live") if wait else found)


@rebuild.command("discard")
@REBUILD
@talks
async def discard_rebuild(session: Session, rebuild: str | None) -> None:
    """Discard a REBUILD, finished or not. Live profiles are unchanged."""
    print_rebuild(session, await _act(session, rebuild, "discard"))


async def _act(session: Session, reference: str | None, action: str) -> Mapping[str, Any]:
    rebuilds = await session.api.get("/v2/rebuild")
    name = _named(rebuilds, reference) if reference else _in_progress(rebuilds, action)
    changed: Mapping[str, Any] = await session.api.send("POST", f"/v2/rebuild/{name}/{action}")
    return changed


def _named(rebuilds: Sequence[Mapping[str, Any]], reference: str) -> str:
    matches = [row["id"] for row in rebuilds if row["id"].startswith(reference)]
    if len(matches) != 1 or len(reference) < MIN_PREFIX_LENGTH:
        raise Stopped(f"no rebuild matches {reference!r}; see `entrepot rebuild list`", NOT_FOUND)
    return str(matches[0])


def _newest(rebuilds: Sequence[Mapping[str, Any]]) -> str:
    if not rebuilds:
        raise Stopped("no rebuilds; to start one, see `entrepot rebuild start --help`", NOT_FOUND)
    return str(rebuilds[0]["id"])


def _in_progress(rebuilds: Sequence[Mapping[str, Any]], action: str) -> str:
    rebuild_id = next((row["id"] for row in rebuilds if row["status"] in {"under_way", "ready"}), None)
    if rebuild_id is None:
        raise Stopped(f"no rebuild in progress to {action}", CONFLICT)
    return str(rebuild_id)
