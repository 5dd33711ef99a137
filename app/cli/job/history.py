"""`entrepot job history`, `diff` and `revert`: configuration versions of jobs."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from app.cli.exits import NOT_FOUND, Stopped
from app.cli.job.actions import say_done
from app.cli.job.reference import find_job
from app.cli.output import Column, moment, serialized, show, visible
from app.cli.session import Session, talks
from projections.views.job_summary import cadence_in_words
from schemas.policies import Cadence, QuietWindow

COLOURS_OF_LINES: Final = {"+": "green", "-": "red", "@": "cyan"}
HISTORY: Final = (
    Column("version", lambda row: row["version"], right=True),
    Column("at", lambda row: moment(row["at"])),
    Column("by", lambda row: row["by"], wraps=8),
    Column("cadence", lambda row: row["cadence"], wraps=9),
    Column("changes", lambda row: row["changed"], wraps=16),
)


@click.command(short_help="List configuration versions.")
@click.argument("job")
@talks
async def history(session: Session, job: str) -> None:
    """List the configuration versions of a JOB, newest first, with the changes of each."""
    _, versions = await _versions(session, job)
    older = [*versions[1:], None]
    rows = [_row(version, before) for version, before in zip(versions, older, strict=True)]
    show(versions, session.output, HISTORY, rows)


@click.command(short_help="Compare two configuration versions.")
@click.argument("job")
@click.argument("old", type=int, required=False)
@click.argument("new", type=int, required=False)
@talks
async def diff(session: Session, job: str, old: int | None, new: int | None) -> None:
    """Compare two configuration versions of a JOB: OLD (default: the one before NEW) and NEW (default: the newest)."""
    _, versions = await _versions(session, job)
    after = _version(versions, new or versions[0]["version"])
    before = _version(versions, old or max(1, after["version"] - 1))
    if session.output != "table":
        click.echo(serialized([before, after], session.output))
        return
    if len(versions) == 1:
        click.echo("only version 1 exists: nothing to compare")
    elif _text(before) == _text(after):
        click.echo(f"versions {before['version']} and {after['version']} are identical")
    for line in difflib.unified_diff(_text(before), _text(after), _title(before), _title(after), lineterm=""):
        click.echo(click.style(visible(line), fg=COLOURS_OF_LINES.get(line[:1])))


@click.command(short_help="Revert to an older configuration.")
@click.argument("job")
@click.argument("version", type=int)
@talks
async def revert(session: Session, job: str, version: int) -> None:
    """Revert a JOB to VERSION of its configuration, schedule and retry policy, as a new version."""
    found = await find_job(session.api, job)
    answer = await session.api.answer("POST", f"/v2/job/{found['id']}/revert/{version}")
    say_done(session, found | answer["data"], answer["message"])


async def _versions(session: Session, job: str) -> tuple[str, list[Mapping[str, Any]]]:
    found = await find_job(session.api, job)
    return found["id"], await session.api.get(f"/v2/job/{found['id']}/configurations")


def _version(versions: Sequence[Mapping[str, Any]], number: int) -> Mapping[str, Any]:
    found = next((version for version in versions if version["version"] == number), None)
    if found is None:
        raise Stopped(f"no version {number}; the newest is {versions[0]['version']}", NOT_FOUND)
    return found


def _row(version: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    cadence = {name: value for name, value in version["cadence"].items() if name != "quiet"}
    quiet = tuple(QuietWindow(**window | {"days": tuple(window["days"])}) for window in version["cadence"]["quiet"])
    return {
        **{name: version[name] for name in ("version", "at", "by")},
        "cadence": cadence_in_words(Cadence(**cadence, quiet=quiet)),
        "changed": "created" if before is None else _changed(before, version),
    }


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return the changes of a version: fields in the syntax of `job edit`, a removed one with `-`."""
    changes = [f"reverted to version {after['reverted_from']}"] if after["reverted_from"] else []
    old, new = before["configuration"], after["configuration"]
    changes += [_field(name, value) for name, value in new.items() if name not in old or old[name] != value]
    changes += [f"-{name}" for name in old if name not in new]
    changes += [part for part in ("cadence", "retry") if before[part] != after[part]]
    return ", ".join(changes) or "nothing"


def _field(name: str, value: Any) -> str:
    return f"{name}={value}" if isinstance(value, str) else f"{name}:={serialized(value, 'line')}"


def _title(version: Mapping[str, Any]) -> str:
    return f"version {version['version']}, {moment(version['at'])}, {version['by']}"


def _text(version: Mapping[str, Any]) -> list[str]:
    """Return a version as YAML lines in a stable order."""
    kept = {name: version[name] for name in ("configuration", "cadence", "retry")}
    return serialized({name: dict(sorted(part.items())) for name, part in kept.items()}, "yaml").splitlines()
