"""Translates the action names of the API and the log into command names."""

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
    """Return the commands for the allowed actions, without duplicates."""
    return ", ".join(dict.fromkeys(COMMANDS.get(action, action) for action in allowed))


def in_commands(message: str) -> str:
    """Return a message with action names replaced by command names."""
    head, separator, options = message.partition(POSSIBLE)
    text = _ACTION.sub(lambda action: COMMANDS.get(action[0], action[0]), head)
    return f"{text}{separator}{possible(options.split(', '))}" if separator else text
