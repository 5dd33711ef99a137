"""`entrepot lane`: lag and throughput of the lanes; pausing backfill."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from app.cli.client import api_path
from app.cli.lazy import FullHelpGroup
from app.cli.names import complete_lanes
from app.cli.output import Column, local_time, print_facts, show
from app.cli.session import Session, api_command, watchable
from app.sentences.sentence import counted

LANE: Final = click.argument("lane", shell_complete=complete_lanes)
STEPS: Final = {"mapping": "raw messages to map", "profiles": "mapped messages to apply"}
MINUTE: Final = 60
HOUR: Final = 3600


def rate(value: float | None) -> str:
    """Format a rate; only zero is shown as 0."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.2g}"


def short_duration(seconds: float | None) -> str:
    """Format a duration; empty when it is unknown."""
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
    Column("lag", lambda row: row["lag"], right=True),
    Column("per second", lambda row: rate(row["records_per_second"]), right=True, drop=2),
    Column("messages/s", lambda row: rate(row["messages_per_second"]), right=True, drop=1),
    Column("eta", lambda row: short_duration(row["eta_seconds"]), right=True),
    Column("oldest pending", lambda row: local_time(row["oldest_pending_at"])),
    Column("state", lambda row: row["state"]),
)
PARTITIONS: Final = (
    Column("step", lambda row: row["step"]),
    Column("partition", lambda row: row["partition"], right=True),
    Column("committed offset", lambda row: row["position"], right=True),
    Column("end", lambda row: row["end"], right=True),
    Column("lag", lambda row: row["lag"], right=True),
    Column("oldest pending", lambda row: local_time(row["oldest_pending_at"])),
)


@click.group(cls=FullHelpGroup)
def lane() -> None:
    """Show consumer lag. LANE is `realtime` or `backfill`; only backfill can be paused."""


@lane.command("list")
@api_command
@watchable
async def lane_list(session: Session) -> None:
    """Show the lag of each lane and of profiles behind it.

    Lag is counted in records: single messages, or batches of up to some thousands.
    """
    lanes = await session.api.get("/v2/lane")
    show(lanes, session.output, LANES, [row for lane in lanes for row in _rows(lane)])


@lane.command("show")
@LANE
@api_command
async def lane_show(session: Session, lane: str) -> None:
    """Show the lag of a LANE by partition."""
    detail = await session.api.get(api_path("/v2/lane", lane))
    if session.print_unless_table(detail):
        return
    _print_facts(detail)
    click.echo()
    rows = [{"step": step, **partition} for step in STEPS for partition in detail[step]["partitions"]]
    show(detail, "table", PARTITIONS, rows)


@lane.command("pause")
@LANE
@api_command
async def lane_pause(session: Session, lane: str) -> None:
    """Pause the backfill LANE within two seconds, until it is resumed. No messages are lost.

    Exit code 4 for the real-time lane, which cannot be paused.
    """
    _print(session, await session.api.send("POST", api_path("/v2/lane", lane, "pause")))


@lane.command("resume")
@LANE
@api_command
async def lane_resume(session: Session, lane: str) -> None:
    """Resume a paused LANE where it stopped."""
    _print(session, await session.api.send("POST", api_path("/v2/lane", lane, "resume")))


def _print(session: Session, lane: Mapping[str, Any]) -> None:
    if not session.print_unless_table(lane):
        _print_facts(lane)


def _print_facts(lane: Mapping[str, Any]) -> None:
    steps = {step: _step(lane[step]) for step in STEPS}
    switched = f", by {lane['switched_by']} at {local_time(lane['switched_at'])}" if lane["switched_by"] else ""
    print_facts({"lane": lane["name"], "state": f"{_state(lane)}{switched}", **steps})


def _step(step: Mapping[str, Any]) -> str:
    if not step["lag"]:
        return "caught up"
    left = f", ETA {short_duration(step['eta_seconds'])}" if step["eta_seconds"] else ""
    since = f", oldest since {local_time(step['oldest_pending_at'])}" if step["oldest_pending_at"] else ""
    return f"{counted(step['lag'], 'record')} pending{since}{left}"


def _rows(lane: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for step in STEPS:
        mapping = step == "mapping"
        messages = lane["messages_per_second"] if mapping else None
        state = _state(lane) if mapping else ""
        yield {"lane": lane["name"], "step": step, "state": state, "messages_per_second": messages, **lane[step]}


def _state(lane: Mapping[str, Any]) -> str:
    return "Paused" if lane["paused"] else "Running"
