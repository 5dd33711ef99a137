"""Options and the session that all API commands share: URL, token and output format."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from app.cli.client import ApiClient, MissingError, connected
from app.cli.discovery import Endpoint, find
from app.cli.names import suggestion
from app.cli.output import NO_HEADERS, OutputFormat, on_terminal, serialized
from app.sentences.escapes import escaped
from connectors.redaction import redact_value

URL: Final = click.option("--url", envvar="ENTREPOT_URL", help="API URL. [env: ENTREPOT_URL]")
TOKEN: Final = click.option(
    "--token",
    envvar="ENTREPOT_TOKEN",
    help="Access token (prefer ENTREPOT_TOKEN, which keeps it out of the process list).",
)
WATCH_INTERVAL_SECONDS: Final = 2.0
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
        "-o",
        "--output",
        type=click.Choice(["table", "json", "yaml", "name"]),
        default="table",
        help="Output format; `name`: only the names, one a line.",
    ),
    click.option("--no-headers", is_flag=True, help="Print tables without their headers."),
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


def watchable(command: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    """Add `--watch`, which repeats a command that reads."""

    @click.option("--watch", is_flag=True, help="Repeat every two seconds, until Ctrl-C.")
    @wraps(command)
    async def run(session: Session, *, watch: bool = False, **arguments: Any) -> None:
        await command(session, **arguments)
        while watch:
            await asyncio.sleep(WATCH_INTERVAL_SECONDS)
            if on_terminal():
                click.clear()
            await command(session, **arguments)

    return run


def unless_overridden(context: click.Context) -> tuple[str | None, str | None]:
    """Return the URL and the token, without those of the environment if the command line names a data directory.

    They may belong to another cluster.
    """
    url, token, source = context.params.get("url"), context.params.get("token"), context.get_parameter_source
    if source("data_dir") is not ParameterSource.COMMANDLINE or source("url") is not ParameterSource.ENVIRONMENT:
        return url, token
    return None, None if source("token") is ParameterSource.ENVIRONMENT else token


def endpoint_of(context: click.Context) -> Endpoint:
    """Return the API that the options of a command name.

    Raises:
        CommandError: they name a data directory in which none is running.

    """
    return find(*unless_overridden(context), context.params.get("data_dir") or Path("data"))


def api_command(command: Callable[..., Coroutine[Any, Any, int | None]]) -> Callable[..., None]:
    """Turn `async def command(session, …)` into a click callback with the shared options."""

    @wraps(command)
    def run(output: OutputFormat, **arguments: Any) -> None:
        context = click.get_current_context()
        context.meta[NO_HEADERS] = arguments.pop("no_headers")
        arguments = {name: value for name, value in arguments.items() if name not in {"url", "token", "data_dir"}}

        async def run_command() -> int | None:
            endpoint = endpoint_of(context)
            if output == "table":
                where = f"Entrepot at {redact_value(endpoint.url)}{endpoint.origin}"
                click.echo(click.style(escaped(where), dim=True), err=True)
            async with connected(endpoint.url, endpoint.token) as api:
                try:
                    return await command(Session(api, output), **arguments)
                except MissingError as error:
                    text, *request = error.message.split("\n", 1)
                    error.message = "\n".join([text + await suggestion(api, error.path), *request])
                    raise

        if code := asyncio.run(run_command()):
            raise click.exceptions.Exit(code)

    decorated: Callable[..., None] = run
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return decorated
