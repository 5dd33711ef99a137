"""Options of commands that send a file: its format, by the names of the API's query parameters."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS: Final = (
    click.option("--timestamp-field", metavar="FIELD", help="Field that holds the event time."),
    click.option("--timestamp-format", metavar="FORMAT", help="auto, epoch, epoch_ms, … or an strptime format."),
    click.option("--time-zone", metavar="ZONE", help="IANA time zone of timestamps without an offset; default UTC."),
    click.option("--encoding", metavar="NAME", help="Text encoding, such as cp1252 or utf-16; default UTF-8."),
    click.option(
        "--header",
        type=click.Choice(["present", "absent"]),
        help="Whether a CSV file has a header row; by default absent with --headers.",
    ),
    click.option("--headers", metavar="A,B,…", help="CSV column names; with --header present, instead of those there."),
    click.option("--delimiter", metavar="CHARACTER", help="CSV delimiter; `tab` for a tab."),
    click.option(
        "--quote",
        metavar="CHARACTER",
        callback=lambda _context, _option, value: "none" if value == "" else value,
        help="CSV quote; `none` or an empty one disables quoting.",
    ),
    click.option("--escape", metavar="CHARACTER", help="CSV escape character: a backslash; by default none."),
    click.option("--comment", metavar="CHARACTER", help="Skip CSV lines that begin with this character."),
    click.option("--skip-lines", metavar="N", type=click.IntRange(0), help="CSV lines to skip before the header row."),
)


def file_options(command: Command) -> Command:
    """Add the options to a command, which takes them as keyword arguments."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
