"""A job's life as one table: which command does what in which phase. What is not here is refused.

The picture in `docs/job-life.md` is made from this table.
"""

from collections.abc import Mapping
from typing import Final

Phases = tuple[str, ...]

# What people may do; the same in every row that they stand in.
EDIT: Final[Mapping[str, Phases]] = {"RenameJob": (), "ConfigureJob": ()}
REPORTS: Final[Mapping[str, Phases]] = {"ReportProgress": ()}  # what is committed is committed, whatever came between

# phase → command → the phases that the job can be in behind it; () leaves it where it is.
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

PEOPLE: Final = frozenset(
    {"RenameJob", "ConfigureJob", "PauseJob", "ResumeJob", "RunJob", "KillJob", "RestoreJob", "EditCursor"}
)


def allowed_for_people(phase: str) -> tuple[str, ...]:
    """Return what a person may ask for in a phase."""
    return tuple(each for each in TRANSITIONS[phase] if each in PEOPLE)


def mermaid() -> str:
    """Return the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    for phase, commands in TRANSITIONS.items():
        for command, targets in commands.items():
            lines += [f"    {'[*]' if phase == 'Absent' else phase} --> {target}: {command}" for target in targets]
    return "\n".join([*lines, "    Purged --> [*]"])
