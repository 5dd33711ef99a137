"""The state machine of a job as one table: which command is allowed in which phase. All others are refused.

The diagram in `docs/job-life.md` is generated from this table.
"""

from collections.abc import Mapping
from typing import Final

Phases = tuple[str, ...]

EDIT: Final[Mapping[str, Phases]] = {"RenameJob": (), "ConfigureJob": ()}
REPORTS: Final[Mapping[str, Phases]] = {"ReportProgress": ()}  # committed records count in every phase

# phase → command → the phases that can follow; () keeps the phase.
TRANSITIONS: Final[Mapping[str, Mapping[str, Phases]]] = {
    "Absent": {"CreateJob": ("Running", "Sleeping", "Paused")},
    "Running": {
        **EDIT,
        "PauseJob": ("Paused",),
        "KillJob": ("Killed",),
        "WakeJob": ("Sleeping",),
        "ReportProgress": ("Running", "Sleeping", "Completed"),
        "ReportError": ("Sleeping", "Failed"),
        "ReportRateLimit": ("Sleeping",),
        "ReportQueued": (),
    },
    "Sleeping": {
        **EDIT,
        **REPORTS,
        "RunJob": ("Running",),
        "WakeJob": ("Running", "Sleeping"),
        "PauseJob": ("Paused",),
        "KillJob": ("Killed",),
    },
    "Failed": {
        **EDIT,
        **REPORTS,
        "ResumeJob": ("Running", "Sleeping"),
        "KillJob": ("Killed",),
        "PurgeJob": ("Purged",),
    },
    "Paused": {
        **EDIT,
        **REPORTS,
        "EditCursor": (),
        "PauseJob": ("Paused",),
        "ResumeJob": ("Running", "Sleeping"),
        "WakeJob": ("Running", "Sleeping"),
        "KillJob": ("Killed",),
        "PurgeJob": ("Purged",),
    },
    "Completed": {
        **EDIT,
        **REPORTS,
        "RunJob": ("Running",),
        "KillJob": ("Killed",),
        "PurgeJob": ("Purged",),
    },
    "Killed": {**REPORTS, "RestoreJob": ("Paused",), "PurgeJob": ("Purged",)},
    "Purged": {},
}

USER_COMMANDS: Final = frozenset(
    {"RenameJob", "ConfigureJob", "PauseJob", "ResumeJob", "RunJob", "KillJob", "RestoreJob", "EditCursor"}
)


def allowed_user_commands(phase: str) -> tuple[str, ...]:
    """Return the commands that a user may send in a phase."""
    return tuple(command for command in TRANSITIONS[phase] if command in USER_COMMANDS)


def mermaid() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for phase, commands in TRANSITIONS.items():
        for command, targets in commands.items():
            lines += [f"    {'[*]' if phase == 'Absent' else phase} --> {target}: {command}" for target in targets]
    return "\n".join([*lines, "    Purged --> [*]"])
