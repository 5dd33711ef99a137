"""`entrepot profile`: what is known of somebody, now or as it was, why it is known, and forgetting it."""

import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import click

from app.cli.exits import NOT_FOUND, Stopped
from app.cli.lazy import SpelledOut
from app.cli.output import Column, moment, print_facts, print_table, serialized, visible
from app.cli.param_types import AS_OF, MOMENTS
from app.cli.session import Session, talks

KEY: Final = click.argument("key")
SHORT_ID: Final = 8
ATTRIBUTES: Final = (
    Column("attribute", lambda row: row["name"], wraps=9),
    Column("value", lambda row: _text(row["value"]), wraps=20),
    Column("merge", lambda row: row["merge"], drop=2),
    Column("said", lambda row: moment(row["timestamp"])),
    Column("job", lambda row: (row["job_id"] or "")[:SHORT_ID], drop=1),
)
LINKS: Final = (
    Column("identity", lambda row: row["identities"][0], wraps=16),
    Column("belongs to", lambda row: row["identities"][1], wraps=16),
    Column("said", lambda row: moment(row["timestamp"])),
    Column("job", lambda row: (row["job_id"] or "")[:SHORT_ID], drop=1),
)


@click.group(cls=SpelledOut)
def profile() -> None:
    """Look at profiles, and forget people. KEY is any identity, such as email:ada@example.com."""


@profile.command("get")
@KEY
@click.option("--as-of", metavar="MOMENT", type=AS_OF, help=f"As it was then by the messages' times, {MOMENTS}")
@talks
async def get_profile(session: Session, key: str, as_of: str | None) -> None:
    """Show what is known of KEY, now or as of a moment.

    Exit code 3 when nothing is known of it, or had been by then.
    """
    found = await session.api.get(_path(key), as_of=as_of)
    if session.output != "table":
        click.echo(serialized(found, session.output))
    else:
        _print_profile(found)


@profile.command("explain")
@KEY
@talks
async def explain_profile(session: Session, key: str) -> None:
    """Show the messages behind a profile: where each is, which rules mapped it, and what it says."""
    found = await session.api.get(_path(key, "/explain"))
    if session.output != "table":
        click.echo(serialized(found, session.output))
        return
    _print_profile(found["profile"])
    for each in found["messages"]:
        click.echo()
        print_facts(
            {
                "message": each["message_id"],
                "at": moment(each["timestamp"]),
                "stream": each["stream"],
                "job": each["job_id"] or "",
                "identities": ", ".join(each["identities"]),
                "found in": f"{each['topic']}/{each['partition']} at offset {each['offset']}",
                "rules": f"as of offset {each['rules_at']} of definitions.events",
                "says": serialized(each["message"], "line"),
            }
        )


@profile.command("forget")
@KEY
@click.option("-y", "--yes", is_flag=True, help="Don't ask; needed where nobody can answer.")
@talks
async def forget_profile(session: Session, key: str, *, yes: bool) -> None:
    """Forget the person that KEY belongs to, with all identities: for good, also in every rebuild to come.

    It says when nothing was known of KEY, as when that is misspelt; what comes in later about its past isn't mapped
    either. Raw messages stay, and are never mapped again. Exit code 6 when it isn't known yet whether all is dropped:
    then repeat it.
    """
    if not yes and not sys.stdin.isatty():
        raise click.UsageError("forgetting can't be undone: say with --yes that it is meant")
    identities = await _identities(session, key)
    if not identities:
        click.echo(visible(f"nothing is known of {key}"), err=True)
    if not yes:
        whom = ", ".join(identities) or key
        click.confirm(f"Forget {visible(whom)} with all that is known? This can't be undone.", abort=True, err=True)
    found = await session.api.send("DELETE", _path(key))
    if session.output != "table":
        click.echo(serialized(found, session.output))
    else:
        count = found["identities"]
        click.echo(f"forgotten: {count} {'identity' if count == 1 else 'identities'}, up to {moment(found['at'])}")
    if not found["complete"]:
        more = "the profile had as many links as one may have; if it had more identities, forget each of those, too"
        click.echo(more, err=True)


async def _identities(session: Session, key: str) -> list[str]:
    try:
        found: list[str] = (await session.api.get(_path(key)))["identities"]
    except Stopped as error:
        if error.exit_code != NOT_FOUND:
            raise
        return []
    return found


def _print_profile(found: Mapping[str, Any]) -> None:
    print_facts({"profile": found["id"], "identities": "\n".join(found["identities"])})
    if found["attributes"]:
        click.echo()
        print_table([{"name": name, **each} for name, each in found["attributes"].items()], ATTRIBUTES)
    if found["links"]:
        click.echo()
        print_table(found["links"], LINKS)


def _text(value: object) -> str:
    """Return a value as it stands in a message; a text without quotes."""
    return value if isinstance(value, str) else serialized(value, "line")


def _path(key: str, rest: str = "") -> str:
    return f"/v2/profile/{quote(key, safe='')}{rest}"
