"""The commands for jobs. Each is in the module of what it does: looking, making and changing, acting."""

from typing import Final

import click

from app.cli.lazy import Lazy, LazyGroup

COMMANDS: Final = {
    "list": Lazy("app.cli.job_look", "list_jobs", "List jobs."),
    "show": Lazy("app.cli.job_look", "show_job", "Look at a job, now or as of a moment."),
    "create": Lazy("app.cli.job_make", "create", "Create a job and start it, or keep it as a draft."),
    "edit": Lazy("app.cli.job_make", "edit", "Change a job."),
    "pause": Lazy("app.cli.job_act", "pause", "Stop at the next record, for a time or until resumed."),
    "resume": Lazy("app.cli.job_act", "resume", "Go on after a pause or a failure."),
    "run": Lazy("app.cli.job_act", "run", "Run now, or once more after completion."),
    "kill": Lazy("app.cli.job_act", "kill", "Stop and put away; it can be restored for 90 days."),
    "restore": Lazy("app.cli.job_act", "restore", "Bring a killed job back, paused."),
    "logs": Lazy("app.cli.job_logs", "logs", "What happened to a job, or to all."),
    "rejected": Lazy("app.cli.rejected", "job_rejected", "The records that could not be taken, and why."),
    "undo": Lazy("app.cli.rebuild_start", "undo", "Build profiles anew without what a job has brought."),
    "history": Lazy("app.cli.job_past", "history", "The versions of a job's configuration."),
    "diff": Lazy("app.cli.job_past", "diff", "Compare two versions of a job's configuration."),
    "revert": Lazy("app.cli.job_past", "revert", "Bring an older configuration back, as a new version."),
}


class JobCommands(LazyGroup):
    """The commands of `entrepot job`."""

    lazy = COMMANDS


@click.group(cls=JobCommands)
def job() -> None:
    """Create, look at and change jobs. JOB is an id, the beginning of one, or a name."""
