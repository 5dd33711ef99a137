"""Groups of commands: one whose modules load when they are used, so that `entrepot --help` and completion stay fast."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import click
from typing_extensions import override

WHOLE: Final = 1000  # characters: no first sentence is longer


class SpelledOut(click.Group):
    """Commands that are listed with their whole first sentence, on several lines if need be."""

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, each.get_short_help_str(WHOLE)) for name, each in sorted(self.commands.items())])


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is, and what it does in a few words."""

    module: str
    attribute: str
    help: str


class LazyGroup(click.Group):
    """Commands by name, in the order given."""

    lazy: Mapping[str, Lazy] = {}

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names as they were declared: the everyday ones come first."""
        return list(self.lazy)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a command."""
        lazy = self.lazy.get(cmd_name)
        if lazy is None:
            return None
        command: click.Command = getattr(import_module(lazy.module), lazy.attribute)
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list without loading anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in self.lazy.items()])
