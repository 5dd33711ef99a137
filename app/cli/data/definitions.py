"""`entrepot mapping` and `entrepot identity`: draft, preview, compare and apply the rules of streams and identities."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from app.cli.client import api_path
from app.cli.exits import NOT_FOUND, CommandError
from app.cli.lazy import FullHelpGroup
from app.cli.names import complete_streams
from app.cli.output import Column, local_time, name_values, print_facts, serialized, show
from app.cli.session import Session, api_command
from projections.identities.blocked_values import with_value_blocked
from schemas.definitions import IDENTITY, mapping_of

VERSIONS: Final = (
    Column("version", lambda row: row["version"], right=True),
    Column("status", lambda row: row["status"]),
    Column("drafted", lambda row: local_time(row["drafted_at"]), drop=1),
    Column("by", lambda row: row["drafted_by"], drop=3),
    Column("applied", lambda row: local_time(row["applied_at"])),
    Column("by", lambda row: row["applied_by"], drop=2),
)
CHANGES: Final = (
    Column("change", lambda row: row["kind"]),
    Column("where", lambda row: row["pointer"] or "/"),
    Column("before", lambda row: "" if row["kind"] == "added" else serialized(row["before"], "line"), wraps=10),
    Column("after", lambda row: "" if row["kind"] == "removed" else serialized(row["after"], "line"), wraps=10),
)
VERSION: Final = click.option("--version", type=click.IntRange(1), help="Apply only if the draft is this version.")
FROM: Final = click.option(
    "--from", "old", default="applied", show_default=True, help="A version number, `applied` or `draft`."
)
TO: Final = click.option(
    "--to", "new", default="draft", show_default=True, help="A version number, `applied` or `draft`."
)
FILE: Final = click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
MESSAGES: Final = (
    Column("timestamp", lambda row: local_time(row["timestamp"]), drop=1),
    Column("identities", lambda row: ", ".join(row["identities"]) or "none", wraps=22),
    Column("attributes", lambda row: name_values(row["attributes"]), wraps=24),
    Column("faults", lambda row: ", ".join(f"{fault['part']}: {fault['code']}" for fault in row["faults"]), wraps=20),
    Column("message", lambda row: row["message_id"], drop=2),
)
FAULTS: Final = (
    Column("fault", lambda row: f"{row['part']}: {row['code']}"),
    Column("messages", lambda row: row["messages"], right=True),
    Column("example", lambda row: row["example"], shrinks=True),
)
MAPPINGS: Final = (
    Column("stream", lambda row: row["stream"], shrinks=True),
    Column("active", lambda row: row["applied_version"], right=True),
    Column("draft", lambda row: row["draft_version"], right=True),
    Column("updated", lambda row: local_time(row["updated_at"]), drop=1),
)
FINDINGS: Final = (
    Column("identity", lambda row: row["identity"], wraps=20),
    Column("links", lambda row: row["links"], right=True),
    Column("limit", lambda row: row["limit"], right=True),
    Column("since", lambda row: local_time(row["since"]), drop=2),
    Column("blocked", lambda row: "yes; rebuild" if row["blocked"] else "no"),
    Column("profile", lambda row: row["profile"], drop=1, wraps=20),
)
STREAM: Final = click.argument("stream", shell_complete=complete_streams)


async def show_definition(session: Session, definition_id: str, version: int | None) -> None:
    """Print a definition with the body of the requested version, else of the active one, else of the draft."""
    definition = await session.api.get(api_path("/v2/definition", definition_id), version=version)
    if session.print_unless_table(definition):
        return
    shown = definition["requested"] or definition["applied"] or definition["draft"]
    print_facts(
        {
            "id": definition["id"],
            "active": f"version {definition['applied_version']}" if definition["applied_version"] else "none",
            "draft": f"version {definition['draft_version']}" if definition["draft_version"] else "",
            f"version {shown['version']}" if shown else "body": serialized(shown["body"], "yaml") if shown else "",
        }
    )
    click.echo()
    show(definition["versions"], "table", VERSIONS)


async def draft_definition(session: Session, definition_id: str, file: str) -> None:
    """Save a file (JSON or YAML; `-` is standard input) as the draft, unless modified concurrently."""
    await _save_draft(session, definition_id, read_definition(file), await _newest(session, definition_id))


async def diff_definition(session: Session, definition_id: str, old: str, new: str) -> None:
    """Print the differences of two versions."""
    comparison = await session.api.get(api_path("/v2/definition", definition_id, "diff"), from_=old, to=new)
    show(comparison, session.output, CHANGES, comparison["changes"])


async def apply_definition(session: Session, definition_id: str, version: int | None) -> None:
    """Activate the draft."""
    path = api_path("/v2/definition", definition_id, "apply")
    print_versions(session, await session.api.send("POST", path, version=version))


async def discard_definition(session: Session, definition_id: str) -> None:
    """Discard the draft."""
    print_versions(session, await session.api.send("DELETE", api_path("/v2/definition", definition_id, "draft")))


def print_versions(session: Session, definition: Mapping[str, Any]) -> None:
    """Print the versions of a definition after a change."""
    if session.print_unless_table(definition):
        return
    parts = {"active": definition.get("applied_version"), "draft": definition.get("draft_version")}
    summary = ", ".join(f"{name}: version {version}" for name, version in parts.items() if version)
    print_facts({definition["id"]: summary or ("accepted" if "href" in definition else "no active version, no draft")})


async def block_identity(session: Session, key: str) -> None:
    """Draft the newest version of the identity rules with the value of an identity blocked."""
    rules = await session.api.get(api_path("/v2/definition", IDENTITY))
    body = with_value_blocked((rules["draft"] or rules["applied"] or {"body": {}})["body"], key)
    if body is None:
        raise click.BadParameter(f"{key!r} is not TYPE:VALUE of a known identity type", param_hint="KEY")
    await _save_draft(session, IDENTITY, body, rules["version"])


async def _save_draft(session: Session, definition_id: str, body: Mapping[str, Any], version: int) -> None:
    """Save a draft, if `version` is still the newest one."""
    path = api_path("/v2/definition", definition_id, "draft")
    print_versions(session, await session.api.send("PUT", path, body, headers={"If-Match": f'"{version}"'}))


async def _newest(session: Session, definition_id: str) -> int:
    try:
        version: int = (await session.api.get(api_path("/v2/definition", definition_id)))["version"]
    except CommandError as error:
        if error.exit_code != NOT_FOUND:
            raise
        return 0
    return version


def read_definition(file: str) -> dict[str, Any]:
    """Return the object in a file: JSON or YAML; `-` is standard input."""
    import orjson  # noqa: PLC0415  # not needed by other commands
    import yaml  # noqa: PLC0415  # as above; YAML includes JSON

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        body = orjson.loads(orjson.dumps(yaml.safe_load(text)))  # YAML dates become strings
    except OSError as error:
        raise click.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise click.BadParameter(f"{file}: invalid JSON or YAML: {error}", param_hint="FILE") from error
    if not isinstance(body, dict):
        raise click.BadParameter(f"{file}: expected an object", param_hint="FILE")
    return body


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


@click.group(cls=FullHelpGroup)
def mapping() -> None:
    """Map the fields of a STREAM to identities and attributes, and define how values merge."""


@mapping.command("list")
@api_command
async def mapping_list(session: Session) -> None:
    """List the mappings of all streams."""
    definitions = await session.api.get("/v2/definition")
    show([row for row in definitions if row["kind"] == "mapping"], session.output, MAPPINGS)


@mapping.command("show")
@STREAM
@click.option("--version", type=click.IntRange(1), help="Show this version.")
@api_command
async def mapping_show(session: Session, stream: str, version: int | None) -> None:
    """Show the mapping of a STREAM and its versions."""
    await show_definition(session, mapping_of(stream), version)


@mapping.command("draft")
@STREAM
@FILE
@api_command
async def mapping_draft(session: Session, stream: str, file: str) -> None:
    """Save FILE (JSON or YAML, - is standard input) as the draft of a STREAM's mapping. It has no effect until applied.

    Exit code 4 when it was modified concurrently, 5 when it is not a valid mapping.
    """
    await draft_definition(session, mapping_of(stream), file)


@mapping.command("preview")
@STREAM
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), required=False)
@api_command
async def mapping_preview(session: Session, stream: str, file: str | None) -> None:
    """Preview FILE (JSON or YAML, - is standard input), or the draft, on recent messages of a STREAM. Has no effect.

    Exit code 5 when it is not a valid mapping.
    """
    body = read_definition(file) if file else None
    preview = await session.api.send("POST", api_path("/v2/definition", mapping_of(stream), "preview"), body)
    if session.print_unless_table(preview):
        return
    show(preview["messages"], "table", MESSAGES)
    click.echo()
    _print_summary(preview["summary"])


@mapping.command("diff")
@STREAM
@FROM
@TO
@api_command
async def mapping_diff(session: Session, stream: str, old: str, new: str) -> None:
    """Compare the draft of a STREAM's mapping with the active version, or any two versions."""
    await diff_definition(session, mapping_of(stream), old, new)


@mapping.command("apply")
@STREAM
@VERSION
@api_command
async def mapping_apply(session: Session, stream: str, version: int | None) -> None:
    """Activate the draft: map new messages of a STREAM by it."""
    await apply_definition(session, mapping_of(stream), version)


@mapping.command("discard")
@STREAM
@api_command
async def mapping_discard(session: Session, stream: str) -> None:
    """Discard the draft of a STREAM's mapping."""
    await discard_definition(session, mapping_of(stream))


@click.group(cls=FullHelpGroup)
def identity() -> None:
    """Manage the identity types that mappings may use, and their priority."""


@identity.command("show")
@click.option("--version", type=click.IntRange(1), help="Show this version.")
@api_command
async def identity_show(session: Session, version: int | None) -> None:
    """Show the identity rules and their versions."""
    await show_definition(session, IDENTITY, version)


@identity.command("draft")
@FILE
@api_command
async def identity_draft(session: Session, file: str) -> None:
    """Save FILE (JSON or YAML, - is standard input) as the draft of the identity rules. It has no effect until applied.

    Exit code 4 when it was modified concurrently, 5 when the rules are invalid.
    """
    await draft_definition(session, IDENTITY, file)


@identity.command("diff")
@FROM
@TO
@api_command
async def identity_diff(session: Session, old: str, new: str) -> None:
    """Compare the draft with the active version, or any two versions."""
    await diff_definition(session, IDENTITY, old, new)


@identity.command("apply")
@VERSION
@api_command
async def identity_apply(session: Session, version: int | None) -> None:
    """Activate the draft."""
    await apply_definition(session, IDENTITY, version)


@identity.command("discard")
@api_command
async def identity_discard(session: Session) -> None:
    """Discard the draft."""
    await discard_definition(session, IDENTITY)


@identity.command("findings")
@api_command
async def identity_findings(session: Session) -> None:
    """List identities that link more others than the limit of their type: probably several people share them."""
    show(await session.api.get("/v2/finding"), session.output, FINDINGS)


@identity.command("block")
@click.argument("key")
@api_command
async def identity_block(session: Session, key: str) -> None:
    """Draft identity rules that ignore KEY, such as email:info@example.com.

    Apply the draft to stop linking by it, then rebuild the profiles to separate what it has linked.
    """
    await block_identity(session, key)
