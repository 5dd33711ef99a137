"""`entrepot lane`: how far the lanes are behind, how fast they are, and pausing history."""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import click

from app.cli.lazy import SpelledOut
from app.cli.output import Column, cell, moment, print_facts, serialized, show
from app.cli.session import Session, talks

LANE: Final = click.argument("lane")
STEPS: Final = {"mapping": "raw messages to map", "profiles": "what they say, to take up"}
MINUTE: Final = 60
HOUR: Final = 3600


def rate(value: float | None) -> str:
    """Return so many in a second; only nothing is 0."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.2g}"


def length(seconds: float | None) -> str:
    """Return a length of time for a person; empty when it is unknown."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s" if whole or not seconds else "1 s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE} s"
    return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"


LANES: Final = (
    Column("lane", lambda row: row["lane"]),
    Column("step", lambda row: row["step"]),
    Column("behind", lambda row: row["behind"], right=True),
    Column("per second", lambda row: rate(row["records_per_second"]), right=True, drop=2),
    Column("messages/s", lambda row: rate(row["messages_per_second"]), right=True, drop=1),
    Column("through in", lambda row: length(row["eta_seconds"]), right=True),
    Column("oldest waiting", lambda row: moment(row["waiting_since"])),
    Column("state", lambda row: row["state"]),
)
PARTITIONS: Final = (
    Column("step", lambda row: row["step"]),
    Column("partition", lambda row: row["partition"], right=True),
    Column("position", lambda row: row["position"], right=True),
    Column("end", lambda row: row["end"], right=True),
    Column("behind", lambda row: row["behind"], right=True),
    Column("oldest waiting", lambda row: moment(row["waiting_since"])),
)


@click.group(cls=SpelledOut)
def lane() -> None:
    """How far the lanes are behind. LANE is `realtime` or `backfill`; only backfill can be paused."""


@lane.command("list")
@talks
async def list_lanes(session: Session) -> None:
    """Show how far each lane is behind, and the profiles behind it.

    What waits are records: single messages, or some thousands of them packed together.
    """
    found = await session.api.get("/v2/lane")
    show(found, session.output, LANES, [row for each in found for row in _rows(each)])


@lane.command("show")
@LANE
@talks
async def show_lane(session: Session, lane: str) -> None:
    """Show how far a LANE is behind, by partition."""
    found = await session.api.get(_path(lane))
    if session.output != "table":
        click.echo(serialized(found, session.output))
        return
    _print_facts(found)
    click.echo()
    rows = [{"step": step, **each} for step in STEPS for each in found[step]["partitions"]]
    show(found, "table", PARTITIONS, rows)


@lane.command("pause")
@LANE
@talks
async def pause_lane(session: Session, lane: str) -> None:
    """Pause the backfill LANE within two seconds, until it is resumed. Nothing is lost: messages wait.

    Exit code 4 for real time, which can't be paused.
    """
    _say(session, await session.api.send("POST", _path(lane, "/pause")))


@lane.command("resume")
@LANE
@talks
async def resume_lane(session: Session, lane: str) -> None:
    """Let a paused LANE go on where it stopped."""
    _say(session, await session.api.send("POST", _path(lane, "/resume")))


def _say(session: Session, found: Mapping[str, Any]) -> None:
    if session.output != "table":
        click.echo(serialized(found, session.output))
    else:
        _print_facts(found)


def _print_facts(found: Mapping[str, Any]) -> None:
    steps = {step: _step(found[step]) for step in STEPS}
    switched = f", by {found['switched_by']} at {moment(found['switched_at'])}" if found["switched_by"] else ""
    print_facts({"lane": found["name"], "state": f"{_state(found)}{switched}", **steps})


def _step(step: Mapping[str, Any]) -> str:
    if not step["behind"]:
        return "nothing waits"
    left = f", through in about {length(step['eta_seconds'])}" if step["eta_seconds"] else ""
    since = f", the oldest since {moment(step['waiting_since'])}" if step["waiting_since"] else ""
    return f"{cell(step['behind'])} {'record waits' if step['behind'] == 1 else 'records wait'}{since}{left}"


def _rows(found: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for step in STEPS:
        mapping = step == "mapping"
        messages = found["messages_per_second"] if mapping else None
        state = _state(found) if mapping else ""
        yield {"lane": found["name"], "step": step, "state": state, "messages_per_second": messages, **found[step]}


def _state(found: Mapping[str, Any]) -> str:
    return "Paused" if found["paused"] else "Running"


def _path(lane: str, rest: str = "") -> str:
    return f"/v2/lane/{quote(lane, safe='')}{rest}"
