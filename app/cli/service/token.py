"""`entrepot token` and `sign-in`: who may ask the API, and links for browsers."""

from typing import Final

import click

from app.cli.lazy import SpelledOut
from app.cli.output import Column, moment, serialized, show
from app.cli.param_types import FUTURE
from app.cli.session import Session, talks

COLUMNS: Final = (
    Column("id", lambda row: row["id"]),
    Column("name", lambda row: row["name"], shrinks=True),
    Column("role", lambda row: row["role"]),
    Column("created", lambda row: moment(row["created_at"]), drop=2),
    Column("expires", lambda row: moment(row["expires_at"]), drop=1),
)


@click.group(cls=SpelledOut)
def token() -> None:
    """Access tokens: each has a name and a role, and is shown once."""


@token.command("list")
@talks
async def list_tokens(session: Session) -> None:
    """List tokens; only their hashes are kept."""
    show(await session.api.get("/v2/token"), session.output, COLUMNS)


@token.command("create")
@click.option("--name", required=True, help="Who it is for; shown in logs.")
@click.option("--role", required=True, type=click.Choice(["viewer", "operator", "editor", "admin"]))
@click.option("--expires", metavar="MOMENT", type=FUTURE, help="Such as 2027-01-01T00:00:00Z, or 30d from now.")
@talks
async def create_token(session: Session, name: str, role: str, expires: str | None) -> None:
    """Make a token and print it: it can't be shown again."""
    made = await session.api.send("POST", "/v2/token", {"name": name, "role": role, "expires_at": expires})
    click.echo(made["token"] if session.output == "table" else serialized(made, session.output))


@token.command("revoke")
@click.argument("token_id")
@talks
async def revoke_token(session: Session, token_id: str) -> None:
    """End the token of that id, and the browser sessions that came from it."""
    await session.api.send("DELETE", f"/v2/token/{token_id}")


@click.command("sign-in", short_help="Print a link that signs a browser in.")
@talks
async def sign_in(session: Session) -> None:
    """Print a link that signs a browser in as you: good once, for 15 minutes."""
    made = await session.api.send("POST", "/v2/sign-in")
    click.echo(session.api.url + made["path"])
