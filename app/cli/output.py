"""Renders results: tables that fit the terminal, plain text in a pipe, JSON and YAML as the API returned them."""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import click

from app.sentences.escapes import escaped, escaped_json
from schemas.names import is_safe_text

OutputFormat = Literal["table", "json", "yaml", "name"]
NO_HEADERS: Final = "app.cli.no_headers"  # in the context of a command
NAME_KEYS: Final = ("name", "stream", "lane", "file", "id")  # the first that an item has is its name
GAP: Final = 2
MIN_COLUMN_WIDTH: Final = 8
MIN_TEXT_WIDTH: Final = 20
UNBOUNDED_WIDTH: Final = 100_000
COLOURS: Final = {
    "Running": "green",
    "Synced": "green",
    "Completed": "cyan",
    "Completed with rejects": "yellow",
    "Sleeping": "yellow",
    "Paused": "yellow",
    "Error": "red",
    "Failed": "red",
    "Refused": "red",
    "Killed": "bright_black",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `value` takes a row. On a narrow terminal, columns with the highest `drop` are hidden first."""

    title: str
    value: Callable[[Mapping[str, Any]], object]
    drop: int = 0
    right: bool = False
    shrinks: bool = False  # is truncated once all droppable columns are hidden
    wraps: int = 0  # minimum width to wrap to, before columns are dropped; 0: does not wrap


def show(
    data: Any, output: OutputFormat, columns: Sequence[Column], rows: Sequence[Mapping[str, Any]] | None = None
) -> None:
    """Print rows (by default the data itself) as a table, or the data as JSON or YAML."""
    if output == "table":
        print_table(data if rows is None else rows, columns)
    elif text := serialized(data, output):
        click.echo(text)


def serialized(data: Any, output: Literal["json", "yaml", "line", "name"]) -> str:
    """Return data as JSON, as YAML, as JSON on one line, or its names. On a terminal, unsafe characters are escaped."""
    if output == "name":
        return "\n".join(_names(data))
    if output == "yaml":
        import yaml  # noqa: PLC0415  # not needed for tables

        text: str = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
        if on_terminal() and not is_safe_text(text):
            text = yaml.safe_dump(data, sort_keys=False, allow_unicode=False, width=100)
        return text.rstrip("\n")
    import orjson  # noqa: PLC0415  # not needed for tables

    text = orjson.dumps(data, option=orjson.OPT_INDENT_2 if output == "json" else None).decode()
    return escaped_json(text) if on_terminal() else text


def _names(data: Any) -> list[str]:
    """Return the names of items, one a line and each once."""
    items = data if isinstance(data, list) else [data]
    names = (next((str(item[key]) for key in NAME_KEYS if item.get(key)), "") for item in items)
    return list(dict.fromkeys(escaped(name) for name in names if name))


def on_terminal() -> bool:
    """Whether standard output is a terminal; it may be closed."""
    return sys.stdout is not None and sys.stdout.isatty()


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    """Print an aligned table; in a pipe nothing is truncated or coloured."""
    from rich.console import Console  # noqa: PLC0415  # not needed for JSON and YAML
    from rich.table import Table  # noqa: PLC0415  # not needed for JSON and YAML
    from rich.text import Text  # noqa: PLC0415  # not needed for JSON and YAML

    console = Console(soft_wrap=False, highlight=False, width=None if on_terminal() else UNBOUNDED_WIDTH)
    cells = [[cell(column.value(row)) for column in columns] for row in rows]
    widths = fitted(columns, cells, console.width)
    kept = [index for index, width in enumerate(widths) if width]
    grid = Table(
        box=None,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
        header_style="dim",
        show_edge=False,
        show_header=_has_headers(),
    )
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


def _has_headers() -> bool:
    context = click.get_current_context(silent=True)
    return context is None or not context.meta.get(NO_HEADERS)


def fitted(columns: Sequence[Column], cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return the width of each column, 0 for a hidden one."""
    from rich.cells import cell_len  # noqa: PLC0415  # not needed for JSON and YAML

    widths = [
        max(cell_len(text) for text in (column.title, *(line[index] for line in cells)))
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
            widths[index] = max(min(widths[index], MIN_COLUMN_WIDTH), widths[index] - max(0, _total(widths) - room))
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
            return escaped(" ".join(str(value).split()))


def name_values(values: Mapping[str, Any]) -> str:
    """Return named values in one line, such as `city: Graz, spent: 20`."""
    return ", ".join(f"{name}: {_inline(value)}" for name, value in values.items())


def _inline(value: Any) -> str:
    return value if isinstance(value, str) else "—" if value is None else serialized(value, "line")


def local_time(value: str | None) -> str:
    """Return an RFC 3339 time in the local time zone, with the zone."""
    if not value:
        return ""
    return datetime.fromisoformat(value).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def _total(widths: Sequence[int]) -> int:
    shown = [width for width in widths if width]
    return sum(shown) + GAP * len(shown)


def print_facts(facts: Mapping[str, str]) -> None:
    """Print name-value pairs, one a line; keeps line breaks in values, omits empty values."""
    facts = {escaped(name): value for name, value in facts.items()}
    width = max(map(len, facts))
    for name, value in facts.items():
        head = click.style(f"{name:<{width}}", dim=True)
        for line in value.splitlines():
            click.echo(f"{head}  {hanging(escaped(line), width + GAP)}")
            head = " " * width


def hanging(text: str, indent: int) -> str:
    """Return text wrapped to a hanging indent on a terminal; unchanged in a pipe."""
    room = shutil.get_terminal_size().columns - indent if on_terminal() else UNBOUNDED_WIDTH
    if 2 * len(text) <= room or room < MIN_TEXT_WIDTH:
        return text
    from rich.console import Console  # noqa: PLC0415  # not needed for short text
    from rich.text import Text  # noqa: PLC0415  # as above

    lines = Text(text).wrap(Console(width=room), room, overflow="fold")
    return f"\n{' ' * indent}".join(line.plain.rstrip() for line in lines)
