"""What every command that talks to the API shares: where it is, who asks, and how the answer is shown."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from app.cli.client import Api, connected
from app.cli.discovery import find
from app.cli.output import Format

OPTIONS: Final = (
    click.option("--url", envvar="ENTREPOT_URL", help="Of the API. [env: ENTREPOT_URL]"),
    click.option("--token", envvar="ENTREPOT_TOKEN", help="Who asks; better in the environment: ENTREPOT_TOKEN."),
    click.option(
        "--data-dir",
        envvar="ENTREPOT_DATA_DIR",
        default="data",
        type=click.Path(path_type=Path),
        help="Of a running `entrepot up`, where url and token are found. [env: ENTREPOT_DATA_DIR]",
    ),
    click.option(
        "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", help="How it is shown."
    ),
)


@dataclass(frozen=True, slots=True)
class Session:
    """One command's way to the API, and how it was asked to show what it finds."""

    api: Api
    output: Format


def talks(command: Callable[..., Coroutine[Any, Any, int | None]]) -> Callable[..., None]:
    """Turn `async def command(session, …)` into one that click can call, with the options that all share."""

    @wraps(command)
    def run(url: str | None, token: str | None, data_dir: Path, output: Format, **arguments: Any) -> None:
        async def talk() -> int | None:
            found = find(url, token, data_dir)
            async with connected(found.url, found.token) as api:
                return await command(Session(api, output), **arguments)

        if code := asyncio.run(talk()):
            raise click.exceptions.Exit(code)

    decorated: Callable[..., None] = run
    for option in reversed(OPTIONS):
        decorated = option(decorated)
    return decorated
