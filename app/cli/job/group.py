"""`entrepot job`: the table of its commands, each imported when it runs."""

from typing import Final

import click

from app.cli.lazy import Lazy, LazyGroup

COMMANDS: Final = {
    "list": Lazy("app.cli.job.read", "job_list", "List jobs."),
    "show": Lazy("app.cli.job.read", "job_show", "Show a job, now or at a point in time."),
    "create": Lazy("app.cli.job.change", "job_create", "Create and start a job, or create a draft."),
    "edit": Lazy("app.cli.job.change", "job_edit", "Change the name, configuration, schedule or cursor of a job."),
    "pause": Lazy("app.cli.job.change", "job_pause", "Pause at the next record, for a duration or until resumed."),
    "resume": Lazy("app.cli.job.change", "job_resume", "Resume after a pause or a failure."),
    "run": Lazy("app.cli.job.change", "job_run", "Run now, or again after completion."),
    "wait": Lazy("app.cli.job.wait", "job_wait", "Wait until a job has ended, and show its errors."),
    "kill": Lazy("app.cli.job.change", "job_kill", "Delete (archive) a job; recoverable for 90 days."),
    "restore": Lazy("app.cli.job.change", "job_restore", "Restore a deleted job; it stays paused until it is resumed."),
    "logs": Lazy("app.cli.job.logs", "job_logs", "Show the log of a job, or of all jobs."),
    "dead-letters": Lazy("app.cli.job.logs", "job_dead_letters", "List rejected records with the reasons."),
    "undo": Lazy("app.cli.data.rebuild", "job_undo", "Rebuild profiles without the messages of a job."),
    "history": Lazy("app.cli.job.read", "job_history", "List the configuration versions of a job."),
    "diff": Lazy("app.cli.job.read", "job_diff", "Compare two configuration versions."),
    "revert": Lazy("app.cli.job.change", "job_revert", "Revert to an older configuration, as a new version."),
}


class JobCommands(LazyGroup):
    """The commands of `entrepot job`."""

    lazy = COMMANDS


@click.group(cls=JobCommands)
def job() -> None:
    """Create, inspect and change jobs. JOB is an id, an id prefix, or a name."""
