"""`entrepot job`: the table of its commands."""

from typing import Final

import click

from app.cli.lazy import Lazy, LazyGroup

COMMANDS: Final = {
    "list": Lazy("app.cli.job.show", "list_jobs", "List jobs."),
    "show": Lazy("app.cli.job.show", "show_job", "Show a job, now or at a point in time."),
    "create": Lazy("app.cli.job.edit", "create", "Create and start a job, or create a draft."),
    "edit": Lazy("app.cli.job.edit", "edit", "Change the configuration, schedule or name of a job."),
    "pause": Lazy("app.cli.job.actions", "pause", "Pause at the next record, for a duration or until resumed."),
    "resume": Lazy("app.cli.job.actions", "resume", "Resume after a pause or a failure."),
    "run": Lazy("app.cli.job.actions", "run", "Run now, or again after completion."),
    "kill": Lazy("app.cli.job.actions", "kill", "Delete (archive) a job; recoverable for 90 days."),
    "restore": Lazy("app.cli.job.actions", "restore", "Restore a deleted job, paused."),
    "logs": Lazy("app.cli.job.logs", "logs", "Show the log of a job, or of all jobs."),
    "dead-letters": Lazy("app.cli.job.dead_letters", "job_dead_letters", "List rejected records with the reasons."),
    "undo": Lazy("app.cli.rebuild.start", "undo", "Rebuild profiles without the messages of a job."),
    "history": Lazy("app.cli.job.history", "history", "List the configuration versions of a job."),
    "diff": Lazy("app.cli.job.history", "diff", "Compare two configuration versions."),
    "revert": Lazy("app.cli.job.history", "revert", "Revert to an older configuration, as a new version."),
}


class JobCommands(LazyGroup):
    """The commands of `entrepot job`."""

    lazy = COMMANDS


@click.group(cls=JobCommands)
def job() -> None:
    """Create, inspect and change jobs. JOB is an id, an id prefix, or a name."""
