"""Shell completion."""

from typing import Literal

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: Literal["bash", "zsh", "fish"]) -> None:
    """Print the completion script for a SHELL.

    \b
    bash: put  eval "$(entrepot completion bash)"  in ~/.bashrc
    zsh:  put  eval "$(entrepot completion zsh)"   in ~/.zshrc
    fish: entrepot completion fish > ~/.config/fish/completions/entrepot.fish
    """  # noqa: D301  # to click a backspace is a paragraph that keeps its lines
    completion_class = get_completion_class(shell)
    assert completion_class is not None
    root = context.find_root().command
    click.echo(completion_class(root, {}, "entrepot", "_ENTREPOT_COMPLETE").source())
