"""Shared by `entrepot mapping` and `entrepot identity`: show, draft, compare, apply and discard a definition."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from app.cli.exits import NOT_FOUND, Stopped
from app.cli.output import Column, moment, print_facts, serialized, show
from app.cli.session import Session

VERSIONS: Final = (
    Column("version", lambda row: row["version"], right=True),
    Column("status", lambda row: row["status"]),
    Column("drafted", lambda row: moment(row["drafted_at"]), drop=1),
    Column("by", lambda row: row["drafted_by"], drop=3),
    Column("applied", lambda row: moment(row["applied_at"])),
    Column("by", lambda row: row["applied_by"], drop=2),
)
CHANGES: Final = (
    Column("change", lambda row: row["kind"]),
    Column("where", lambda row: row["pointer"] or "/"),
    Column("before", lambda row: "" if row["kind"] == "added" else serialized(row["before"], "line"), shrinks=True),
    Column("after", lambda row: "" if row["kind"] == "removed" else serialized(row["after"], "line"), shrinks=True),
)
VERSION: Final = click.option("--version", type=click.IntRange(1), help="Apply only if the draft is this version.")
FROM: Final = click.option(
    "--from", "old", default="applied", show_default=True, help="A version number, `applied` or `draft`."
)
TO: Final = click.option(
    "--to", "new", default="draft", show_default=True, help="A version number, `applied` or `draft`."
)
FILE: Final = click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))


async def show_definition(session: Session, definition_id: str, version: int | None) -> None:
    """Print a definition with the body of the requested version, else of the active one, else of the draft."""
    found = await session.api.get(path_of(definition_id), version=version)
    if session.output != "table":
        click.echo(serialized(found, session.output))
        return
    shown = found["asked"] or found["applied"] or found["draft"]
    print_facts(
        {
            "id": found["id"],
            "active": f"version {found['applied_version']}" if found["applied_version"] else "none",
            "draft": f"version {found['draft_version']}" if found["draft_version"] else "",
            f"version {shown['version']}" if shown else "body": serialized(shown["body"], "yaml") if shown else "",
        }
    )
    click.echo()
    show(found["versions"], "table", VERSIONS)


async def draft_definition(session: Session, definition_id: str, file: str) -> None:
    """Save a file (JSON or YAML; `-` is standard input) as the draft, unless modified concurrently."""
    body = read_body(file)
    version = await _newest(session, definition_id)
    headers = {"If-Match": f'"{version}"'}
    say_done(session, await session.api.send("PUT", path_of(definition_id, "/draft"), body, headers=headers))


async def diff_definition(session: Session, definition_id: str, old: str, new: str) -> None:
    """Print the differences of two versions."""
    found = await session.api.get(path_of(definition_id, "/diff"), from_=old, to=new)
    show(found, session.output, CHANGES, found["changes"])


async def apply_definition(session: Session, definition_id: str, version: int | None) -> None:
    """Activate the draft."""
    say_done(session, await session.api.send("POST", path_of(definition_id, "/apply"), version=version))


async def discard_definition(session: Session, definition_id: str) -> None:
    """Discard the draft."""
    say_done(session, await session.api.send("DELETE", path_of(definition_id, "/draft")))


def say_done(session: Session, found: Mapping[str, Any]) -> None:
    """Print the versions of a definition after a change."""
    if session.output != "table":
        click.echo(serialized(found, session.output))
        return
    parts = {"active": found.get("applied_version"), "draft": found.get("draft_version")}
    said = ", ".join(f"{name}: version {version}" for name, version in parts.items() if version)
    print_facts({found["id"]: said or ("accepted" if "href" in found else "no active version, no draft")})


async def _newest(session: Session, definition_id: str) -> int:
    try:
        found: int = (await session.api.get(path_of(definition_id)))["version"]
    except Stopped as error:
        if error.exit_code != NOT_FOUND:
            raise
        return 0
    return found


def read_body(file: str) -> dict[str, Any]:
    """Return the object in a file: JSON or YAML; `-` is standard input."""
    import orjson  # noqa: PLC0415  # not needed by other commands
    import yaml  # noqa: PLC0415  # as above; YAML includes JSON

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        found = orjson.loads(orjson.dumps(yaml.safe_load(text)))  # YAML dates become strings
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise click.BadParameter(f"{file}: invalid JSON or YAML: {error}", param_hint="FILE") from error
    if not isinstance(found, dict):
        raise click.BadParameter(f"{file}: expected an object", param_hint="FILE")
    return found


def path_of(definition_id: str, rest: str = "") -> str:
    """Return the API path of a definition."""
    return f"/v2/definition/{quote(definition_id, safe='')}{rest}"
