"""Exit codes and the error that carries them: the contract with scripts."""

from typing import Final

from click import ClickException

EXITS: Final = {
    0: "success",
    1: "general error, or the job that --wait waited for failed, or was paused or deleted",
    2: "usage error",
    3: "not found: job, provider, stream, profile, definition, version or rebuild",
    4: "conflict: not allowed in the current state, or modified concurrently",
    5: "rejected: invalid configuration or rules, or the token lacks permission",
    6: "unavailable: cannot reach the API, the broker or the database, or the data directory is in use or too old",
    7: "`verify`, `topics` or `doctor` found a problem",
    8: "--wait ended because the job met an error, a rate limit or a blackout window, after which it continues",
    9: "more records were rejected than --max-rejected allows; by default, all of them",
    10: "--timeout ended the wait; what it waited for continues",
    70: "a worker aborted to preserve exactly-once guarantees; restart it: uncommitted work is repeated",
    71: "a worker, or `verify`, met commands of a newer version of Entrepot; upgrade it",
    130: "interrupted by Ctrl-C",
}

ERROR: Final = 1
NOT_FOUND: Final = 3
CONFLICT: Final = 4
REFUSED: Final = 5
UNAVAILABLE: Final = 6
DIFFERS: Final = 7
RETRYING: Final = 8
TOO_MANY_REJECTED: Final = 9
TIMED_OUT: Final = 10
NEWER_RULES: Final = 71
INTERRUPTED: Final = 130


class CommandError(ClickException):
    """A command failed: a message for the user, and the exit code for scripts."""

    def __init__(self, message: str, code: int = ERROR) -> None:
        super().__init__(message)
        self.exit_code = code
