"""Decode and check records of `definitions.commands`, alike for every reader."""

from typing import Final, cast, get_args

from app.records.commands import MAX_COMMAND_BYTES, UnreadableCommandError
from schemas.definitions import MAPPING, PARTITION, DefinitionCommand
from schemas.names import MAX_JOB_ID
from schemas.wire.catalog import UnreadableRecordError
from schemas.wire.codec import decode

COMMANDS: Final = get_args(DefinitionCommand)
MAX_ID: Final = len(MAPPING) + MAX_JOB_ID


def definition_command_in(key: bytes | None, value: bytes, partition: int) -> DefinitionCommand:
    """Return the command in a record of that partition.

    Raises:
        UnreadableCommandError: there is none, or one that doesn't belong there.

    """
    if len(value) > MAX_COMMAND_BYTES:
        raise UnreadableCommandError("command_too_large", {"bytes": len(value), "max": MAX_COMMAND_BYTES})
    try:
        word = decode(value)
    except UnreadableRecordError as error:
        raise UnreadableCommandError(error.code, error.params, detail=error.detail) from error
    if not isinstance(word, COMMANDS):
        raise UnreadableCommandError("not_a_definition_command", {"schema": type(word).__name__})
    command = cast("DefinitionCommand", word)
    name = command.definition_id
    if not name.isprintable() or not 0 < len(name) <= MAX_ID:
        raise UnreadableCommandError("bad_definition_id", {"max": MAX_ID})
    if key != name.encode() or partition != PARTITION:
        raise UnreadableCommandError("misplaced_command", {"subject": name})
    return command
