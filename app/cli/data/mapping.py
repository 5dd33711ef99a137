"""`entrepot mapping`: what each stream's messages say about people and things."""

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
    Column("in force", lambda row: row["applied_version"], right=True),
    Column("draft", lambda row: row["draft_version"], right=True),
    Column("updated", lambda row: moment(row["updated_at"]), drop=1),
)
STREAM: Final = click.argument("stream")


def _id(stream: str) -> str:
    return f"mapping:{stream}"


@click.group(cls=SpelledOut)
def mapping() -> None:
    """What a STREAM's messages say: which fields are identities, which are attributes, and how they merge."""


@mapping.command("list")
@talks
async def list_mappings(session: Session) -> None:
    """List the mappings of all streams."""
    found = await session.api.get("/v2/definition")
    show([each for each in found if each["kind"] == "mapping"], session.output, COLUMNS)


@mapping.command("show")
@STREAM
@click.option("--version", type=click.IntRange(1), help="Show this one.")
@talks
async def show_mapping(session: Session, stream: str, version: int | None) -> None:
    """Show the mapping of a STREAM and its versions."""
    await show_definition(session, _id(stream), version)


@mapping.command("draft")
@STREAM
@FILE
@talks
async def draft_mapping(session: Session, stream: str, file: str) -> None:
    """Keep FILE (JSON or YAML, - is standard input) as the draft of a STREAM's mapping. Nothing maps by it yet.

    Exit code 4 when someone else changed it meanwhile, 5 when it can't be a mapping.
    """
    await draft_definition(session, _id(stream), file)


@mapping.command("preview")
@STREAM
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), required=False)
@talks
async def preview_messages(session: Session, stream: str, file: str | None) -> None:
    """Try FILE (JSON or YAML, - is standard input), or the draft, on the latest messages of a STREAM. Changes nothing.

    Exit code 5 when it can't be a mapping.
    """
    await preview_mapping(session, stream, file)


@mapping.command("diff")
@STREAM
@FROM
@TO
@talks
async def diff_mapping(session: Session, stream: str, old: str, new: str) -> None:
    """Show how the draft of a STREAM's mapping differs from what is in force, or any version from any other."""
    await diff_definition(session, _id(stream), old, new)


@mapping.command("apply")
@STREAM
@VERSION
@talks
async def apply_mapping(session: Session, stream: str, version: int | None) -> None:
    """Map a STREAM's messages by the draft from now on."""
    await apply_definition(session, _id(stream), version)


@mapping.command("discard")
@STREAM
@talks
async def discard_mapping(session: Session, stream: str) -> None:
    """Drop the draft of a STREAM's mapping."""
    await discard_definition(session, _id(stream))
