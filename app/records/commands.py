"""Decode and check records of `jobs.commands`, alike for control, the runner and the proof."""

from typing import Final, cast, get_args

from app.records.partitioning import partition_of
from projections.jobs.command_checks import MAX_WORD_CHARACTERS
from schemas.coded import CodedError
from schemas.commands import JobCommand, ReportProgress
from schemas.names import MAX_JOB_ID, MAX_NAME_CHARACTERS, is_job_id, is_stream_name
from schemas.wire.catalog import UnreadableRecordError
from schemas.wire.codec import decode

COMMANDS: Final = get_args(JobCommand)
MAX_COMMAND_BYTES: Final = (
    2 * 1024 * 1024
)  # the events that it leads to, and the job's state, have to fit into a record too


class UnreadableCommandError(CodedError):
    """The record holds no command, and becomes a dead letter."""


def decode_command(key: bytes | None, value: bytes, partition: int, partitions: int) -> JobCommand:
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
        raise UnreadableCommandError("not_a_command", {"schema": type(word).__name__})
    _check_names(word)
    if key != word.job_id.encode() or partition_of(word.job_id, partitions) != partition:
        raise UnreadableCommandError("misplaced_command", {"subject": word.job_id})
    return cast("JobCommand", word)


def _check_names(command: JobCommand) -> None:
    """Refuse names that the views could not store or tell apart: writing them would fail."""
    if not is_job_id(command.job_id):
        raise UnreadableCommandError("bad_job_id", {"max": MAX_JOB_ID})
    if max(len(command.command_id), len(command.issued_by)) > MAX_WORD_CHARACTERS:
        raise UnreadableCommandError("bad_word", {"max": MAX_WORD_CHARACTERS})
    if isinstance(command, ReportProgress) and command.stream and not is_stream_name(command.stream):
        raise UnreadableCommandError("bad_stream", {"max": MAX_NAME_CHARACTERS})
