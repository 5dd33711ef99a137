"""The entry point: the table of commands, and how errors become exit codes."""

import errno
import io
import logging
import os
import sys
import traceback
from types import TracebackType
from typing import Final

import click
from typing_extensions import override

from app.cli import exits
from app.cli.lazy import Lazy, LazyGroup
from app.sentences.escapes import escaped_lines
from connectors.redaction import redact_text

UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EIO, errno.EBADF, errno.EDQUOT})
COMMANDS: Final = {
    "up": Lazy("app.cli.service.commands", "up", "Start the broker and all roles; Ctrl-C stops them."),
    "job": Lazy("app.cli.job.group", "job", "Create, inspect and change jobs."),
    "collect": Lazy("app.cli.data.collect", "collect", "Upload files of messages to a stream."),
    "provider": Lazy(
        "app.cli.data.provider", "provider", "List the providers that jobs connect to, and their configuration."
    ),
    "profile": Lazy("app.cli.data.profile", "profile", "Look up, explain and delete customer profiles."),
    "mapping": Lazy("app.cli.data.definitions", "mapping", "Define how fields become identities and attributes."),
    "identity": Lazy("app.cli.data.definitions", "identity", "Define identity types and their priority."),
    "stream": Lazy("app.cli.data.stream", "stream", "List streams and the statistics of their fields."),
    "rebuild": Lazy("app.cli.data.rebuild", "rebuild", "Reprocess profiles with other rules, compare, and promote."),
    "lane": Lazy("app.cli.data.lane", "lane", "Show the lag of the real-time and backfill lanes; pause backfill."),
    "backfill": Lazy("app.cli.data.backfill", "backfill", "Estimate the impact of a backfill (dry run)."),
    "metric": Lazy("app.cli.data.provider", "metric", "Show record counts over a time range."),
    "sign-in": Lazy("app.cli.service.token", "sign_in", "Print a one-time sign-in link for a browser."),
    "env": Lazy("app.cli.service.token", "env", "Print the URL and a token as shell variables."),
    "token": Lazy("app.cli.service.token", "token", "Manage access tokens."),
    "doctor": Lazy("app.cli.service.doctor", "doctor", "Diagnose this machine and a running Entrepot."),
    "topics": Lazy("app.cli.service.topics", "topics", "Compare the Kafka topics with their declarations."),
    "kafka-config": Lazy(
        "app.cli.service.kafka_config",
        "kafka_config",
        "Print the settings of a Kafka client, to use the topics directly.",
    ),
    "master-key": Lazy("app.cli.service.master_key", "master_key", "Create and announce the master key of secrets."),
    "verify": Lazy(
        "app.cli.service.log_commands",
        "verify",
        "Replay all commands and verify that they produce the recorded events.",
    ),
    "views": Lazy("app.cli.service.log_commands", "views", "Rebuild the read models from the event log."),
    "worker": Lazy("app.cli.service.commands", "worker", "Run one role in this process, for containers."),
    "api": Lazy("app.cli.service.commands", "api", "Run the API in this process (same as worker api)."),
    "completion": Lazy("app.cli.completion", "completion", "Print a shell completion script."),
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
    """Entrepot runs the jobs that import, export and enrich customer data.

    Start everything with `entrepot up --with-example`. Commands find a running Entrepot by --url and --token
    (ENTREPOT_URL, ENTREPOT_TOKEN), or by its data directory (--data-dir, ENTREPOT_DATA_DIR, ./data).
    """


class ConsoleFormatter(logging.Formatter):
    """Formats the warnings of a command, which has no log of its own, with unsafe characters escaped."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return the message and the traceback."""
        return escaped_lines(redact_text(super().format(record)))


def print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught exception without secrets of URLs and with unsafe characters escaped."""
    click.echo(escaped_lines(redact_text("".join(traceback.format_exception(kind, error, trace)))), nl=False, err=True)


def escape_unencodable() -> None:
    """Escape characters that the locale lacks. A fork whose output became a pipe can't change a stream any more."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors != "backslashreplace":  # it may be closed
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the command line and exit with its code. Files of this process and of its children are private."""
    os.umask(0o077)
    escape_unencodable()
    sys.excepthook = print_exception
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(ConsoleFormatter())
    try:
        code = cli.main(prog_name="entrepot", standalone_mode=False) or 0
        sys.stdout.flush()
        sys.exit(code)
    except click.Abort:
        sys.exit(exits.INTERRUPTED)
    except click.ClickException as error:
        error.message = escaped_lines(error.message)
        error.show()
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in {errno.EPIPE, *UNWRITABLE}:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python retries the flush at exit
        if error.errno != errno.EPIPE:  # the reader of the pipe has exited
            click.echo(f"Error: cannot write the output: {error.strerror}", err=True)
        sys.exit(exits.ERROR)


if __name__ == "__main__":
    main()
