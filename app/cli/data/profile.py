"""`entrepot profile`: look up, explain and delete customer profiles."""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final

import click

from app.cli.client import api_path
from app.cli.exits import NOT_FOUND, CommandError
from app.cli.job.wait import TIMEOUT, ended_within
from app.cli.lazy import FullHelpGroup
from app.cli.output import Column, local_time, print_facts, print_table, serialized, show
from app.cli.param_types import AS_OF, TIME_FORMATS
from app.cli.progress import bar
from app.cli.session import Session, api_command
from app.sentences.escapes import escaped
from app.sentences.sentence import counted

KEY: Final = click.argument("key")
SHORT_ID: Final = 8
PAGE_SIZE: Final = 100  # messages in one response
POLL_INTERVAL_SECONDS: Final = 0.5
MAX_MISSES: Final = 120  # polls until an accepted request is visible
ATTRIBUTES: Final = (
    Column("attribute", lambda row: row["name"], wraps=9),
    Column("value", lambda row: _text(row["value"]), wraps=20),
    Column("merge", lambda row: row["merge"], drop=2),
    Column("event time", lambda row: local_time(row["timestamp"])),
    Column("job", lambda row: (row["job_id"] or "")[:SHORT_ID], drop=1),
)
STATUSES: Final = {"under_way": "under way", "forgotten": "forgotten"}
FORGETTINGS: Final = (
    Column("id", lambda row: row["id"]),
    Column("status", lambda row: STATUSES[row["status"]]),
    Column("requested", lambda row: local_time(row["requested_at"])),
    Column("by", lambda row: row["requested_by"], drop=4),
    Column("identities", lambda row: f"{row['identities']:,}", right=True, drop=2),
    Column("profiles", lambda row: f"{row['profiles']:,}", right=True, drop=3),
    Column("complete", lambda row: "yes" if row["complete"] else "no", drop=1),
)
LINKS: Final = (
    Column("identity", lambda row: row["identities"][0], wraps=16),
    Column("belongs to", lambda row: row["identities"][1], wraps=16),
    Column("event time", lambda row: local_time(row["timestamp"])),
    Column("job", lambda row: (row["job_id"] or "")[:SHORT_ID], drop=1),
)


@click.group(cls=FullHelpGroup)
def profile() -> None:
    """Look up, explain and delete customer profiles. KEY is any identity, such as email:ada@example.com."""


@profile.command("get")
@KEY
@click.option("--as-of", metavar="TIME", type=AS_OF, help=f"State at this event time: {TIME_FORMATS}")
@api_command
async def profile_get(session: Session, key: str, as_of: str | None) -> None:
    """Show the profile of KEY, now or at a point in time.

    Exit code 3 when there is no profile, or was none at that time.
    """
    profile = await session.api.get(api_path("/v2/profile", key), as_of=as_of)
    if not session.print_unless_table(profile):
        _print_profile(profile)


@profile.command("explain")
@KEY
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="Maximum number of messages.")
@api_command
async def profile_explain(session: Session, key: str, limit: int) -> None:
    """Show the messages behind a profile: location, rule version and payload of each."""
    explanation, has_more = await _explanation(session, key, limit)
    if has_more:
        click.echo(f"there are more than {limit:,} messages; raise --limit to see them", err=True)
    if session.print_unless_table(explanation):
        return
    _print_profile(explanation["profile"])
    for message in explanation["messages"]:
        click.echo()
        print_facts(
            {
                "message": message["message_id"],
                "at": local_time(message["timestamp"]),
                "stream": message["stream"],
                "job": message["job_id"] or "",
                "identities": ", ".join(message["identities"]),
                "blocked": ", ".join(message["blocked"]),
                "location": f"{message['topic']}/{message['partition']} at offset {message['offset']}",
                "rule version": f"definitions.events at offset {message['rules_offset']}",
                "payload": serialized(message["message"], "line"),
            }
        )


async def _explanation(session: Session, key: str, limit: int) -> tuple[Mapping[str, Any], bool]:
    """Return a profile with up to `limit` of its messages, and whether there are more."""
    messages: list[Any] = []
    async with aclosing(session.api.pages(api_path("/v2/profile", key, "explain"), min(limit, PAGE_SIZE))) as pages:
        async for page, has_next in pages:
            messages += page["messages"]
            if len(messages) >= limit or not has_next:
                has_more = has_next or len(messages) > limit
                break
    return {"profile": page["profile"], "messages": messages[:limit]}, has_more


@profile.command("forget")
@KEY
@click.option("-y", "--yes", is_flag=True, help="Skip the confirmation; required without a terminal.")
@TIMEOUT
@api_command
async def profile_forget(session: Session, key: str, time_limit: int | None, *, yes: bool) -> None:
    """Delete the profile of KEY with all its identities, permanently, and exclude it from future rebuilds.

    Messages about its past that arrive later are not mapped either. Raw messages are retained, but never mapped
    again. The command waits until the deletion has ended; interrupting it does not cancel the deletion: see
    `entrepot profile forgettings`.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("deletion is permanent: pass --yes to confirm")
    identities = await _identities(session, key)
    if not identities:
        click.echo(escaped(f"no profile for {key}"), err=True)
    if not yes:
        names = ", ".join(identities) or key
        click.confirm(f"Delete the profile of {escaped(names)}? This is permanent.", abort=True, err=True)
    accepted = await session.api.send("DELETE", api_path("/v2/profile", key))
    deletion = await _ended(session, accepted["id"], time_limit) if "status" not in accepted else accepted
    if not session.print_unless_table(deletion):
        count = counted(deletion["identities"], "identity", "identities")
        click.echo(f"deleted: {count}, messages up to {local_time(deletion['at'])}")
    if not deletion["complete"]:
        more = "the profile had reached the limit of links; if it had further identities, delete each of them too"
        click.echo(more, err=True)


async def _ended(session: Session, forgetting_id: str, time_limit: int | None) -> Mapping[str, Any]:
    """Return a forgetting once it has ended.

    Raises:
        CommandError: it has not within the limit, in seconds.

    """
    progress = f"entrepot profile forgettings {forgetting_id}"
    click.echo(escaped(f"in progress; also shown by: {progress}"), err=True)
    async with ended_within(time_limit, "the deletion", f"see: {progress}"):
        return await _follow(session, forgetting_id)


async def _follow(session: Session, forgetting_id: str) -> Mapping[str, Any]:
    misses = 0
    with bar("forget") as update:
        while True:
            try:
                forgetting: Mapping[str, Any] = await session.api.get(f"/v2/forgetting/{forgetting_id}")
            except CommandError as error:
                misses += 1
                if error.exit_code != NOT_FOUND or misses > MAX_MISSES:
                    raise
            else:
                if forgetting["status"] == "forgotten":
                    return forgetting
                update(0, None, _progress(forgetting))
            await asyncio.sleep(POLL_INTERVAL_SECONDS)


@profile.command("forgettings")
@click.argument("forgetting", required=False)
@api_command
async def profile_forgettings(session: Session, forgetting: str | None) -> None:
    """List requests to delete a person, newest first, or show the FORGETTING with this id. Requires an admin token."""
    if forgetting is None:
        show(await session.api.get("/v2/forgetting"), session.output, FORGETTINGS)
        return
    shown = await session.api.get(api_path("/v2/forgetting", forgetting))
    if session.print_unless_table(shown):
        return
    print_facts(
        {
            "forgetting": shown["id"],
            "status": STATUSES[shown["status"]],
            "progress": _progress(shown),
            "messages up to": local_time(shown["at"]),
            "requested": f"{local_time(shown['requested_at'])}, by {shown['requested_by']}",
            "forgotten": local_time(shown["forgotten_at"]),
            "identities": f"{shown['identities']:,}",
            "profiles": f"{shown['profiles']:,}",
            "complete": "yes" if shown["complete"] else "no: further identities may exist",
        }
    )


def _progress(forgetting: Mapping[str, Any]) -> str:
    """Describe what a forgetting waits for; empty when it has ended."""
    if forgetting["status"] == "forgotten":
        return ""
    waiting = ", ".join(forgetting["waiting_for"])
    identities = counted(forgetting["identities"], "identity", "identities")
    return f"waiting for the lanes of {waiting}" if waiting else f"{identities} so far"


async def _identities(session: Session, key: str) -> list[str]:
    try:
        identities: list[str] = (await session.api.get(api_path("/v2/profile", key)))["identities"]
    except CommandError as error:
        if error.exit_code != NOT_FOUND:
            raise
        return []
    return identities


def _print_profile(profile: Mapping[str, Any]) -> None:
    print_facts({"profile": profile["id"], "identities": "\n".join(profile["identities"])})
    if profile["attributes"]:
        click.echo()
        print_table([{"name": name, **attribute} for name, attribute in profile["attributes"].items()], ATTRIBUTES)
    if profile["links"]:
        click.echo()
        print_table(profile["links"], LINKS)


def _text(value: object) -> str:
    """Format a value as JSON; strings without quotes."""
    return value if isinstance(value, str) else serialized(value, "line")
