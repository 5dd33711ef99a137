"""The process roles of Entrepot, and how to run one in this process."""

import os
from dataclasses import dataclass
from typing import Final

from app.settings import Settings
from app.signals import shutdown_event


@dataclass(frozen=True, slots=True)
class ProcessRole:
    """A kind of process. `niceness` lowers the OS priority, so that history yields the CPU to current data."""

    name: str
    description: str
    niceness: int = 0


ROLES: Final = (
    ProcessRole("api", "HTTP API, server-sent events and web pages"),
    ProcessRole("control", "decides commands and projects events to views"),
    ProcessRole("runner", "runs the connectors of due jobs"),
    ProcessRole("lane-realtime", "maps current messages"),
    ProcessRole("lane-backfill", "maps historical messages, at a lower OS priority", niceness=10),
    ProcessRole("profiles", "resolves identities, merges and serves profiles"),
    ProcessRole("rebuild", "rebuilds profiles with other rules, at a lower OS priority", niceness=10),
)


def role_named(name: str) -> ProcessRole:
    """Return the role with this name."""
    return next(role for role in ROLES if role.name == name)


def run_role(role: ProcessRole, settings: Settings) -> int:
    """Run a role until SIGTERM or SIGINT, and return the exit code."""
    import uvloop  # noqa: PLC0415  # only needed by roles

    from app.kafka.patches import apply_all  # noqa: PLC0415

    apply_all()
    os.nice(role.niceness)
    return uvloop.run(_run(role.name, settings))


async def _run(name: str, settings: Settings) -> int:
    match name:  # each process imports only its own role
        case "api":
            from app.api.server import run_api  # noqa: PLC0415

            await run_api(settings, shutdown_event())
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
