"""The commands for jobs. Each is in the module of what it does: looking, making and changing, acting."""

from typing import Final

import click

from app.cli.lazy import Lazy, LazyGroup

COMMANDS: Final = {
    "list": Lazy("app.cli.job.show", "list_jobs", "List jobs."),
    "show": Lazy("app.cli.job.show", "show_job", "Look at a job, now or as of a moment."),
    "create": Lazy("app.cli.job.edit", "create", "Create a job and start it, or keep it as a draft."),
    "edit": Lazy("app.cli.job.edit", "edit", "Change a job."),
    "pause": Lazy("app.cli.job.actions", "pause", "Stop at the next record, for a time or until resumed."),
    "resume": Lazy("app.cli.job.actions", "resume", "Go on after a pause or a failure."),
    "run": Lazy("app.cli.job.actions", "run", "Run now, or once more after completion."),
    "kill": Lazy("app.cli.job.actions", "kill", "Stop and put away; it can be restored for 90 days."),
    "restore": Lazy("app.cli.job.actions", "restore", "Bring a killed job back, paused."),
    "logs": Lazy("app.cli.job.logs", "logs", "What happened to a job, or to all."),
    "dead-letters": Lazy(
        "app.cli.job.dead_letters", "job_dead_letters", "The records that could not be taken, and why."
    ),
    "undo": Lazy("app.cli.rebuild.start", "undo", "Build profiles anew without what a job has brought."),
    "history": Lazy("app.cli.job.history", "history", "The versions of a job's configuration."),
    "diff": Lazy("app.cli.job.history", "diff", "Compare two versions of a job's configuration."),
    "revert": Lazy("app.cli.job.history", "revert", "Bring an older configuration back, as a new version."),
}


class JobCommands(LazyGroup):
    """The commands of `entrepot job`."""

    lazy = COMMANDS


@click.group(cls=JobCommands)
def job() -> None:
    """Create, look at and change jobs. JOB is an id, the beginning of one, or a name."""
