"""How a rebuild's report looks in a terminal: facts, counts, samples. Takes whatever the builder said."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from app.cli.output import Column, print_facts, print_table, serialized

MOST_COLUMNS: Final = 6


def print_report(report: Mapping[str, Any]) -> None:
    """Print a report: each member by what it is."""
    facts = {_title(name): _text(value) for name, value in report.items() if not _has_parts(value)}
    if facts:
        print_facts(facts)
    for name, value in report.items():
        if _has_parts(value):
            _print_part(name, value)


def _has_parts(value: object) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and bool(value))


def _print_part(name: str, value: Any) -> None:
    if isinstance(value, list):
        _print_rows(name, value)
        return
    plain = [{"name": _title(each), "value": part} for each, part in value.items() if not _has_parts(part)]
    if plain:
        click.echo()
        title = Column(_title(name), lambda row: row["name"])
        counts = all(isinstance(row["value"], int) for row in plain)
        print_table(plain, [title, Column("", lambda row: _shown(row["value"]), right=counts, shrinks=not counts)])
    for each, part in value.items():
        if _has_parts(part):
            _print_part(f"{name}: {each}", part)


def _print_rows(name: str, rows: Sequence[Any]) -> None:
    """Print samples as a table, what they have in common as its columns."""
    click.echo()
    click.echo(_title(name))
    flat = [row if isinstance(row, Mapping) else {"": row} for row in rows]
    names = list(dict.fromkeys(column for row in flat for column in row))[:MOST_COLUMNS]
    print_table(flat, [_column(each, place) for place, each in enumerate(names)])


def _column(name: str, place: int) -> Column:
    return Column(_title(name), lambda row: _shown(row.get(name)), wraps=14 if place == 0 else 10)


def _title(name: str) -> str:
    return name.replace("_", " ")


def _shown(value: object) -> object:
    """Return a value as a cell shows it: a number or a text as it is, parts as JSON."""
    return value if value is None or isinstance(value, str | int) else serialized(value, "line")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else value if isinstance(value, str) else serialized(value, "line")
