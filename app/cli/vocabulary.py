"""What the API and the log call actions, in the words of the command line. Asks nobody."""

import re
from collections.abc import Iterable
from typing import Final

COMMANDS: Final = {
    "rename": "edit",
    "configure": "edit",
    "edit_cursor": "edit --cursor",
    "RenameJob": "edit",
    "ConfigureJob": "edit",
    "EditCursor": "edit --cursor",
    "PauseJob": "pause",
    "ResumeJob": "resume",
    "RunJob": "run",
    "KillJob": "kill",
    "RestoreJob": "restore",
}
POSSIBLE: Final = "possible now: "
_ACTION: Final = re.compile(r"\b(?:[A-Z][a-z]+Job|EditCursor|edit_cursor)\b")


def possible(allowed: Iterable[str]) -> str:
    """Return the commands for what is allowed, each once."""
    return ", ".join(dict.fromkeys(COMMANDS.get(each, each) for each in allowed))


def in_commands(message: str) -> str:
    """Return a message with the names of commands for those of actions."""
    head, found, options = message.partition(POSSIBLE)
    said = _ACTION.sub(lambda action: COMMANDS.get(action[0], action[0]), head)
    return f"{said}{found}{possible(options.split(', '))}" if found else said
