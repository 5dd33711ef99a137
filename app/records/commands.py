"""What a record of `jobs.commands` asks. Control, the runner and the proof have to see every record alike."""

from typing import Final, cast, get_args

from app.records.partitioning import partition_of
from projections.jobs.command_checks import MAX_WORD_CHARACTERS
from schemas.commands import JobCommand, ReportProgress
from schemas.names import JOB_ID, STREAM_NAME, is_job_id, is_stream_name
from schemas.wire.catalog import UnknownSchemaError
from schemas.wire.codec import MalformedRecordError, decode

COMMANDS: Final = get_args(JobCommand)
MAX_COMMAND_BYTES: Final = (
    2 * 1024 * 1024
)  # the events that it leads to, and the job's state, have to fit into a record too


class UnreadableCommandError(ValueError):
    """The record asks nothing, and becomes a dead letter. The message says what was found."""


def command_in(key: bytes | None, value: bytes, partition: int, partitions: int) -> JobCommand:
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
        raise UnreadableCommandError(f"a {type(word).__name__} is not a command")
    _check_names(word)
    if key != word.job_id.encode() or partition_of(word.job_id, partitions) != partition:
        raise UnreadableCommandError(f"the record's key or partition is not that of its job {word.job_id!r}")
    return cast("JobCommand", word)


def _check_names(command: JobCommand) -> None:
    """Refuse names that the views could not keep apart, or not at all: they would stop whoever writes them."""
    if not is_job_id(command.job_id):
        raise UnreadableCommandError(JOB_ID)
    if max(len(command.command_id), len(command.issued_by)) > MAX_WORD_CHARACTERS:
        raise UnreadableCommandError(
            f"a command's id, and who issued it, have at most {MAX_WORD_CHARACTERS} characters"
        )
    if isinstance(command, ReportProgress) and command.stream and not is_stream_name(command.stream):
        raise UnreadableCommandError(STREAM_NAME)
