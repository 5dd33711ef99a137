"""Translates the actions and parameters that the API names into commands and options."""

import re
from collections.abc import Iterable
from typing import Final

COMMANDS: Final = {"rename": "edit", "configure": "edit", "edit_cursor": "edit --cursor"}
PARAMETERS: Final = {"allow_duplicate_name=true": "--allow-duplicate-name"}
ALLOWED: Final = "; allowed: "  # the end of a refusal, followed by actions
_ACTION: Final = re.compile(rf"\b(?:{'|'.join(COMMANDS)})\b(?=:| is not allowed)")


def possible(allowed: Iterable[str]) -> str:
    """Return the commands for the allowed actions, without duplicates."""
    return ", ".join(dict.fromkeys(COMMANDS.get(action, action) for action in allowed))


def in_commands(message: str) -> str:
    """Return a message with the names of actions and parameters replaced by those of commands and options."""
    for parameter, option in PARAMETERS.items():
        message = message.replace(parameter, option)
    head, separator, actions = message.partition(ALLOWED)
    text = _ACTION.sub(lambda action: COMMANDS[action[0]], head)
    return f"{text}{separator}{possible(actions.split(', '))}" if separator else text
