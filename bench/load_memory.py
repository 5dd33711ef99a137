"""What each role holds in memory after the same load several times: what grows after half of it is a leak.

What the first load leaves behind, buffers and caches that are filled once, isn't looked at.
"""

import asyncio
from pathlib import Path

import psutil

from app.roles import ROLES
from bench.figures import Figure
from bench.plane import data_plane, flights, packs

MESSAGES = 800_000
LOADS = 4
MOST_GROWTH = 1.1


async def memory_under_load(folder: Path) -> list[Figure]:
    """Run all roles, and take in as much several times; the aircraft are the same, so that profiles don't grow."""
    async with data_plane(folder) as plane:
        await plane.start(*(role.name for role in ROLES))
        taken = []
        for _ in range(LOADS):
            await asyncio.to_thread(plane.write, "realtime", packs(flights(MESSAGES)))
            await plane.settled("realtime")
            taken.append(_sizes())
    before, after = taken[LOADS // 2 - 1], taken[-1]
    return [
        Figure(f"memory under load, {name}", size, "MB", f"≤ {MOST_GROWTH} times", size <= MOST_GROWTH * before[name],
               before[name], f"after half of {LOADS} times {MESSAGES:,} messages")
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
