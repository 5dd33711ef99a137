"""Options and the session that all API commands share: URL, token and output format."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from app.cli.client import ApiClient, connected
from app.cli.discovery import find
from app.cli.output import OutputFormat, serialized
from app.sentences.escapes import escaped
from connectors.redaction import redact_value

URL: Final = click.option("--url", envvar="ENTREPOT_URL", help="API URL. [env: ENTREPOT_URL]")
TOKEN: Final = click.option(
    "--token",
    envvar="ENTREPOT_TOKEN",
    help="Access token (prefer ENTREPOT_TOKEN, which keeps it out of the process list).",
)
RUNNING: Final = click.option(
    "--data-dir",
    envvar="ENTREPOT_DATA_DIR",
    default="data",
    type=click.Path(path_type=Path),
    help="Data directory of a running `entrepot up`, to find URL and token in. [env: ENTREPOT_DATA_DIR]",
)
OPTIONS: Final = (
    URL,
    TOKEN,
    RUNNING,
    click.option(
        "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", help="Output format."
    ),
)


@dataclass(frozen=True, slots=True)
class Session:
    """The API client and the output format of one command."""

    api: ApiClient
    output: OutputFormat

    def print_unless_table(self, data: Any) -> bool:
        """Print data as JSON or YAML and return True; for the format `table` print nothing and return False."""
        if self.output == "table":
            return False
        click.echo(serialized(data, self.output))
        return True


def unless_overridden(url: str | None, token: str | None) -> tuple[str | None, str | None]:
    """Return the URL and the token, without those of the environment if the command line names a data directory.

    They may belong to another cluster.
    """
    source = click.get_current_context().get_parameter_source
    if source("data_dir") is not ParameterSource.COMMANDLINE or source("url") is not ParameterSource.ENVIRONMENT:
        return url, token
    return None, None if source("token") is ParameterSource.ENVIRONMENT else token


def api_command(command: Callable[..., Coroutine[Any, Any, int | None]]) -> Callable[..., None]:
    """Turn `async def command(session, …)` into a click callback with the shared options."""

    @wraps(command)
    def run(url: str | None, token: str | None, data_dir: Path, output: OutputFormat, **arguments: Any) -> None:
        async def run_command() -> int | None:
            endpoint = find(*unless_overridden(url, token), data_dir)
            if output == "table":
                where = f"Entrepot at {redact_value(endpoint.url)}{endpoint.origin}"
                click.echo(click.style(escaped(where), dim=True), err=True)
            async with connected(endpoint.url, endpoint.token) as api:
                return await command(Session(api, output), **arguments)

        if code := asyncio.run(run_command()):
            raise click.exceptions.Exit(code)

    decorated: Callable[..., None] = run
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return decorated
