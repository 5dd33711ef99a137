"""What each role holds in memory after a load, and after the same load again: what grows with the load is a leak."""

import asyncio
from pathlib import Path

import psutil

from app.roles import ROLES
from bench.figures import Figure
from bench.plane import data_plane, flights, packs

MESSAGES = 800_000
MOST_GROWTH = 1.1


async def memory_under_load(folder: Path) -> list[Figure]:
    """Run all roles, and take in as much twice; the aircraft are the same, so that profiles don't grow in number."""
    async with data_plane(folder) as plane:
        await plane.start(*(role.name for role in ROLES))
        taken = []
        for _ in range(2):
            await asyncio.to_thread(plane.write, "realtime", packs(flights(MESSAGES)))
            await plane.settled("realtime")
            taken.append(_sizes())
    before, after = taken
    return [
        Figure(f"memory under load, {name}", size, "MB", f"≤ {MOST_GROWTH} times", size <= MOST_GROWTH * before[name],
               before[name], f"after {MESSAGES:,} messages, half of it")
        for name, size in after.items()
    ]  # fmt: skip


def _sizes() -> dict[str, float]:
    """Return the megabytes of each role among this process's children."""
    found = {}
    for child in psutil.Process().children(recursive=True):
        command = child.cmdline()
        if "worker" in command:
            found[command[command.index("worker") + 1]] = child.memory_info().rss / 2**20
    return {role.name: found[role.name] for role in ROLES}
