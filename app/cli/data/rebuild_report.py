"""Prints a rebuild: its status, progress and report; waits until it is ready or live."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import click

from app.cli.data.lane import rate, short_duration
from app.cli.job.wait import ended_within
from app.cli.output import Column, local_time, name_values, print_facts, print_table
from app.cli.progress import bar
from app.cli.session import Session
from app.sentences.escapes import escaped
from app.sentences.sentence import counted

POLL_INTERVAL_SECONDS: Final = 0.5
PHASES: Final = {
    "building": "reading messages",
    "comparing": "comparing profiles",
    "caught_up": "caught up with live messages",
    "waiting_for_lanes": "waiting for the lanes to switch to its rules",
    "handover": "handing over",
    "activating": "activating",
    "live": "live",
}
WORDS: Final = {
    "unchanged": "unchanged",
    "evidence_changed": "same values, different source messages",
    "changed": "changed values or identities",
    "added": "added",
    "removed": "removed",
    "split": "split",
    "merged": "merged",
    "changing": "changing during the comparison, skipped",
}
PARTS: Final = {
    "changed": ("before", "after"),
    "added": ("identities", "attributes"),
    "removed": ("identities", "attributes"),
    "split": ("split_into",),
    "merged": ("merged_from",),
}


async def wait_for_rebuild(
    session: Session, rebuild_id: str, until: Literal["ready", "live"], time_limit: int | None
) -> Mapping[str, Any]:
    """Return a rebuild once it is ready, live, discarded or superseded.

    Raises:
        CommandError: it is not within the limit, in seconds.

    """
    advice = f"see: entrepot rebuild show {rebuild_id}"
    async with ended_within(time_limit, "the rebuild", advice):
        return await _follow(session, rebuild_id, until)


async def _follow(session: Session, rebuild_id: str, until: Literal["ready", "live"]) -> Mapping[str, Any]:
    with bar("rebuild") as update:
        while True:
            rebuild: Mapping[str, Any] = await session.api.get(f"/v2/rebuild/{rebuild_id}")
            if _is_over(rebuild, until):
                return rebuild
            progress = rebuild["progress"] or {}
            update(progress.get("ratio") or 0, 1, progress_text(rebuild))
            await asyncio.sleep(POLL_INTERVAL_SECONDS)


def _is_over(rebuild: Mapping[str, Any], until: Literal["ready", "live"]) -> bool:
    match rebuild["status"]:
        case "under_way":
            return False
        case "promoted" if until == "live":
            return rebuild["live"] or rebuild["progress"] is None
        case _:
            return True


def progress_text(rebuild: Mapping[str, Any]) -> str:
    """Describe the progress of a rebuild in one line; empty when it is over."""
    progress = rebuild["progress"]
    if progress is None:
        return "queued (no worker has picked it up)" if rebuild["status"] == "under_way" else ""
    if rebuild["status"] == "ready":
        return PHASES["caught_up"]
    parts = [PHASES.get(progress["phase"], progress["phase"])]
    if progress["phase"] == "building":
        parts += [f"{100 * progress['ratio']:.0f} %"] if progress["ratio"] is not None else []
        parts.append(f"{progress['messages']:,} messages")
        parts += [f"{rate(progress['messages_per_second'])}/s"] if progress["messages_per_second"] else []
        parts += [f"ETA {short_duration(progress['eta_seconds'])}"] if progress["eta_seconds"] else []
    if progress["phase"] == "waiting_for_lanes" and progress["waiting_for"]:
        parts.append(f"{len(progress['waiting_for'])} partitions left")
    return ", ".join(parts)


def status_of(rebuild: Mapping[str, Any]) -> str:
    """Return the status as text."""
    if rebuild["live"]:
        return "promoted, live"
    return str(rebuild["status"]).replace("_", " ")


def print_rebuild(session: Session, rebuild: Mapping[str, Any], *, report: bool = True) -> None:
    """Print a rebuild, in a table by default with its report; without a status, how to check it later."""
    if session.print_unless_table(rebuild):
        return
    if "status" not in rebuild:
        click.echo(escaped(f"accepted; not visible yet, check with: entrepot rebuild show {rebuild['id']}"))
        return
    _print_status(rebuild)
    if report and rebuild["report"]:
        click.echo()
        print_report(rebuild["report"])
    elif report and rebuild["ready_at"] and rebuild["report"] is None:
        click.echo("\nthe report has expired")


def _print_status(rebuild: Mapping[str, Any]) -> None:
    progress = "" if rebuild["live"] else progress_text(rebuild)
    ended = f"{local_time(rebuild['ended_at'])}, by {rebuild['ended_by']}" if rebuild["ended_at"] else ""
    print_facts(
        {
            "rebuild": rebuild["id"],
            "comment": rebuild["note"],
            "status": status_of(rebuild),
            "rules": "\n".join(rebuild["spec"]["in_words"]),
            "progress": progress,
            "started": f"{local_time(rebuild['started_at'])}, by {rebuild['started_by']}",
            "ready": local_time(rebuild["ready_at"]),
            "ended": ended,
            "generation": str(rebuild["generation"] or ""),
        }
    )


def print_report(report: Mapping[str, Any]) -> None:
    """Print a report of the API."""
    compared = local_time(report["compared_at"])
    if report["skipped_reason"]:
        print_facts({"compared": f"skipped: {report['skipped_reason']}"})
        return
    sides = {
        name: f"{counted(report[name]['profiles'], 'profile')}, digest {report[name]['digest']}"
        for name in ("live", "rebuilt")
    }
    print_facts({"compared": compared, **sides, "equal": "yes" if report["equal"] else "no"})
    click.echo()
    counts = dict(report["counts"])
    counts["unchanged"] -= counts["evidence_changed"]  # the API counts those among the unchanged ones
    rows = [{"what": what, "count": f"{counts[name]:,}"} for name, what in WORDS.items() if counts.get(name)]
    print_table(rows, [Column("profiles", lambda row: row["count"], right=True), Column("", lambda row: row["what"])])
    for name, samples in report["samples"].items():
        click.echo()
        print_table(samples, [Column(name, lambda row: row["profile"], wraps=14), *map(_column, PARTS[name])])


def _column(name: str) -> Column:
    return Column(name.replace("_", " "), lambda row: _part(row[name]), wraps=10)


def _part(part: Mapping[str, Any] | Sequence[str]) -> str:
    """Format a part of a sample in one line: identities as a list, attributes with values."""
    if not isinstance(part, Mapping):
        return ", ".join(part)
    if set(part) <= {"identities", "attributes"}:
        both = [_part(part[name]) for name in ("identities", "attributes") if part.get(name)]
        return "; ".join(both)
    return name_values(part)
