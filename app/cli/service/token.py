"""`entrepot token` and `sign-in`: API access tokens and sign-in links."""

import shlex
from typing import Final

import click

from app.cli.lazy import FullHelpGroup
from app.cli.output import Column, local_time, serialized, show
from app.cli.param_types import FUTURE
from app.cli.session import RUNNING, TOKEN, URL, Session, api_command, endpoint_of
from app.sentences.escapes import escaped

COLUMNS: Final = (
    Column("id", lambda row: row["id"]),
    Column("name", lambda row: row["name"], shrinks=True),
    Column("role", lambda row: row["role"]),
    Column("created", lambda row: local_time(row["created_at"]), drop=2),
    Column("expires", lambda row: local_time(row["expires_at"]), drop=1),
)
SESSION_COLUMNS: Final = (*COLUMNS, Column("token id", lambda row: row["root_id"], drop=3))


@click.group(cls=FullHelpGroup)
def token() -> None:
    """Manage access tokens. A token has a name and a role, and is shown once."""


@token.command("list")
@api_command
async def token_list(session: Session) -> None:
    """List tokens; only hashes are stored."""
    show(await session.api.get("/v2/token"), session.output, COLUMNS)


@token.command("create")
@click.option("--name", required=True, help="Owner of the token; shown in logs.")
@click.option("--role", required=True, type=click.Choice(["viewer", "operator", "editor", "admin"]))
@click.option("--expires", metavar="TIME", type=FUTURE, help="Expiry: 2027-01-01T00:00:00Z, or 30d (from now).")
@api_command
async def token_create(session: Session, name: str, role: str, expires: str | None) -> None:
    """Create a token and print it. It cannot be shown again."""
    made = await session.api.send("POST", "/v2/token", {"name": name, "role": role, "expires_at": expires})
    click.echo(escaped(made["token"]) if session.output == "table" else serialized(made, session.output))


@token.command("revoke")
@click.argument("token_id")
@api_command
async def token_revoke(session: Session, token_id: str) -> None:
    """Revoke a token and its browser sessions."""
    await session.api.send("DELETE", f"/v2/token/{token_id}")


@token.command("sessions")
@api_command
async def token_sessions(session: Session) -> None:
    """List open browser sessions, and the tokens that they came from."""
    show(await session.api.get("/v2/session"), session.output, SESSION_COLUMNS)


@token.command("end-session")
@click.argument("session_id")
@api_command
async def token_end_session(session: Session, session_id: str) -> None:
    """End a browser session; its token stays valid."""
    await session.api.send("DELETE", f"/v2/session/{session_id}")


@click.command("env")
@URL
@TOKEN
@RUNNING
def env(**_options: object) -> None:
    """Print the URL and a token as shell variables, for curl and other programs.

    \b
    eval "$(entrepot env)"
    curl -H "Authorization: Bearer $ENTREPOT_TOKEN" "$ENTREPOT_URL/v2/job"
    """  # noqa: D301  # to click a backspace is a paragraph that keeps its lines
    endpoint = endpoint_of(click.get_current_context())
    click.echo(f"export ENTREPOT_URL={shlex.quote(endpoint.url)}")
    if endpoint.token:
        click.echo(f"export ENTREPOT_TOKEN={shlex.quote(endpoint.token)}")


@click.command("sign-in")
@api_command
async def sign_in(session: Session) -> None:
    """Print a one-time sign-in link for a browser; it expires in 15 minutes."""
    click.echo(escaped(await session.api.sign_in_link()))
