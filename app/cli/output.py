"""How results look: tables that fit the terminal, plain text in a pipe, JSON and YAML as the API gave them."""

import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import click

Format = Literal["table", "json", "yaml"]
GAP: Final = 2
NARROWEST: Final = 8
NARROWEST_TEXT: Final = 20
UNBOUNDED: Final = 100_000
# Control characters, ends of line among them, and what turns the direction of writing around.
ACTED_ON: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
COLOURS: Final = {
    "Running": "green",
    "Synced": "green",
    "Completed": "cyan",
    "Sleeping": "yellow",
    "Paused": "yellow",
    "Error": "red",
    "Failed": "red",
    "Refused": "red",
    "Killed": "bright_black",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `value` takes a row. Where there is no room, the columns with the highest `drop` go first."""

    title: str
    value: Callable[[Mapping[str, Any]], object]
    drop: int = 0
    right: bool = False
    shrinks: bool = False  # is shortened when the others are gone
    wraps: int = 0  # goes on in lines below, before others are dropped, down to so many characters; 0: doesn't


def show(data: Any, output: Format, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]] | None = None) -> None:
    """Print rows (the data itself when not given) as a table, or the data as JSON or YAML."""
    if output == "table":
        print_table(data if rows is None else rows, columns)
    else:
        click.echo(serialized(data, output))


def serialized(data: Any, output: Literal["json", "yaml", "line"]) -> str:
    """Return data as JSON, as YAML, or as JSON on one line."""
    if output == "yaml":
        import yaml  # noqa: PLC0415  # a table doesn't need it

        text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
        return text.rstrip("\n")
    import orjson  # noqa: PLC0415  # a table doesn't need it

    return orjson.dumps(data, option=orjson.OPT_INDENT_2 if output == "json" else None).decode()


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Print an aligned table; in a pipe nothing is cut or coloured."""
    from rich.console import Console  # noqa: PLC0415  # JSON and YAML don't need it
    from rich.table import Table  # noqa: PLC0415  # JSON and YAML don't need it
    from rich.text import Text  # noqa: PLC0415  # JSON and YAML don't need it

    console = Console(soft_wrap=False, highlight=False, width=None if sys.stdout and sys.stdout.isatty() else UNBOUNDED)
    cells = [[cell(column.value(row)) for column in columns] for row in rows]
    widths = fitted(columns, cells, console.width)
    kept = [index for index, width in enumerate(widths) if width]
    grid = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim", show_edge=False)
    for index in kept:
        column = columns[index]
        grid.add_column(
            column.title.upper(),
            width=widths[index],
            no_wrap=not column.wraps,
            justify="right" if column.right else "left",
        )
    for line in cells:
        grid.add_row(
            *(
                Text(line[index], COLOURS.get(line[index], ""), overflow="fold" if columns[index].wraps else "ellipsis")
                for index in kept
            )
        )
    with console.capture() as captured:
        console.print(grid)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def fitted(columns: Sequence[Column], cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return the width of each column, 0 for one that has no room."""
    from rich.cells import cell_len  # noqa: PLC0415  # JSON and YAML don't need it

    widths = [
        max(cell_len(each) for each in (column.title, *(line[index] for line in cells)))
        for index, column in enumerate(columns)
    ]
    spare = {index: widths[index] - column.wraps for index, column in enumerate(columns) if column.wraps}
    while _total(widths) > room and max(spare.values(), default=0) > 0:
        widest = max(spare, key=lambda index: spare[index])
        widths[widest] -= 1
        spare[widest] -= 1
    droppable = sorted((column.drop, index) for index, column in enumerate(columns) if column.drop)
    while _total(widths) > room and droppable:
        widths[droppable.pop()[1]] = 0
    for index, column in enumerate(columns):
        if column.shrinks:
            widths[index] = max(min(widths[index], NARROWEST), widths[index] - max(0, _total(widths) - room))
    return widths


def cell(value: object) -> str:
    """Return one value as one line."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case _:
            return visible(" ".join(str(value).split()))


def visible(text: str) -> str:
    """Return text with what a terminal would act on shown as an escape: people and providers wrote it."""
    return ACTED_ON.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def moment(value: str | None) -> str:
    """Return an RFC 3339 time in the zone of this machine, with the zone."""
    if not value:
        return ""
    return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def _total(widths: Sequence[int]) -> int:
    shown = [each for each in widths if each]
    return sum(shown) + GAP * len(shown)


def print_facts(facts: Mapping[str, str]) -> None:
    """Print names and values below each other; values of many lines keep them, empty ones are left out."""
    width = max(map(len, facts))
    for name, value in facts.items():
        head = click.style(f"{name:<{width}}", dim=True)
        for line in value.splitlines():
            click.echo(f"{head}  {hanging(visible(line), width + GAP)}")
            head = " " * width


def hanging(text: str, indent: int) -> str:
    """Return text that begins at a column and, on a terminal, goes on below it; in a pipe it stays a line."""
    room = shutil.get_terminal_size().columns - indent if sys.stdout and sys.stdout.isatty() else UNBOUNDED
    if 2 * len(text) <= room or room < NARROWEST_TEXT:
        return text
    from rich.console import Console  # noqa: PLC0415  # what is short doesn't need it
    from rich.text import Text  # noqa: PLC0415  # as above

    lines = Text(text).wrap(Console(width=room), room, overflow="fold")
    return f"\n{' ' * indent}".join(each.plain.rstrip() for each in lines)
