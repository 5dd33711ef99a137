"""`entrepot identity`: identity types and their priority."""

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
from app.cli.lazy import SpelledOut
from app.cli.session import Session, talks

ID = "identity"


@click.group(cls=SpelledOut)
def identity() -> None:
    """Manage the identity types that mappings may use, and their priority."""


@identity.command("show")
@click.option("--version", type=click.IntRange(1), help="Show this version.")
@talks
async def show_identity(session: Session, version: int | None) -> None:
    """Show the identity rules and their versions."""
    await show_definition(session, ID, version)


@identity.command("draft")
@FILE
@talks
async def draft_identity(session: Session, file: str) -> None:
    """Save FILE (JSON or YAML, - is standard input) as the draft of the identity rules. It has no effect until applied.

    Exit code 4 when it was modified concurrently, 5 when the rules are invalid.
    """
    await draft_definition(session, ID, file)


@identity.command("diff")
@FROM
@TO
@talks
async def diff_identity(session: Session, old: str, new: str) -> None:
    """Compare the draft with the active version, or any two versions."""
    await diff_definition(session, ID, old, new)


@identity.command("apply")
@VERSION
@talks
async def apply_identity(session: Session, version: int | None) -> None:
    """Activate the draft."""
    await apply_definition(session, ID, version)


@identity.command("discard")
@talks
async def discard_identity(session: Session) -> None:
    """Discard the draft."""
    await discard_definition(session, ID)
