"""Prints a rebuild."""

from collections.abc import Mapping
from typing import Any

import click

from app.cli.output import moment, print_facts, serialized
from app.cli.rebuild.report import print_report
from app.cli.rebuild.wait import says
from app.cli.session import Session


def status_of(found: Mapping[str, Any]) -> str:
    """Return the status as text."""
    if found["live"]:
        return "promoted, live"
    return str(found["status"]).replace("_", " ")


def print_rebuild(session: Session, found: Mapping[str, Any]) -> None:
    """Print a rebuild with its report; without a status, how to check it later."""
    if session.output != "table":
        click.echo(serialized(found, session.output))
    elif "status" not in found:
        click.echo(f"accepted; not visible yet, check with: entrepot rebuild show {found['id']}")
    else:
        _print_facts(found)


def _print_facts(found: Mapping[str, Any]) -> None:
    progress = "" if found["live"] else says(found)
    ended = f"{moment(found['ended_at'])}, by {found['ended_by']}" if found["ended_at"] else ""
    print_facts(
        {
            "rebuild": found["id"],
            "comment": found["note"],
            "status": status_of(found),
            "rules": "\n".join(found["recipe"]["in_words"]),
            "progress": progress,
            "started": f"{moment(found['started_at'])}, by {found['started_by']}",
            "ready": moment(found["ready_at"]),
            "ended": ended,
            "generation": str(found["generation"] or ""),
        }
    )
    if found["report"]:
        click.echo()
        print_report(found["report"])
    elif found["ready_at"] and found["report"] is None:
        click.echo("\nthe report has expired")
