"""Command groups; a lazy one imports a command when it runs, so that `entrepot --help` and completion stay fast."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Final

import click
from typing_extensions import override

from app.cli.names import did_you_mean

MAX_HELP_CHARACTERS: Final = 1000  # longer than any first sentence


class SuggestingGroup(click.Group):
    """A group that suggests a similar command for an unknown one."""

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of the first argument."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            error.message = error.message.removesuffix(".") + did_you_mean(args[0], self.list_commands(ctx))
            raise


class FullHelpGroup(SuggestingGroup):
    """A group that lists commands with their whole first sentence, wrapped if needed."""

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [
                    (name, command.get_short_help_str(MAX_HELP_CHARACTERS))
                    for name, command in sorted(self.commands.items())
                ]
            )


@dataclass(frozen=True, slots=True)
class Lazy:
    """The module and attribute of a command, and its one-line help."""

    module: str
    attribute: str
    help: str


class LazyGroup(SuggestingGroup):
    """Commands in the order declared, imported on use."""

    lazy: Mapping[str, Lazy] = {}

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in declaration order."""
        return list(self.lazy)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        lazy = self.lazy.get(cmd_name)
        if lazy is None:
            return None
        command: click.Command = getattr(import_module(lazy.module), lazy.attribute)
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in self.lazy.items()])
