"""The entry point: the commands there are, and what happens to errors. Does nothing itself."""

import errno
import os
import sys
from typing import Final

import click
from typing_extensions import override

from app.cli import exits
from app.cli.lazy import Lazy, LazyGroup

UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT})
COMMANDS: Final = {
    "up": Lazy("app.cli.service.commands", "up", "Start the broker and every role; Ctrl-C stops them all."),
    "job": Lazy("app.cli.job.group", "job", "Create, look at and change jobs."),
    "collect": Lazy("app.cli.data.collect", "collect", "Send files of messages into a stream."),
    "provider": Lazy("app.cli.data.provider", "provider", "What jobs can connect to, and how it is configured."),
    "profile": Lazy("app.cli.data.profile", "profile", "What is known of somebody, why, and forgetting it."),
    "mapping": Lazy("app.cli.data.mapping", "mapping", "What streams say about people and things."),
    "identity": Lazy("app.cli.data.identity", "identity", "The kinds of identities, and which is the better one."),
    "stream": Lazy("app.cli.data.stream", "stream", "The streams that have messages, and their fields."),
    "rebuild": Lazy(
        "app.cli.rebuild.group", "rebuild", "Profiles made anew by other rules, compared, and put in place."
    ),
    "lane": Lazy("app.cli.data.lane", "lane", "How far real time and backfill are behind; pausing backfill."),
    "backfill": Lazy("app.cli.data.backfill", "backfill", "What to know before history is sent."),
    "metric": Lazy("app.cli.data.provider", "metric", "Counts over a time range."),
    "sign-in": Lazy("app.cli.service.token", "sign_in", "Print a link that signs a browser in."),
    "token": Lazy("app.cli.service.token", "token", "Access tokens."),
    "doctor": Lazy("app.cli.service.doctor", "doctor", "Check this machine and a running Entrepot."),
    "topics": Lazy("app.cli.service.topics", "topics", "The topics, as declared and as they are."),
    "verify": Lazy("app.cli.service.log_commands", "verify", "Decide all commands again and compare with the events."),
    "views": Lazy("app.cli.service.log_commands", "views", "Rebuild the read models from the event log."),
    "worker": Lazy("app.cli.service.commands", "worker", "Run one role in this process, as containers do."),
    "api": Lazy("app.cli.service.commands", "api", "Run the API in this process: worker api."),
    "completion": Lazy("app.cli.completion", "completion", "Print the completion script of a shell."),
}


class Commands(LazyGroup):
    """The commands of `entrepot`."""

    lazy = COMMANDS

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the exit codes."""
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in exits.EXITS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="entrepot", message="%(prog)s %(version)s")
def cli() -> None:
    """Entrepot runs the jobs that move customer data in, out and up to date.

    Start everything with `entrepot up --with-example`. Commands that talk to a running Entrepot find it by --url and
    --token, ENTREPOT_URL and ENTREPOT_TOKEN, or the data directory (--data-dir, ENTREPOT_DATA_DIR, ./data).
    """


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        code = cli.main(prog_name="entrepot", standalone_mode=False) or 0
        sys.stdout.flush()
        sys.exit(code)
    except click.Abort:
        sys.exit(exits.INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in {errno.EPIPE, *UNWRITABLE}:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would try once more at the end
        if error.errno != errno.EPIPE:  # whoever read has gone, and knows
            click.echo(f"Error: the output can't be written: {error.strerror}", err=True)
        sys.exit(exits.ERROR)


if __name__ == "__main__":
    main()
