"""`entrepot mapping`: map stream fields to identities and attributes."""

from typing import Final

import click

from app.cli.data.definitions import (
    FILE,
    FROM,
    TO,
    VERSION,
    apply_definition,
    diff_definition,
    discard_definition,
    draft_definition,
    show_definition,
)
from app.cli.data.mapping_preview import preview_mapping
from app.cli.lazy import SpelledOut
from app.cli.output import Column, moment, show
from app.cli.session import Session, talks

COLUMNS: Final = (
    Column("stream", lambda row: row["stream"], shrinks=True),
    Column("active", lambda row: row["applied_version"], right=True),
    Column("draft", lambda row: row["draft_version"], right=True),
    Column("updated", lambda row: moment(row["updated_at"]), drop=1),
)
STREAM: Final = click.argument("stream")


def _id(stream: str) -> str:
    return f"mapping:{stream}"


@click.group(cls=SpelledOut)
def mapping() -> None:
    """Map the fields of a STREAM to identities and attributes, and define how values merge."""


@mapping.command("list")
@talks
async def list_mappings(session: Session) -> None:
    """List the mappings of all streams."""
    found = await session.api.get("/v2/definition")
    show([row for row in found if row["kind"] == "mapping"], session.output, COLUMNS)


@mapping.command("show")
@STREAM
@click.option("--version", type=click.IntRange(1), help="Show this version.")
@talks
async def show_mapping(session: Session, stream: str, version: int | None) -> None:
    """Show the mapping of a STREAM and its versions."""
    await show_definition(session, _id(stream), version)


@mapping.command("draft")
@STREAM
@FILE
@talks
async def draft_mapping(session: Session, stream: str, file: str) -> None:
    """Save FILE (JSON or YAML, - is standard input) as the draft of a STREAM's mapping. It has no effect until applied.

    Exit code 4 when it was modified concurrently, 5 when it is not a valid mapping.
    """
    await draft_definition(session, _id(stream), file)


@mapping.command("preview")
@STREAM
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), required=False)
@talks
async def preview_messages(session: Session, stream: str, file: str | None) -> None:
    """Preview FILE (JSON or YAML, - is standard input), or the draft, on recent messages of a STREAM. Has no effect.

    Exit code 5 when it is not a valid mapping.
    """
    await preview_mapping(session, stream, file)


@mapping.command("diff")
@STREAM
@FROM
@TO
@talks
async def diff_mapping(session: Session, stream: str, old: str, new: str) -> None:
    """Compare the draft of a STREAM's mapping with the active version, or any two versions."""
    await diff_definition(session, _id(stream), old, new)


@mapping.command("apply")
@STREAM
@VERSION
@talks
async def apply_mapping(session: Session, stream: str, version: int | None) -> None:
    """Activate the draft: map new messages of a STREAM by it."""
    await apply_definition(session, _id(stream), version)


@mapping.command("discard")
@STREAM
@talks
async def discard_mapping(session: Session, stream: str) -> None:
    """Discard the draft of a STREAM's mapping."""
    await discard_definition(session, _id(stream))
