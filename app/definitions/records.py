"""What the records of `definitions.commands` ask, for every reader alike."""

from typing import Final, cast, get_args

from app.records.commands import MAX_COMMAND_BYTES, UnreadableCommandError
from schemas.definitions import MAPPING, PARTITION, DefinitionCommand
from schemas.names import MAX_JOB_ID
from schemas.wire.catalog import UnknownSchemaError
from schemas.wire.codec import MalformedRecordError, decode

COMMANDS: Final = get_args(DefinitionCommand)
MAX_ID: Final = len(MAPPING) + MAX_JOB_ID


def definition_command_in(key: bytes | None, value: bytes, partition: int) -> DefinitionCommand:
    """Return the command in a record of that partition.

    Raises:
        UnreadableCommandError: there is none, or one that doesn't belong there.

    """
    if len(value) > MAX_COMMAND_BYTES:
        raise UnreadableCommandError(f"a command has at most {MAX_COMMAND_BYTES} bytes, and this one {len(value)}")
    try:
        word = decode(value)
    except (MalformedRecordError, UnknownSchemaError) as error:
        raise UnreadableCommandError(str(error)) from error
    if not isinstance(word, COMMANDS):
        raise UnreadableCommandError(f"a {type(word).__name__} is not a command about definitions")
    command = cast("DefinitionCommand", word)
    name = command.definition_id
    if not name.isprintable() or not 0 < len(name) <= MAX_ID:
        raise UnreadableCommandError(f"a definition's id has 1 to {MAX_ID} printable characters")
    if key != name.encode() or partition != PARTITION:
        raise UnreadableCommandError(f"the record's key is not {name!r}, or its partition not {PARTITION}")
    return command
