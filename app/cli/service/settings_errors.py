"""Loads settings for a command that needs no API, with actionable error messages."""

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click
from pydantic import ValidationError

from app.cli.exits import REFUSED, CommandError
from app.sentences.escapes import escaped
from app.sentences.validation import validation_sentence
from app.settings import Settings

PREFIX: Final = "ENTREPOT_"
OF_COMMANDS: Final = frozenset({"ENTREPOT_URL", "ENTREPOT_TOKEN", "ENTREPOT_COMPLETE"})


DATA_DIR: Final = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Data directory. Default: `data`. [env: ENTREPOT_DATA_DIR]",
)


def settings_of(data_dir: Path | None) -> Settings:
    """Return the settings, with a data directory that the command line may name."""
    return load_settings({} if data_dir is None else {"data_dir": data_dir})


def load_settings(given: Mapping[str, Any]) -> Settings:
    """Return the settings of the environment, overridden by the command line."""
    for name, meant in unknown_names(os.environ):
        hint = f"; did you mean {meant}?" if meant else ""
        click.echo(f"unknown setting {escaped(name)} is ignored{hint}", err=True)
    try:
        return Settings(**given)
    except ValidationError as error:
        # The value may be a secret: do not print it.
        invalid = [
            ("_".join(map(str, detail["loc"])).upper(), validation_sentence(detail)) for detail in error.errors()
        ]
        lines = [f"  {PREFIX}{name}: {message}" for name, message in invalid]
        raise CommandError("invalid settings:\n" + "\n".join(lines), REFUSED) from error


def unknown_names(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each unknown `ENTREPOT_*` name, with the most similar known one."""
    known_names = OF_COMMANDS | {PREFIX + field.upper() for field in Settings.model_fields}
    for name in sorted(environment):
        if name.upper().startswith(PREFIX) and name.upper() not in known_names:
            meant = get_close_matches(
                name.upper().removeprefix(PREFIX), [known.removeprefix(PREFIX) for known in known_names], 1
            )
            yield name, PREFIX + meant[0] if meant else ""
