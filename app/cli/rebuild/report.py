"""Prints the report of a rebuild: counts of changed profiles, and examples of each kind."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from app.cli.output import Column, moment, print_facts, print_table, serialized

WORDS: Final = {
    "unchanged": "unchanged",
    "other_evidence": "same values, different source messages",
    "changed": "changed values or identities",
    "added": "added",
    "removed": "removed",
    "split": "split",
    "merged": "merged",
    "moving": "changing during the comparison, skipped",
}
PARTS: Final = {
    "changed": ("before", "after"),
    "added": ("identities", "attributes"),
    "removed": ("identities", "attributes"),
    "split": ("into",),
    "merged": ("of",),
}


def print_report(report: Mapping[str, Any]) -> None:
    """Print a report of the API."""
    compared = moment(report["compared_at"])
    if report["not_compared"]:
        print_facts({"compared": f"skipped: {report['not_compared']}"})
        return
    sides = {
        name: f"{_profiles(report[name]['profiles'])}, digest {report[name]['digest']}" for name in ("live", "rebuilt")
    }
    print_facts({"compared": compared, **sides, "equal": "yes" if report["equal"] else "no"})
    click.echo()
    counts = report["counts"]
    rows = [{"what": what, "count": f"{counts[name]:,}"} for name, what in WORDS.items() if counts.get(name)]
    print_table(rows, [Column("profiles", lambda row: row["count"], right=True), Column("", lambda row: row["what"])])
    for name, samples in report["samples"].items():
        click.echo()
        print_table(samples, [Column(name, lambda row: row["profile"], wraps=14), *map(_column, PARTS[name])])


def _profiles(count: int) -> str:
    return "1 profile" if count == 1 else f"{count:,} profiles"


def _column(name: str) -> Column:
    return Column(name, lambda row: _shown(row[name]), wraps=10)


def _shown(part: Mapping[str, Any] | Sequence[str]) -> str:
    """Format a part of a sample in one line: identities as a list, attributes with values."""
    if not isinstance(part, Mapping):
        return ", ".join(part)
    if set(part) <= {"identities", "attributes"}:
        both = [_shown(part[each]) for each in ("identities", "attributes") if part.get(each)]
        return "; ".join(both)
    return ", ".join(f"{name}: {_value(value)}" for name, value in part.items())


def _value(value: Any) -> str:
    return value if isinstance(value, str) else "—" if value is None else serialized(value, "line")
