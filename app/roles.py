"""The process roles of Entrepot, and how to run one in this process."""

import gc
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Final

from app.settings import Settings


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


def preload() -> None:
    """Import what roles import, except the rebuild: numpy and pyarrow start threads, which a fork does not have."""
    from connectors.catalog import catalog  # noqa: PLC0415  # only a fork server imports all

    _patch()
    for role in ROLES:
        if role.name != "rebuild":
            _imported(role.name)
    catalog()


def run_role(role: ProcessRole, settings: Settings) -> int:
    """Run a role until SIGTERM or SIGINT, and return the exit code."""
    gc.disable()  # of all that is imported nothing is garbage; looking for it takes a fifth of the time
    import uvloop  # noqa: PLC0415  # only needed by roles

    _patch()
    run = _imported(role.name)
    gc.freeze()
    gc.enable()
    os.nice(role.niceness)
    return uvloop.run(run(settings))


def _patch() -> None:
    from app.kafka.patches import apply_all  # noqa: PLC0415  # only needed by roles

    apply_all()


def _imported(name: str) -> Callable[[Settings], Coroutine[None, None, int]]:
    """Import a role: each process imports only its own."""
    match name:
        case "api":
            from app.api.server import run_api  # noqa: PLC0415  # loaded by this role's process only

            return run_api
        case "control":
            from app.control.role import run_control  # noqa: PLC0415  # loaded by this role's process only

            return run_control
        case "runner":
            from app.runner.role import run_runner  # noqa: PLC0415  # loaded by this role's process only

            return run_runner
        case "profiles":
            from app.profiles.role import run_profiles  # noqa: PLC0415  # loaded by this role's process only

            return run_profiles
        case "rebuild":
            from app.rebuild.role import run_rebuild  # noqa: PLC0415  # loaded by this role's process only

            return run_rebuild
        case _:
            from app.lanes.role import run_lane  # noqa: PLC0415  # loaded by this role's process only

            return partial(run_lane, name=name.removeprefix("lane-"))
