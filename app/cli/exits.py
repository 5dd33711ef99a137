"""Exit codes and the errors that carry them: the contract with scripts. Knows no command."""

from typing import Final

from click import ClickException

EXITS: Final = {
    0: "done",
    1: "an error that has no code of its own, or a job that ended Failed while it was waited for",
    2: "the command line is wrong",
    3: "there is no such job, provider, stream, profile, definition, version or rebuild",
    4: "a conflict: the job's status or other rules don't allow it, or it has changed meanwhile",
    5: "refused: the configuration or the rules are not valid, or the token may not do this",
    6: "unavailable: the API, the broker or the database can't be reached, or the data directory is in use",
    7: "`verify` or `doctor` found something wrong",
    70: "a role ended itself to keep what is promised; starting it again is safe and repeats what wasn't committed",
    130: "stopped by Ctrl-C",
}

ERROR: Final = 1
NOT_FOUND: Final = 3
CONFLICT: Final = 4
REFUSED: Final = 5
UNAVAILABLE: Final = 6
DIFFERS: Final = 7
INTERRUPTED: Final = 130


class Stopped(ClickException):
    """The command can't be done: a message for a person, and the exit code for a script."""

    def __init__(self, message: str, code: int = ERROR) -> None:
        super().__init__(message)
        self.exit_code = code


def table() -> str:
    """Return the exit codes as lines for a help page."""
    return "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXITS.items())
