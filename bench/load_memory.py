"""Memory of each role under repeated identical load: growth in the second half is a leak.

The first loads fill buffers and caches and are not compared.
"""

import asyncio
from pathlib import Path

import psutil

from app.roles import ROLES
from bench.figures import Figure
from bench.plane import data_plane, flights, packs

MESSAGES = 800_000
LOADS = 4
MAX_GROWTH = 1.1


async def memory_under_load(folder: Path) -> list[Figure]:
    """Run all roles and repeat the load. The aircraft are the same, so that the profiles don't grow."""
    async with data_plane(folder) as plane:
        await plane.start(*(role.name for role in ROLES))
        samples = []
        for _ in range(LOADS):
            await asyncio.to_thread(plane.write, "realtime", packs(flights(MESSAGES)))
            await plane.settled("realtime")
            samples.append(_sizes())
    before, after = samples[LOADS // 2 - 1], samples[-1]
    return [
        Figure(f"memory under load, {name}", size, "MB", f"≤ {MAX_GROWTH} times", size <= MAX_GROWTH * before[name],
               before[name], f"after half of {LOADS} times {MESSAGES:,} messages")
        for name, size in after.items()
    ]  # fmt: skip


def _sizes() -> dict[str, float]:
    """Return the memory of each role in megabytes."""
    sizes = {}
    for child in psutil.Process().children(recursive=True):
        command = " ".join(child.cmdline()).split()
        if "worker" in command:
            sizes[command[command.index("worker") + 1]] = child.memory_info().rss / 2**20
    return {role.name: sizes[role.name] for role in ROLES}
