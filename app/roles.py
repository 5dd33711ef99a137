"""The roles of Entrepot and how one runs in this process. Knows nothing of supervision."""

import os
from dataclasses import dataclass
from typing import Final

from app.settings import Settings
from app.signals import told_to_stop


@dataclass(frozen=True, slots=True)
class ProcessRole:
    """One kind of process. `niceness` is added to the OS priority, so that history never takes the CPU from now."""

    name: str
    does: str
    niceness: int = 0


ROLES: Final = (
    ProcessRole("api", "HTTP, server-sent events and the web pages"),
    ProcessRole("control", "commands to events, events to views"),
    ProcessRole("runner", "drives the connectors of the jobs that are due"),
    ProcessRole("lane-realtime", "maps messages as they happen"),
    ProcessRole("lane-backfill", "maps history, at a lower OS priority", niceness=10),
    ProcessRole("profiles", "identity, merge and look-ups of profiles"),
    ProcessRole("rebuild", "makes profiles anew by other rules, at a lower OS priority", niceness=10),
)


def role_named(name: str) -> ProcessRole:
    """Return the role of that name."""
    return next(each for each in ROLES if each.name == name)


def run_role(role: ProcessRole, settings: Settings) -> int:
    """Run a role until SIGTERM or SIGINT and return the process's exit code."""
    import uvloop  # noqa: PLC0415  # only a process that is a role pays for it

    from app.kafka import patch_decompression, patch_uvloop  # noqa: PLC0415

    patch_uvloop.mend()
    patch_decompression.mend()
    os.nice(role.niceness)
    return uvloop.run(_started(role.name, settings))


async def _started(name: str, settings: Settings) -> int:
    match name:  # each process loads its own role only
        case "api":
            from app.api.server import run_api  # noqa: PLC0415

            await run_api(settings, told_to_stop())
            return 0
        case "control":
            from app.control.role import run_control  # noqa: PLC0415

            return await run_control(settings)
        case "runner":
            from app.runner.role import run_runner  # noqa: PLC0415

            return await run_runner(settings)
        case "profiles":
            from app.profiles.role import run_profiles  # noqa: PLC0415

            return await run_profiles(settings)
        case "rebuild":
            from app.rebuild.role import run_rebuild  # noqa: PLC0415

            return await run_rebuild(settings)
        case _:
            from app.lanes.role import run_lane  # noqa: PLC0415

            return await run_lane(settings, name.removeprefix("lane-"))
