"""`entrepot identity`: the kinds of identities there are, and which of them is the better one."""

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
    """The kinds of identities that mappings may name, and their ranks."""


@identity.command("show")
@click.option("--version", type=click.IntRange(1), help="Show this one.")
@talks
async def show_identity(session: Session, version: int | None) -> None:
    """Show the identity rules and their versions."""
    await show_definition(session, ID, version)


@identity.command("draft")
@FILE
@talks
async def draft_identity(session: Session, file: str) -> None:
    """Keep FILE (JSON or YAML, - is standard input) as the draft of the identity rules. Nothing goes by it yet.

    Exit code 4 when someone else changed it meanwhile, 5 when it can't be identity rules.
    """
    await draft_definition(session, ID, file)


@identity.command("diff")
@FROM
@TO
@talks
async def diff_identity(session: Session, old: str, new: str) -> None:
    """Show how the draft differs from what is in force, or any version from any other."""
    await diff_definition(session, ID, old, new)


@identity.command("apply")
@VERSION
@talks
async def apply_identity(session: Session, version: int | None) -> None:
    """Let the draft be the identity rules from now on."""
    await apply_definition(session, ID, version)


@identity.command("discard")
@talks
async def discard_identity(session: Session) -> None:
    """Drop the draft."""
    await discard_definition(session, ID)
